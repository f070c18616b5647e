/**
 * Levenshtein's distance of two sequences: the least number of insertions,
 * deletions and substitutions that turn one into the other.
 */
export function editDistance<T>(a: ArrayLike<T>, b: ArrayLike<T>): number {
  let from = 0;
  let [m, n] = [a.length, b.length];
  while (from < m && from < n && a[from] === b[from]) from++;
  while (m > from && n > from && a[m - 1] === b[n - 1]) {
    m--;
    n--;
  }
  // row[j]: distance of a's first i and b's first j entries, counted from where they differ.
  const row = Uint32Array.from({ length: n - from + 1 }, (_, j) => j);
  for (let i = from; i < m; i++) {
    let diagonal = row[0]++;
    for (let j = 1; j < row.length; j++) {
      const substituted = diagonal + (a[i] === b[from + j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = Math.min(substituted, row[j - 1] + 1, diagonal + 1);
    }
  }
  return row[n - from];
}
