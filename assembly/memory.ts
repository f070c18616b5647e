/** First byte after the constants: everything from here on belongs to the host's arena. */
export function arenaStart(): usize {
  return __heap_base;
}
