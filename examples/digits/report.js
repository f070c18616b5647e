/**
 * The report: one HTML page that needs nothing else, neither scripts nor fonts nor a network.
 */
import { curve, digitPicture } from "./drawings.js";

const DIGITS = Array.from({ length: 10 }, (_, digit) => digit);
const percent = (part, places = 1) => `${(100 * part).toFixed(places)} %`;
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const each = (items, draw) => items.map(draw).join("\n");

const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f5f1; --card: #fff; --ink: #1d2126; --soft: #68707a; --rule: #e3e1da; --accent: #1f6f8b; --wrong: #c2410c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1c2024; --ink: #e8e6e1; --soft: #98a1ab; --rule: #2e343a; --accent: #5cb8d6; --wrong: #f2854b;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums;
}
main { max-width: 1040px; margin: 0 auto; padding: 48px 24px 64px; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 8px; }
h2 { font-size: 1.15rem; margin: 0 0 4px; }
p { margin: 0 0 16px; max-width: 68ch; }
.soft, figcaption, footer { color: var(--soft); }
section, .tile { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; }
section { padding: 24px; margin-top: 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 28px; }
.tile { padding: 14px 18px; color: var(--soft); font-size: 0.86rem; }
.tile b { display: block; color: var(--ink); font-size: 1.6rem; line-height: 1.3; letter-spacing: -0.02em; font-weight: 650; }
.tile:first-child b { color: var(--accent); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 20px 32px; align-items: start; }
.pair > * { min-width: 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 20px; margin-top: 20px; align-items: stretch; }
.columns section { margin: 0; min-width: 0; }
figure { margin: 0; }
.wide { overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--rule); }
.line { fill: none; stroke: var(--accent); stroke-width: 2.25; stroke-linejoin: round; }
.dot { fill: var(--accent); }
.hover { fill: transparent; }
.hover:hover { fill: var(--accent); }
.digit { fill: var(--ink); background: var(--page); border: 1px solid var(--rule); border-radius: 6px; aspect-ratio: 1; }
table { border-collapse: collapse; font-size: 0.92rem; }
.heat { width: 100%; min-width: 310px; table-layout: fixed; border-collapse: separate; border-spacing: 2px; text-align: center; }
.heat th { font-weight: 600; color: var(--soft); padding: 2px; }
.heat td { height: 34px; padding: 0; border-radius: 4px; }
.scores { width: 100%; }
.scores th, .scores td { text-align: right; padding: 5px 8px; border-bottom: 1px solid var(--rule); }
.scores thead th { color: var(--soft); font-weight: 500; }
.scores th:first-child { text-align: left; }
.scores tr:nth-last-child(-n+2) > * { color: var(--soft); font-weight: 400; border-bottom: 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(134px, 1fr)); gap: 24px 20px; margin-top: 16px; }
.gallery .digit { margin-bottom: 8px; }
figcaption { font-size: 0.88rem; }
figcaption b { color: var(--ink); }
figcaption .wrong { color: var(--wrong); }
.bars { display: grid; grid-template-columns: 1.1em 1fr 3.6em; gap: 0 6px; align-items: center; font-size: 0.82rem; margin-top: 4px; }
.bars i { height: 7px; border-radius: 4px; background: var(--accent); min-width: 1px; }
.bars .false { background: var(--wrong); }
.bars span:nth-child(3n) { text-align: right; }
.reading { width: 100%; min-width: 640px; table-layout: fixed; border-collapse: separate; border-spacing: 2px; text-align: center; }
.reading th { font-weight: 600; color: var(--soft); }
.reading td { height: 40px; padding: 0; border-radius: 4px; }
.reading tr > :first-child { width: 52px; }
.reading .digit { width: 40px; margin: 0 auto; }
pre { margin: 12px 0 0; overflow-x: auto; font: 0.84rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 4px 20px; margin: 12px 0 0; font-size: 0.92rem; }
dt { color: var(--soft); }
dd { margin: 0; }
footer { margin-top: 28px; font-size: 0.86rem; }
@media (max-width: 560px) { main { padding: 28px 12px 40px; } section { padding: 16px; } }
`;

/** A cell tinted by a part of 1; text stays readable on every tint. */
function tinted(part, text, color = "accent", title = "") {
  const share = Math.round(100 * part);
  const style = share
    ? ` style="background:color-mix(in oklab,var(--${color}) ${share}%,var(--card))${share > 55 ? ";color:var(--card)" : ""}"`
    : "";
  return `<td${style}${title ? ` title="${title}"` : ""}>${text}</td>`;
}

function tiles({ result, counts, seconds, parameters, bytes }) {
  const facts = [
    [percent(result.accuracy, 2), "test accuracy"],
    [`${result.wrong.length} of ${counts.test}`, "test digits read wrong"],
    [`${seconds.toFixed(1)} s`, "to train"],
    [grouped(parameters), "parameters"],
    [`${grouped(Math.round(bytes / 1024))} KiB`, "model file"],
  ];
  return `<div class="tiles">${each(facts, ([value, name]) => `<div class="tile"><b>${value}</b>${name}</div>`)}</div>`;
}

/** What the loss of a perfect model would be: smoothed targets have an entropy of their own. */
function lossFloor(smoothing) {
  const others = smoothing / 10;
  const own = 1 - 9 * others;
  return smoothing ? -own * Math.log(own) - 9 * others * Math.log(others) : 0;
}

function learning({ history, recipe }) {
  const charts = [
    ["loss", "Loss", (v) => String(+v.toFixed(3))],
    ["accuracy", "Accuracy", (v) => `${+(100 * v).toFixed(1)} %`],
  ];
  return `<section><h2>Learning</h2>
<p class="soft">On the training digits as each epoch distorted them, with dropout. Label smoothing keeps the loss above ${lossFloor(recipe.labelSmoothing).toFixed(2)}. The test digits had no part in it.</p>
<div class="pair">${each(charts, ([name, label, format]) => `<figure><figcaption><b>${label}</b> by epoch, ${format(history[name].at(-1))} in the last</figcaption>${curve(history[name], { label, format })}</figure>`)}</div></section>`;
}

function confusion({ result }) {
  const { matrix } = result.confusion;
  const most = Math.max(...matrix.flat());
  const row = (digit) => {
    const cells = each(DIGITS, (taken) => {
      const n = matrix[digit][taken];
      if (n === 0) return "<td></td>";
      const title = `${n} of digit ${digit} read as ${taken}`;
      // One mistake must be seen beside dozens of hits: its colour starts at a third.
      return digit === taken
        ? tinted(n / most, n, "accent", title)
        : tinted(Math.min(1, 0.2 + n * 0.15), n, "wrong", title);
    });
    return `<tr><th scope="row">${digit}</th>${cells}</tr>`;
  };
  return `<section><h2>Confusion</h2><p class="soft">Rows: what was written. Columns: what was read.</p>
<div class="wide"><table class="heat"><thead><tr><th></th>${each(DIGITS, (d) => `<th scope="col">${d}</th>`)}</tr></thead>
<tbody>${each(DIGITS, row)}</tbody></table></div></section>`;
}

function scores({ result: { classes, macro, weighted } }) {
  const row = (name, { precision, recall, f1, support }) =>
    `<tr><th scope="row">${name}</th>${each([precision, recall, f1], (v) => `<td>${v.toFixed(3)}</td>`)}<td>${support}</td></tr>`;
  return `<section><h2>Digit by digit</h2><p class="soft">Precision: of those read as this digit, how many were. Recall: of those written, how many were read.</p>
<div class="wide"><table class="scores"><thead><tr><th>digit</th><th>precision</th><th>recall</th><th>F1</th><th>count</th></tr></thead>
<tbody>${each(classes, (scores) => row(scores.label, scores))}${row("mean", macro)}${row("weighted", weighted)}</tbody></table></div></section>`;
}

function mistakes({ result: { wrong } }) {
  const card = ({ pixels, digit, predicted, probabilities }) => {
    const shown = [...DIGITS].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 3);
    if (!shown.includes(digit)) shown[2] = digit;
    const bars = each(
      shown,
      (d) =>
        `<span>${d}</span><i class="${d === digit}" style="width:${(100 * probabilities[d]).toFixed(1)}%"></i><span>${percent(probabilities[d])}</span>`,
    );
    return `<figure>${digitPicture(pixels)}<figcaption>a <b>${digit}</b>, read as <b class="wrong">${predicted}</b></figcaption><div class="bars">${bars}</div></figure>`;
  };
  const surest = [...wrong].sort((a, b) => b.probabilities[b.predicted] - a.probabilities[a.predicted]).slice(0, 18);
  if (!surest.length) return "";
  return `<section><h2>Mistakes</h2>
<p class="soft">${surest.length < wrong.length ? `The ${surest.length} surest of ${wrong.length}` : "All of them"}, the surest first, with the probabilities given.</p>
<div class="gallery">${each(surest, card)}</div></section>`;
}

function reading({ reading: { digit, pixels, thoughts } }) {
  const row = (thought, i) =>
    `<tr><td>${digitPicture(pixels, i + 1)}</td>${each(DIGITS, (d) => tinted(thought[d], thought[d] >= 0.005 ? percent(thought[d], 0) : ""))}</tr>`;
  return `<section><h2>Row by row</h2>
<p class="soft">A test digit, a ${digit}, streamed through the saved model one row at a time: the probability of each digit after each row.</p>
<div class="wide"><table class="reading"><thead><tr><th></th>${each(DIGITS, (d) => `<th scope="col">${d}</th>`)}</tr></thead>
<tbody>${each(thoughts, row)}</tbody></table></div></section>`;
}

function model({ summary, recipe, runtime, counts }) {
  const { epochs, batchSize, learningRate, seed, augment, dropout, labelSmoothing } = recipe;
  const facts = [
    ["trained on", `${grouped(counts.train)} digits, all of them every epoch, each distorted anew`],
    ["epochs", `${epochs}, in batches of ${batchSize}`],
    ["optimizer", `AdamW, one cycle up to a learning rate of ${learningRate}`],
    [
      "distortion",
      `up to ${augment.move} pixels moved, ${percent(augment.stretch, 0)} stretched, ${percent(augment.slant, 0)} slanted`,
    ],
    ["regularisation", `dropout ${dropout}, label smoothing ${labelSmoothing}`],
    ["seed", seed],
    ["runtime", runtime],
  ];
  return `<section><h2>Model and recipe</h2><div class="pair"><pre>${escaped(summary)}</pre>
<dl>${each(facts, ([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`)}</dl></div></section>`;
}

/**
 * The whole page.
 *
 * @param facts `main` in train.js says which
 */
export function reportPage(facts) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Handwritten digits, read by gruvy</title>
<style>${STYLE}</style>
</head>
<body><main>
<header><h1>Handwritten digits, read row by row</h1>
<p class="soft">Three GRU layers read a picture of 8 × 8 pixels as eight time steps, from top to bottom, and say which digit it is. Trained on ${grouped(facts.counts.train)} digits, tested on ${facts.counts.test} others.</p>
</header>
${tiles(facts)}
${learning(facts)}
<div class="columns">${confusion(facts)}${scores(facts)}</div>
${mistakes(facts)}
${reading(facts)}
${model(facts)}
<footer>Digits: E. Alpaydin and C. Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository no. 80, CC BY 4.0.</footer>
</main></body>
</html>
`;
}
