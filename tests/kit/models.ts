import * as assert from "uvu/assert";
import { getEngine } from "../../host/core/wasm.ts";
import { GruvyError, type Model, type Tensor } from "../../host/index.ts";
import "./settings.ts";
import { sameBits, uniform } from "./core.ts";

export const { arena, core } = await getEngine();

/** Random numbers in a shape. */
export function randomTensor(shape: number[], seed: number, scale = 1): Tensor {
  return {
    shape,
    data: uniform(
      shape.reduce((a, b) => a * b, 1),
      seed,
      scale,
    ),
  };
}

/** Random whole numbers below `limit`. */
export function randomLabels(shape: number[], limit: number, seed: number): Tensor<Int32Array> {
  const count = shape.reduce((a, b) => a * b, 1);
  return {
    shape,
    data: Int32Array.from(uniform(count, seed), (v) => Math.min(limit - 1, Math.floor(((v + 1) / 2) * limit))),
  };
}

/** Samples `from` to `to` of a tensor [batch, ...]. */
export function samples<D extends Float32Array | Int32Array>({ shape, data }: Tensor<D>, from: number, to: number) {
  const size = data.length / shape[0];
  return { shape: [to - from, ...shape.slice(1)], data: data.slice(from * size, to * size) as D };
}

/** Steps `from` to `to` of a tensor [batch, time, ...]. */
export function steps({ shape, data }: Tensor, from: number, to: number): Tensor {
  const [B, T, ...rest] = shape;
  const n = rest.reduce((a, b) => a * b, 1);
  const out = new Float32Array(B * (to - from) * n);
  for (let b = 0; b < B; b++) out.set(data.subarray((b * T + from) * n, (b * T + to) * n), b * (to - from) * n);
  return { shape: [B, to - from, ...rest], data: out };
}

export function sameTensor(actual: Tensor, expected: Tensor, what: string): void {
  assert.equal(actual.shape, expected.shape, `${what}: shape`);
  sameBits(actual.data, expected.data, what);
}

export function sameTensors(actual: Record<string, Tensor>, expected: Record<string, Tensor>, what: string): void {
  assert.equal(Object.keys(actual), Object.keys(expected), `${what}: names`);
  for (const [name, t] of Object.entries(expected)) sameTensor(actual[name], t, `${what}: ${name}`);
}

type ErrorClass = new (message: string) => Error;

/** Fails unless `run` throws or rejects with this class and a message that matches. */
export async function refuses(
  run: () => unknown,
  kind: ErrorClass,
  message: RegExp,
  what: string = run.toString(),
): Promise<void> {
  let result: unknown;
  try {
    result = await run();
  } catch (error) {
    const told = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    assert.ok(error instanceof kind, `${what}: expected ${kind.name}, got ${told}`);
    assert.ok(error instanceof GruvyError);
    assert.match((error as Error).message, message, `${what}: ${told}`);
    return;
  }
  assert.unreachable(`${what}: expected ${kind.name}, got ${result}`);
}

/** Everything that a failed call must leave as it was, as bytes. */
export function snapshot(model: Model): string {
  return Buffer.from(model.toBytes({ training: model.training !== undefined })).toString("base64");
}
