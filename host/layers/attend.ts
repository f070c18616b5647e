import { ShapeError } from "../core/errors.ts";
import { random } from "../core/random.ts";
import type { InitializerConfig } from "./initializers.ts";
import {
  type Builder,
  type BuiltLayer,
  type Param,
  type Port,
  padded,
  type Run,
  stepsOf,
  type Value,
} from "./layer.ts";

/** Every form of attention, as one layer with more or fewer of its parts. */
export interface AttentionForm {
  readonly score: "dot" | "additive";
  readonly scale: "sqrt" | "none" | "learned";
  readonly causal: boolean;
  /** Who sees all values alike for want of any that counts: queries that count, or masked ones too. */
  readonly blind?: "counting" | "all";
  readonly dropout: number;
  readonly heads: number;
  /** Columns a head that queries and keys are mapped to; absent: they are taken as they are, in one head. */
  readonly queries?: number;
  /** The same of values. */
  readonly values?: number;
  /** Columns that all heads together are mapped to. */
  readonly output?: number;
  readonly kernelInitializer: InitializerConfig;
  /** Of the maps; absent: they have no bias. */
  readonly biasInitializer?: InitializerConfig;
  /** Of a learned scale. */
  readonly scaleInitializer?: InitializerConfig;
}

/** Bits of the kernels' `flags` (assembly/attention.ts). */
const ADDITIVE = 1;
const CAUSAL = 2;
const BLIND = { counting: 4, all: 12 };

/** One of the linear maps into queries, keys and values; `columns` 0: there is none. */
interface Part {
  readonly inputs: number;
  readonly columns: number;
  readonly kernel?: Param;
  readonly bias?: Param;
}

/** The layer of a form, on ports [query, value?, key?]. */
export function buildAttention(b: Builder, ports: readonly Port[], form: AttentionForm): BuiltLayer {
  const [query, value = query, key = value] = ports;
  checkPorts(b.name, ports);
  const { heads, score, causal, blind, dropout } = form;
  const D = form.queries ?? query.features;
  const Dv = form.values ?? value.features;
  if (!form.queries && key.features !== D)
    throw new ShapeError(
      `layer "${b.name}": queries of ${D} features cannot score keys of ${key.features}; "units" maps both to as many`,
    );
  const { core } = b;
  const parts: Part[] = [
    declare(b, "query", query.features, heads, form.queries, form),
    declare(b, "key", key.features, heads, form.queries, form),
    declare(b, "value", value.features, heads, form.values, form),
  ];
  const [nq, nk, nv] = parts.map(({ columns }) => columns);
  const [Iq, Ik, Iv] = parts.map(({ inputs }) => inputs);
  const meansColumns = heads * padded(Dv);
  const N = form.output;
  const outputKernel = N ? b.param("outputKernel", [heads * Dv, N], form.kernelInitializer) : undefined;
  const outputBias = N && form.biasInitializer ? b.param("outputBias", [N], form.biasInitializer) : undefined;
  const scaleShape = score === "dot" ? [1] : [D];
  const learned = form.scale === "learned" ? b.param("scale", scaleShape, form.scaleInitializer!) : undefined;
  const fixed = new Array<number>(scaleShape[0]).fill(form.scale === "sqrt" ? 1 / Math.sqrt(D) : 1);

  const projects = parts.some(({ columns }) => columns);
  const packed = projects ? packParts(b, parts, heads, [D, D, Dv]) : undefined;
  const packedBack = parts.map((part, i) => packPartTransposed(b, part, heads, i === 2 ? Dv : D));
  const output = outputKernel && packOutput(b, outputKernel, outputBias, heads, Dv, N!);

  const flags = (score === "additive" ? ADDITIVE : 0) | (causal ? CAUSAL : 0) | (blind ? BLIND[blind] : 0);
  const randomKey = random(b.seed, b.name).uint32() | 0;
  const rate = (run: Run) => (run.mode === "train" ? dropout : 0);
  const port: Port = { features: N ?? Dv, sequence: true, steps: query.steps, type: "values" };

  return {
    output: port,
    unstreamable: "attention reads whole sequences",
    forward(run, inputs) {
      const [xq, xv = xq, xk = xv] = inputs;
      const { B, k } = run;
      const [Tq, Tk] = [stepsOf(run, xq), stepsOf(run, xv)];
      if (stepsOf(run, xk) !== Tk)
        throw new ShapeError(`layer "${b.name}": ${Tk} values need as many keys, got ${stepsOf(run, xk)}`);
      const keep = run.backward ? run.saved : run.scratch;
      const at = (label: string, x: Value, columns: number) => (columns ? keep(label, x.rows * columns) : x.address);
      const [q, keys, v] = [at("queries", xq, nq), at("keys", xk, nk), at("values", xv, nv)];
      const [rowsQ, rowsK] = [xq.rows, xv.rows];
      if (packed) {
        const maps = [q, keys, v, xq.address, xk.address, xv.address, packed.address] as const;
        k.attentionProject(...maps, rowsQ, rowsK, Iq, Ik, Iv, nq, nk, nv, 0, rowsQ + 2 * rowsK, 0);
      }
      const means = (output ? keep : run.saved)("means", rowsQ * meansColumns);
      const stats = run.backward ? run.saved("stats", 2 * B * heads * Tq) : 0;
      const scale = learned?.address ?? run.constant("scale", fixed);
      const masks = [xq.mask?.address ?? 0, xv.mask?.address ?? 0] as const;
      const scratch = run.scratch("scores", run.threads * core.attentionScratch(Tk, D, Dv));
      const drop = [run.step, randomKey, rate(run)] as const;
      k.attentionForward(
        ...([means, stats, q, keys, v, scale, ...masks, scratch, ...drop] as const),
        ...([B, heads, Tq, Tk, D, Dv, flags, 0, B * heads, 0] as const),
      );
      let address = means;
      if (output) {
        address = run.saved("y", rowsQ * padded(N!));
        k.denseForward(address, means, output.packed.address, meansColumns, N!, 0, rowsQ, 0);
      }
      const saved = { q, keys, v, means, stats, scale };
      return { port, address, rows: rowsQ, stride: padded(port.features), mask: xq.mask, saved };
    },
    backward(run, inputs, y) {
      const [xq, xv = xq, xk = xv] = inputs;
      const { B, k } = run;
      const [Tq, Tk] = [stepsOf(run, xq), stepsOf(run, xv)];
      const [rowsQ, rowsK] = [xq.rows, xv.rows];
      const { q, keys, v, means, stats, scale } = y.saved;
      let dMeans = y.gradient!;
      if (output) {
        dMeans = run.scratch("means, gradient", rowsQ * meansColumns);
        k.denseBackward(dMeans, y.gradient!, output.packedTransposed.address, meansColumns, N!, 0, 0, rowsQ, 0);
      }

      // Where the gradients of queries, keys and values are added up: what is mapped in scratch, the rest in the inputs' own.
      const sizes = [rowsQ * nq, rowsK * nk, rowsK * nv];
      const total = sizes[0] + sizes[1] + sizes[2];
      const room = total ? run.scratch("queries, keys, values, gradients", total) : 0;
      if (total) k.zero(room, total);
      const own = (x: Value) => {
        const dx = run.gradient(x);
        if (dx && !dx.accumulate) k.zero(dx.address, x.rows * x.stride);
        return dx?.address ?? 0;
      };
      const dq = nq ? room : own(xq);
      const dk = nk ? room + 4 * sizes[0] : own(xk);
      const dv = nv ? room + 4 * (sizes[0] + sizes[1]) : own(xv);

      const scaleColumns = padded(scaleShape[0]);
      const dScale = learned ? run.scratch("scale, gradients", B * heads * scaleColumns) : 0;
      const masks = [xq.mask?.address ?? 0, xv.mask?.address ?? 0] as const;
      const scratch = run.scratch("scores", run.threads * core.attentionBackwardScratch(Tk, D, Dv));
      const drop = [run.step, randomKey, rate(run)] as const;
      k.attentionBackward(
        ...([dq, dk, dv, dScale, dMeans, stats, q, keys, v, scale, ...masks, scratch, ...drop] as const),
        ...([B, heads, Tq, Tk, D, Dv, flags, 0, B * heads, 0] as const),
      );
      if (learned) k.addColumnSums(learned.gradient, dScale, B * heads, scaleShape[0], scaleColumns);

      if (!projects) return;
      const kernels = [...parts.map(({ kernel }) => kernel), outputKernel].map((p) => p?.gradient ?? 0);
      const biases = [...parts.map(({ bias }) => bias), outputBias].map((p) => p?.gradient ?? 0);
      const size = core.attentionGradientsScratch(Math.max(Iq, Ik, Iv, Dv), Math.max(D, Dv, N ?? 0));
      const products = run.scratch("weight gradients", run.threads * size);
      k.attentionGradients(
        ...(kernels as [number, number, number, number]),
        ...(biases as [number, number, number, number]),
        ...([xq.address, xk.address, xv.address, means, dq, dk, dv, y.gradient!, products, size] as const),
        ...([rowsQ, rowsK, Iq, Ik, Iv, N ?? 0, heads, D, Dv, 0, 4 * heads, 0] as const),
      );
      for (const [i, x, d] of [[0, xq, dq], [1, xk, dk], [2, xv, dv]] as const) {
        const { columns, inputs: I } = parts[i];
        const dx = columns ? run.gradient(x) : undefined;
        if (dx) k.denseBackward(dx.address, d, packedBack[i]!.address, I, columns, dx.accumulate, 0, x.rows, 0);
      } // biome-ignore format: a table
    },
  };
}

function checkPorts(name: string, ports: readonly Port[]): void {
  for (const [i, port] of ports.entries())
    if (!port.sequence || port.type === "tokens")
      throw new ShapeError(
        `layer "${name}": expected [batch, time, features] for its ${["query", "value", "key"][i]}, got ${port.type === "tokens" ? "tokens; an embedding turns them into vectors" : `[batch, ${port.features}]; attention needs a time axis`}`,
      );
}

function declare(b: Builder, what: string, inputs: number, heads: number, width: number | undefined, form: AttentionForm): Part {
  if (!width) return { inputs, columns: 0 };
  return {
    inputs,
    columns: heads * padded(width),
    kernel: b.param(`${what}Kernel`, [inputs, heads * width], form.kernelInitializer),
    bias: form.biasInitializer && b.param(`${what}Bias`, [heads * width], form.biasInitializer),
  };
} // biome-ignore format: one signature

/** What attentionProject reads: of each part the bias and the panels, head after head, each rounded up to 8 columns. */
function packParts(b: Builder, parts: readonly Part[], heads: number, widths: readonly number[]) {
  const count = parts.reduce((sum, { inputs, columns }) => sum + (inputs + 1) * columns, 0);
  return b.packed("maps", count, (k, at) => {
    for (const [i, { inputs: I, columns, kernel, bias }] of parts.entries()) {
      const width = widths[i];
      for (let h = 0; kernel && h < heads; h++) {
        const column = h * padded(width);
        k.packRow(at + 4 * column, bias ? bias.address + 4 * h * width : 0, width);
        const panels = at + 4 * (columns + column * I);
        k.packPanels(panels, kernel.address + 4 * h * width, I, width, heads * width, 1, I, 8 * I);
      }
      at += 4 * (I + 1) * columns;
    }
  });
}

/** The transposed part for gradients of its input: panels [columns, inputs], rows of zeros where heads are rounded up. */
function packPartTransposed(b: Builder, { inputs: I, columns, kernel }: Part, heads: number, width: number) {
  if (!kernel) return undefined;
  return b.packed(
    `${kernel.name.split(".").at(-1)}, transposed`,
    columns * padded(I),
    (k, at) => {
      const rows = padded(width);
      for (let h = 0; h < heads; h++)
        k.packPanels(at + 32 * h * rows, kernel.address + 4 * h * width, width, I, 1, heads * width, rows, 8 * columns);
    },
    true,
  );
}

/** The map of all heads' means, which have zeros where heads are rounded up, and its transposed. */
function packOutput(b: Builder, kernel: Param, bias: Param | undefined, heads: number, width: number, N: number) {
  const rows = padded(width);
  const packed = b.packed("output", (heads * rows + 1) * padded(N), (k, at) => {
    k.packRow(at, bias?.address ?? 0, N);
    for (let h = 0; h < heads; h++)
      k.packPanels(
        at + 4 * padded(N) + 32 * h * rows,
        kernel.address + 4 * h * width * N,
        ...([width, N, N, 1, rows, 8 * heads * rows] as const),
      );
  });
  const packedTransposed = b.packed(
    "output, transposed",
    N * heads * rows,
    (k, at) => {
      for (let h = 0; h < heads; h++)
        k.packPanels(at + 4 * h * rows * N, kernel.address + 4 * h * width * N, N, width, 1, N, N, 8 * N);
    },
    true,
  );
  return { packed, packedTransposed };
}
