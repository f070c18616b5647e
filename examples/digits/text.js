/**
 * Results as text, for the terminal.
 */

const SHADES = [" ", "░", "▒", "▓", "█"];
const BARS = ["·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const level = (steps, part) => steps[Math.round(part * (steps.length - 1))];
const cell = (value) => value.toFixed(3).padStart(11);

/**
 * Precision, recall and F1 of each class.
 *
 * @param {import("gruvy").ClassificationReport} report
 */
export function classTable({ classes, macro, weighted }) {
  const line = (name, { precision, recall, f1, support }) =>
    name.padEnd(8) + cell(precision) + cell(recall) + cell(f1) + String(support).padStart(9);
  return [
    `${"digit".padEnd(8)}${["precision", "recall", "F1"].map((s) => s.padStart(11)).join("")}${"count".padStart(9)}`,
    ...classes.map((scores) => line(scores.label, scores)),
    line("mean", macro),
    line("weighted", weighted),
  ].join("\n");
}

/** The head of the table that `readingLine` fills. */
export function readingTitle(digit) {
  return `reading a ${digit} row by row:\n  ${"".padEnd(16)}   0 1 2 3 4 5 6 7 8 9   best guess`;
}

/** A row of pixels, a small bar for the probability of each digit, and the likeliest one. */
export function readingLine(pixels, probabilities) {
  const ink = Array.from(pixels, (p) => level(SHADES, p).repeat(2)).join("");
  const bars = Array.from(probabilities, (p) => level(BARS, p)).join(" ");
  const best = Math.max(...probabilities);
  return `  ${ink}   ${bars}   ${probabilities.indexOf(best)}, ${(100 * best).toFixed(1)} %`;
}
