/**
 * Drawings for the report, as SVG: a line over epochs, a digit's pixels.
 */
import { COLUMNS, ROWS } from "./data.js";

const WIDTH = 440;
const HEIGHT = 220;
const MARGIN = { top: 12, right: 16, bottom: 26, left: 52 };

/** A few round numbers that cover the values: steps of 1, 2 or 5 times a power of ten. */
function ticks(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const rough = (high - low || Math.abs(high) || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
  const first = Math.floor(low / step);
  return Array.from({ length: Math.ceil(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

/**
 * A number's course over the epochs.
 *
 * @param {number[]} values one an epoch
 * @param {{ label: string, format: (value: number) => string }} options
 */
export function curve(values, { label, format }) {
  const marks = ticks(values);
  const [bottom, top] = [marks[0], marks[marks.length - 1]];
  const last = values.length;
  const x = (epoch) => MARGIN.left + ((epoch - 1) / Math.max(1, last - 1)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value) =>
    HEIGHT - MARGIN.bottom - ((value - bottom) / (top - bottom)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const at = (value, i) => `${x(i + 1).toFixed(1)},${y(value).toFixed(1)}`;
  const grid = marks.map(
    (mark) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(mark)}" y2="${y(mark)}"/>` +
      `<text x="${MARGIN.left - 8}" y="${y(mark) + 4}" text-anchor="end">${format(mark)}</text>`,
  );
  const epochs = [...new Set([1, Math.round((1 + last) / 2), last])].map(
    (epoch) => `<text x="${x(epoch)}" y="${HEIGHT - 6}" text-anchor="middle">${epoch}</text>`,
  );
  const points = values.map(
    (value, i) =>
      `<circle class="hover" cx="${x(i + 1).toFixed(1)}" cy="${y(value).toFixed(1)}" r="5"><title>epoch ${i + 1}: ${format(value)}</title></circle>`,
  );
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${label} by epoch">
${grid.join("\n")}
${epochs.join("\n")}
<polyline class="line" points="${values.map(at).join(" ")}"/>
<circle class="dot" cx="${x(last)}" cy="${y(values[last - 1])}" r="3.5"/>
${points.join("\n")}
</svg>`;
}

/** The pixels of a digit; rows after `rows` are left out. */
export function digitPicture(pixels, rows = ROWS) {
  const squares = [];
  for (let i = 0; i < rows * COLUMNS; i++)
    if (pixels[i] > 0)
      squares.push(
        `<rect x="${i % COLUMNS}" y="${Math.floor(i / COLUMNS)}" width="1" height="1" fill-opacity="${pixels[i].toFixed(2)}"/>`,
      );
  return `<svg class="digit" viewBox="0 0 ${COLUMNS} ${ROWS}" shape-rendering="crispEdges" aria-hidden="true">${squares.join("")}</svg>`;
}
