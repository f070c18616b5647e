/**
 * A thread: the same core over the same memory, waiting for jobs. Runs in
 * worker_threads and in Web Workers.
 */
import { ACTIVE, claim, FAILED, GENERATION, MESSAGE, OPEN, READY, WORDS } from "./control.js";

/** Looks for a job this often, some 20 microseconds, before it sleeps. */
const SPINS = 4000;

/** @param {{ module: WebAssembly.Module, memory: WebAssembly.Memory, names: string[], control: number, thread: number }} setup */
function work({ module, memory, names, control: address, thread }) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort() {} } });
  const kernels = names.map((name) => exports[name]);
  const control = new Int32Array(memory.buffer, address, WORDS);
  let seen = Atomics.load(control, GENERATION);
  Atomics.add(control, READY, 1);
  for (;;) {
    for (let spins = 0; Atomics.load(control, GENERATION) === seen; spins++)
      if (spins > SPINS) Atomics.wait(control, GENERATION, seen);
    seen = Atomics.load(control, GENERATION);
    Atomics.add(control, ACTIVE, 1);
    if (Atomics.load(control, OPEN) === 1)
      try {
        claim(control, kernels, thread);
      } catch (error) {
        const text = String(error).slice(0, WORDS - MESSAGE - 1);
        control[MESSAGE] = text.length;
        for (let i = 0; i < text.length; i++) control[MESSAGE + 1 + i] = text.charCodeAt(i);
        Atomics.store(control, FAILED, 1);
      }
    if (Atomics.sub(control, ACTIVE, 1) === 1) Atomics.notify(control, ACTIVE);
  }
}

const node = globalThis.process?.getBuiltinModule?.("worker_threads");
if (node?.workerData?.gruvy) work(node.workerData);
else globalThis.onmessage = ({ data }) => data?.gruvy && work(data);
