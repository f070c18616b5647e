/**
 * A module of Node's own, in runtimes that have them (Node, Deno, Bun);
 * undefined elsewhere. Not an import: bundlers and browsers see nothing of it.
 */
export function builtin<Module>(name: string): Module | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  return process?.getBuiltinModule?.(name) as Module | undefined;
}
