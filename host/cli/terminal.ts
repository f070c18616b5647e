import { GruvyError } from "../core/errors.ts";

/** What of a Node-like `process` the commands use. */
interface Process {
  readonly argv: string[];
  readonly stdout: Out;
  readonly stderr: Out;
  exitCode?: number;
  exit(): never;
}

interface Out {
  write(text: string): unknown;
  on(event: "error", listener: (error: { readonly code?: string }) => void): unknown;
}

function terminal(): Process {
  return (globalThis as unknown as { process: Process }).process;
}

/** The command line. From here on a reader that has enough, such as `head`, ends the program quietly. */
export function programArguments(): string[] {
  const process = terminal();
  process.stdout.on("error", (error) => {
    if (error.code === "EPIPE") process.exit();
    throw error;
  });
  return process.argv;
}

/** A line to standard output or error. */
export function print(line: string, to: "stdout" | "stderr" = "stdout"): void {
  terminal()[to].write(`${line}\n`);
}

/** The code with which the program ends, once everything is written. */
export function exitWith(code: number): void {
  terminal().exitCode = code;
}

/** Ends the program with a message and a code. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly code: number,
  ) {
    super(message);
  }
}

/** What to say of an error: a stack only for those that nobody expected. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof GruvyError) return new Failure(`${error.name}: ${error.message}`, 1);
  if (!(error instanceof Error)) return new Failure(String(error), 1);
  if (error.name === "CACError") return new Failure(`${error.message}; see "gruvy --help"`, 2);
  // Of the file system: ENOENT and the like say all there is.
  if ("code" in error) return new Failure(error.message, 1);
  return new Failure(error.stack ?? error.message, 1);
}
