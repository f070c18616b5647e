import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Message } from "./child.ts";

/** What came of attacking a reader. */
export interface Outcome {
  readonly runs: number;
  readonly refused: number;
  readonly loaded: number;
  /** Largest resident memory of the process. */
  readonly megabytes: number;
  readonly failures: readonly string[];
}

/** Of the whole process: Node, the engine and its tests take about 200 of it. */
export const MOST_MEGABYTES = 768;

/** Seconds without a sign of life. Counted in ticks, as a process may be stopped and go on. */
const PATIENCE = 30;

/**
 * A reader against `runs` damaged files. A process that dies or hangs is a
 * failure, and another goes on after the input that did it.
 */
export async function fuzz(name: string, seed: number, runs: number, from = 0): Promise<Outcome> {
  const failures: string[] = [];
  let [refused, loaded, megabytes] = [0, 0, 0];
  for (let at = from; at < from + runs; ) {
    const end = await runChild(name, seed, at, from + runs, (message) => {
      if ("failure" in message) failures.push(`input ${message.index}: ${message.failure}`);
      if (!("done" in message)) return;
      refused += message.refused;
      loaded += message.loaded;
      megabytes = Math.max(megabytes, message.megabytes);
    });
    if (end.why) failures.push(`input ${end.at}: ${end.why}`);
    // A process that does not get to its first input will not the next time either.
    if (failures.length >= 20 || end.why === undefined || !end.began) break;
    at = end.at + 1;
  }
  if (megabytes > MOST_MEGABYTES) failures.push(`${megabytes} MiB of memory; the bound is ${MOST_MEGABYTES}`);
  return { runs, refused, loaded, megabytes, failures };
}

function runChild(
  name: string,
  seed: number,
  from: number,
  to: number,
  heard: (message: Message) => void,
): Promise<{ at: number; began: boolean; why?: string }> {
  const child = fork(fileURLToPath(new URL("child.ts", import.meta.url)), [name, seed, from, to].map(String), {
    execArgv: ["--import", "tsx", "--max-old-space-size=1024"],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  return new Promise((resolve) => {
    let at = from;
    let began = false;
    let done = false;
    let quiet = 0;
    let said = "";
    child.stderr!.on("data", (text) => (said = (said + text).slice(-2000)));
    const watch = setInterval(() => {
      if (++quiet > PATIENCE) child.kill("SIGKILL");
    }, 1000);
    child.on("message", (message: Message) => {
      quiet = 0;
      if ("at" in message) {
        at = message.at;
        began = true;
      }
      if ("done" in message) done = true;
      heard(message);
    });
    child.on("exit", (code, signal) => {
      clearInterval(watch);
      const why = quiet > PATIENCE ? `hangs for ${PATIENCE} s` : `process ended with ${signal ?? code}: ${said}`;
      resolve({ at, began, why: done ? undefined : why });
    });
  });
}
