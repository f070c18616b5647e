/** Longest stretch without giving others a turn, in milliseconds. */
const STRETCH = 40;

/**
 * A pause for long loops: resolves at once, but lets timers, events and
 * signals in when the last turn is `STRETCH` ago.
 */
export function breathe(): () => Promise<void> | undefined {
  let last = performance.now();
  return () => {
    if (performance.now() - last < STRETCH) return undefined;
    return new Promise((resolve) =>
      setTimeout(() => {
        last = performance.now();
        resolve();
      }),
    );
  };
}
