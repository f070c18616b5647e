import { configure } from "../../host/index.ts";

/**
 * Settings of the test process, before its first model: the plain binary,
 * whose bits are the same everywhere, and one thread. The test command loads
 * this first; tests of threads and of other binaries run processes of their own.
 */
await configure({ deterministic: true, threads: 1 });
