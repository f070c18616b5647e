/**
 * Words of the control block, i32 in shared memory, through which threads
 * share out the items of one kernel call. Plain JavaScript: workers load it
 * as it is.
 */

/** Raised with every job; workers sleep on it. */
export const GENERATION = 0;
/** 1 while the job may be entered. */
export const OPEN = 1;
/** Workers inside. */
export const ACTIVE = 2;
/** The next item nobody has claimed, and the end of the items. */
export const NEXT = 3;
export const END = 4;
/** Items to claim at a time. */
export const GRAIN = 5;
/** 1 when a kernel failed; the message follows the arguments. */
export const FAILED = 6;
/** Workers that are up. */
export const READY = 7;
/** The kernel's number in the table, and how many arguments it has but for the range and the thread. */
export const KERNEL = 8;
export const COUNT = 9;
/** The arguments, f64: addresses, sizes and fractions alike. */
export const ARGUMENTS = 10;
const MOST_ARGUMENTS = 40;
/** Room for a message. */
export const MESSAGE = ARGUMENTS + 2 * MOST_ARGUMENTS;
export const WORDS = MESSAGE + 80;

/**
 * The first `count` arguments.
 *
 * @param {Int32Array} control
 * @param {number} count
 */
export function argumentsOf(control, count) {
  if (count > MOST_ARGUMENTS)
    throw new RangeError(`${count} arguments; the control block has room for ${MOST_ARGUMENTS}`);
  return new Float64Array(control.buffer, control.byteOffset + 4 * ARGUMENTS, count);
}

/**
 * Claims items until none is left.
 *
 * @param {Int32Array} control
 * @param {((...args: number[]) => unknown)[]} kernels
 * @param {number} thread
 */
export function claim(control, kernels, thread) {
  const kernel = kernels[control[KERNEL]];
  const args = Array.from(argumentsOf(control, control[COUNT]));
  const end = control[END];
  const grain = control[GRAIN];
  for (;;) {
    const from = Atomics.add(control, NEXT, grain);
    if (from >= end) return;
    const to = Math.min(end, from + grain);
    kernel(...args, from, to, thread);
  }
}
