import { readFileSync, writeFileSync } from "node:fs";
import type { Report, Result } from "./run.ts";

const root = new URL("../../", import.meta.url);
const RUNTIMES = [
  { name: "node20-plain", title: "Node 20, plain SIMD" },
  { name: "node24-relaxed", title: "Node 24, relaxed SIMD" },
];

/** README's table between its markers, and docs/peers.svg. */
export function render(report: Report): void {
  const readme = new URL("README.md", root);
  const text = readFileSync(readme, "utf8");
  const [start, end] = ["<!-- peers -->", "<!-- /peers -->"];
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README.md: expected ${start} and ${end}`);
  writeFileSync(readme, `${text.slice(0, from + start.length)}\n${table(report)}\n${text.slice(to)}`);
  writeFileSync(new URL("docs/peers.svg", root), chart(report));
}

/** Rows of the same workload and peer, by runtime. */
function grouped(rows: readonly Result[]): Map<string, Result>[] {
  const groups = new Map<string, Map<string, Result>>();
  for (const row of rows) {
    const key = `${row.workload}|${row.peer}`;
    if (!groups.has(key)) groups.set(key, new Map());
    groups.get(key)!.set(row.runtime, row);
  }
  return [...groups.values()];
}

const short = (n: number) => (n >= 1000 ? n.toFixed(0) : String(Number(n.toPrecision(3))));
const times = (n: number) => `${Number(n.toPrecision(n < 1 ? 2 : 3))}x`;

function wanted({ target, targetOf, unit }: Result): string {
  return targetOf === "ratio" ? times(target) : `${target} ${unit}`;
}

function table({ rows, versions, machine }: Report): string {
  const groups = grouped(rows);
  const shown = RUNTIMES.filter(({ name }) => groups.some((group) => group.has(name)));
  const cells = (row: Result | undefined) => {
    if (!row) return ["", "", ""];
    const ratio = times(row.ratio);
    return [
      `${short(row.ours.median)} / ${short(row.theirs.median)} ${row.unit}`,
      row.met ? `**${ratio}**` : ratio,
      wanted(row),
    ];
  };
  const head = ["workload", "peer", ...shown.flatMap(({ title }) => [`${title}: ours / theirs`, "faster", "goal"])];
  const body = groups.map((group) => {
    const [{ workload, peer }] = group.values();
    return [workload, peer === "itself" ? "itself" : peer, ...shown.flatMap(({ name }) => cells(group.get(name)))];
  });
  const line = (parts: string[]) => `| ${parts.join(" | ")} |`;
  const load = Math.max(...rows.map((row) => row.load));
  // A measurement puts one or two processes to work itself.
  const disturbed =
    load > machine.cores + 0.5 ? ` Other work was going on, up to ${load} processes for ${machine.cores} cores.` : "";
  const used = Object.entries(versions).map(([name, version]) => `${name.replace(/^node(\d+)$/, "Node")} ${version}`);
  return [
    "![How many times as fast as its peers](docs/peers.svg)",
    "",
    line(head),
    line(head.map((_, i) => (i < 2 ? "---" : "---:"))),
    ...body.map(line),
    "",
    `Medians on ${machine.cores} cores of ${machine.cpu}, one thread unless said; in bold what reaches its goal.${disturbed} ` +
      "Outputs are compared before anything is timed, then both sides run in turns. " +
      `Against ${used.join(", ")}. \`npm run bench:peers\` measures it again; spreads are in \`bench/results/peers.json\`.`,
  ].join("\n");
}

const escaped = (text: string) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

/** Bars from 1x, on a logarithmic scale: right of the line is faster than the peer. */
function chart({ rows }: Report): string {
  const groups = grouped(rows.filter(({ peer }) => peer !== "itself"));
  const shown = RUNTIMES.filter(({ name }) => groups.some((group) => group.has(name)));
  const [WIDTH, LEFT, RIGHT, TOP, BAR] = [800, 16, 60, 76, 11];
  const values = groups.flatMap((group) => [...group.values()].flatMap((row) => [row.ratio, goal(row)]));
  const low = Math.min(0.5, ...values.map((v) => 2 ** Math.floor(Math.log2(v))));
  const high = Math.max(4, ...values.map((v) => 2 ** Math.ceil(Math.log2(v))));
  const at = (v: number) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log2(v / low)) / Math.log2(high / low);
  const out: string[] = [];
  const spans: [number, number][] = [[TOP - 6, TOP]];
  let y = TOP;
  for (const group of groups) {
    const [{ workload, peer }] = group.values();
    out.push(
      `<text x="${LEFT}" y="${y + 12}">${escaped(workload)} <tspan class="quiet">against ${escaped(peer)}</tspan></text>`,
    );
    y += 20;
    const above = y - 4;
    shown.forEach(({ name }, i) => {
      const row = group.get(name);
      if (!row) return;
      const [from, to] = [Math.min(at(1), at(row.ratio)), Math.max(at(1), at(row.ratio))];
      const tick = at(goal(row)).toFixed(1);
      out.push(
        `<rect class="s${i}" x="${from.toFixed(1)}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="${BAR}" rx="2"/>`,
        `<path class="goal" d="M${tick} ${y - 2}v${BAR + 4}"/>`,
        // Clear of the bar and of the goal's tick.
        `<text class="value" x="${(Math.max(to, Math.abs(Number(tick) - to) < 40 ? Number(tick) : 0) + 6).toFixed(1)}" y="${y + BAR - 1}">${times(row.ratio)}</text>`,
      );
      y += BAR + 3;
    });
    spans.push([above, y + 1]);
    y += 12;
  }
  const grid = Array.from({ length: Math.log2(high / low) + 1 }, (_, i) => low * 2 ** i).map(
    (v) =>
      // Beside the bars only, clear of the words above them.
      `<path class="${v === 1 ? "one" : "grid"}" d="${spans.map(([from, to]) => `M${at(v).toFixed(1)} ${from}V${to}`).join("")}"/>` +
      `<text class="quiet" text-anchor="middle" x="${at(v).toFixed(1)}" y="${TOP - 12}">${v}x</text>`,
  );
  const legend = shown.map(
    ({ title }, i) =>
      `<rect class="s${i}" x="${LEFT + 200 * i}" y="32" width="12" height="12" rx="2"/>` +
      `<text class="quiet" x="${LEFT + 200 * i + 18}" y="42">${title}</text>`,
  );
  const x = LEFT + 200 * shown.length;
  legend.push(`<path class="goal" d="M${x + 6} 31v14"/><text class="quiet" x="${x + 18}" y="42">goal</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 8}" width="${WIDTH}" height="${y + 8}" role="img" aria-label="gruvy against its peers">
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #6a737d; font-size: 11px }
.value { font-size: 11px; font-variant-numeric: tabular-nums }
.s0 { fill: #2a78d6 } .s1 { fill: #d9722b }
.grid { stroke: #8884; fill: none } .one { stroke: #6a737d; fill: none } .goal { stroke: #24292f; stroke-width: 2; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 }
  .s0 { fill: #4b91e8 } .s1 { fill: #e0853f }
  .one { stroke: #9198a1 } .goal { stroke: #e6edf3 }
}
</style>
<text class="title" x="${LEFT}" y="20">How many times as fast (or as small) as its peer</text>
${[...legend, ...grid, ...out].join("\n")}
</svg>
`;
}

/** The target as a ratio: an upper limit of ours counts against what theirs takes. */
function goal({ target, targetOf, theirs }: Result): number {
  return targetOf === "ratio" ? target : theirs.median / target;
}
