import { TYPE } from "../proto.ts";
import type { Body, Call } from "./call.ts";
import { order } from "./masks.ts";
import type { Scope } from "./scope.ts";

/** attention and multiHeadAttention as operators. Equations: assembly/attention.ts. */

/** The weight of a score that does not count: e to its power is 0 beside any other. */
const NOTHING = -3.4e38;

/** x, or its map where the layer has one. */
function mapped(scope: Scope, x: string, what: string, weights: Call["weights"]): string {
  const kernel = weights[`${what}Kernel`];
  if (!kernel) return x;
  const y = scope.op("MatMul", [x, kernel.name]);
  const bias = weights[`${what}Bias`];
  return bias ? scope.op("Add", [y, bias.name]) : y;
}

/** [batch, time, heads · columns] to [batch, heads, time, columns]. */
function apart(scope: Scope, x: string, heads: number): string {
  const split = scope.op("Reshape", [x, scope.ints([0, 0, heads, -1])]);
  return scope.op("Transpose", [split], { perm: [0, 2, 1, 3] });
}

/** The other way. */
function together(scope: Scope, x: string): string {
  return scope.op("Reshape", [scope.op("Transpose", [x], { perm: [0, 2, 1, 3] }), scope.ints([0, 0, -1])]);
}

/** Which keys each query may see, [.., queries, keys], for [batch, heads, ...]; undefined: all. */
function visible(scope: Scope, { inputs, config }: Call): string | undefined {
  const [query, value = query] = inputs;
  const parts: string[] = [];
  if (value.mask) parts.push(scope.op("Unsqueeze", [value.mask.name, scope.ints([1, 2])]));
  if (query.mask) parts.push(scope.op("Unsqueeze", [query.mask.name, scope.ints([1, 3])]));
  if (config.causal) {
    const own = scope.op("Unsqueeze", [order(scope, query.name), scope.ints([1])]);
    parts.push(scope.op("LessOrEqual", [order(scope, value.name), own]));
  }
  return parts.length ? parts.reduce((a, b) => scope.op("And", [a, b])) : undefined;
}

/** Scores [batch, heads, queries, keys] of q and k [batch, heads, time, columns]. */
function scores(scope: Scope, { config, weights }: Call, q: string, k: string, columns: number): string {
  if (config.score === "additive") {
    const [own, other] = [scope.op("Unsqueeze", [q, scope.ints([3])]), scope.op("Unsqueeze", [k, scope.ints([2])])];
    const sums = scope.op("Tanh", [scope.op("Add", [own, other])]);
    if (!weights.scale) return scope.op("ReduceSum", [sums, scope.ints([-1])], { keepdims: 0 });
    const products = scope.op("MatMul", [sums, scope.op("Unsqueeze", [weights.scale.name, scope.ints([1])])]);
    return scope.op("Squeeze", [products, scope.ints([-1])]);
  }
  const products = scope.op("MatMul", [q, scope.op("Transpose", [k], { perm: [0, 1, 3, 2] })]);
  // Those of several heads always have it.
  const { scale = "sqrt" } = config;
  if (weights.scale) return scope.op("Mul", [products, weights.scale.name]);
  return scale === "sqrt" ? scope.op("Mul", [products, scope.float(1 / Math.sqrt(columns))]) : products;
}

/** Which weights stay, of those that are seen and those of queries that see nothing. */
function kept(scope: Scope, { inputs: [query], config }: Call, seen: string): string {
  if (config.blind !== "mean") return seen;
  const found = scope.op("ReduceSum", [scope.op("Cast", [seen], { to: TYPE.float }), scope.ints([-1])]);
  const all = scope.op("Or", [seen, scope.op("Not", [scope.op("Greater", [found, scope.float(0)])])]);
  // In one head, masked queries give zeros whatever others do.
  if (config.heads !== undefined || !query.mask) return all;
  return scope.op("And", [all, scope.op("Unsqueeze", [query.mask.name, scope.ints([1, 3])])]);
}

export const attend: Body = (call) => {
  const { scope, inputs, weights } = call;
  const [query, value = query, key = value] = inputs;
  const heads = (call.config.heads as number | undefined) ?? 1;
  const part = (what: string, x: string) => apart(scope, mapped(scope, x, what, weights), heads);
  const [q, k, v] = [part("query", query.name), part("key", key.name), part("value", value.name)];
  const columns = weights.queryKernel ? weights.queryKernel.shape[1] / heads : query.features;
  let s = scores(scope, call, q, k, columns);
  const seen = visible(scope, call);
  if (seen) s = scope.op("Where", [seen, s, scope.float(NOTHING)]);
  let p = scope.op("Softmax", [s], { axis: -1 });
  // A query that sees nothing has weights of its own making: all the same.
  if (seen) p = scope.op("Where", [kept(scope, call, seen), p, scope.float(0)]);
  const means = together(scope, scope.op("MatMul", [p, v]));
  return { name: mapped(scope, means, "output", weights), mask: query.mask };
};
