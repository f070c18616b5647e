import { test } from "uvu";
import { sameBits, TestCore, uniform } from "../kit/core.ts";
import { checkPadding, GARBAGE, shapes } from "../kit/shapes.ts";
import { embedding, embeddingBackward } from "../reference/embedding.ts";

const V = 6;

test("rows are copied, the padding is 0", () => {
  for (const { rows, n, stride } of shapes()) {
    const core = new TestCore();
    const table = uniform(V * n, n);
    const tokens = Array.from({ length: rows }, (_, i) => (i * 5 + 1) % V);
    const y = core.putRows(new Float32Array(rows * n), rows, n, stride, GARBAGE);
    core.k.embedding(y, core.put(table), core.put(tokens, "i32"), rows, n, stride);
    sameBits(core.rows(y, rows, n, stride), embedding(table, tokens, n), `${rows}x${n}`);
    checkPadding(core.f32(y, rows * stride), { rows, n, stride }, "y");
    core.checkCanaries();
  }
});

test("gradients are added to the table in ascending rows, but not to the padding token", () => {
  for (const paddingIndex of [-1, 2])
    for (const { rows, n, stride } of shapes()) {
      const core = new TestCore();
      const [start, dy] = [uniform(V * n, n), uniform(rows * n, n + 1)];
      const tokens = Array.from({ length: rows }, (_, i) => (i * 5 + 1) % V);
      const [dTable, dyAt] = [core.put(start), core.putRows(dy, rows, n, stride, GARBAGE)];
      const at = core.put(tokens, "i32");
      core.k.embeddingBackward(dTable, dyAt, at, rows, n, stride, n, paddingIndex);
      const expected = embeddingBackward(start, dy, tokens, n, paddingIndex);
      sameBits(core.f32(dTable, V * n), expected, `${rows}x${n}`);

      if (n > 8) {
        const parts = core.put(start);
        core.k.embeddingBackward(parts, dyAt, at, rows, 8, stride, n, paddingIndex);
        core.k.embeddingBackward(parts + 32, dyAt + 32, at, rows, n - 8, stride, n, paddingIndex);
        sameBits(core.f32(parts, V * n), expected, `${rows}x${n} by columns`);
      }
      core.checkCanaries();
    }
});

test.run();
