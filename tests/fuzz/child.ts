/**
 * One reader against inputs `from` to `to`, in a process of its own: what
 * hangs or crashes takes nobody with it. Says where it is, and what it found.
 */
import { arena } from "../kit/models.ts";
import "../kit/settings.ts";
import { FormatError, GruvyError } from "../../host/index.ts";
import { mutate } from "./mutate.ts";
import { READERS } from "./readers.ts";

/** Messages to the parent. */
export type Message =
  | { readonly at: number }
  | { readonly failure: string; readonly index: number }
  | { readonly done: true; readonly refused: number; readonly loaded: number; readonly megabytes: number };

const [name, seed, from, to] = [process.argv[2], ...process.argv.slice(3).map(Number)] as [
  string,
  number,
  number,
  number,
];
const reader = READERS.find((row) => row.name === name)!;
const send = (message: Message) => new Promise<void>((resolve) => process.send!(message, () => resolve()));

const seeds = await reader.seeds();
for (const file of seeds) (await reader.read(file))?.dispose(); // as they are, all of them load

const taken = arena.taken;
let [refused, loaded] = [0, 0];
for (let i = from; i < to; i++) {
  await send({ at: i });
  const bytes = mutate(seeds[i % seeds.length], seed, name, i);
  const fail = (failure: string) => send({ failure, index: i });
  const start = process.cpuUsage();
  try {
    const model = await reader.read(bytes);
    loaded++;
    if (model) {
      for (const [key, { data }] of Object.entries(model.weights()))
        if (data.some((v) => !Number.isFinite(v))) await fail(`"${key}" is not finite`);
      model.summary();
      model.dispose();
    }
  } catch (error) {
    refused++;
    const said = error instanceof Error ? error.stack : String(error);
    if (!(error instanceof FormatError))
      await fail(`${error instanceof GruvyError ? "not a FormatError" : "crash"}: ${said}`);
  }
  const { user, system } = process.cpuUsage(start);
  if (user + system > 5e6) await fail(`took ${((user + system) / 1e6).toFixed(1)} s`);
  if (arena.taken !== taken) {
    await fail(`${arena.taken - taken} bytes of the engine are not given back`);
    break;
  }
}
await send({ done: true, refused, loaded, megabytes: Math.round(process.resourceUsage().maxRSS / 1024) });
process.disconnect();
