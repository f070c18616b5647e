import { test } from "uvu";
import * as assert from "uvu/assert";
import { pad8, sameBits, TestCore, uniform } from "../kit/core.ts";

const SIZES = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65];

test("panels hold every number once and zeros where the matrix ends", () => {
  const core = new TestCore();
  for (const rows of SIZES)
    for (const columns of SIZES)
      for (const transposed of [false, true]) {
        const x = uniform(rows * columns, rows * 100 + columns);
        const source = core.put(x);
        const paddedRows = rows + (rows % 3);
        const panelStride = paddedRows * 8 + 8;
        const count = (pad8(columns) / 8) * panelStride;
        const packed = core.alloc(count);
        core.f32(packed, count).fill(99);
        const [rowStride, columnStride] = transposed ? [1, rows] : [columns, 1];
        core.k.packPanels(packed, source, rows, columns, rowStride, columnStride, paddedRows, panelStride);
        const view = core.f32(packed, count);
        for (let j = 0; j < pad8(columns); j += 8)
          for (let i = 0; i < paddedRows; i++)
            for (let lane = 0; lane < 8; lane++) {
              const inside = i < rows && j + lane < columns;
              const expected = inside ? x[i * rowStride + (j + lane) * columnStride] : 0;
              const got = view[(j / 8) * panelStride + i * 8 + lane];
              if (!Object.is(got, expected))
                assert.unreachable(
                  `${rows} x ${columns}: panel ${j / 8}, row ${i}, lane ${lane}: ${got}, not ${expected}`,
                );
            }
        // What lies between the panels belongs to somebody else.
        for (let j = 0; j < pad8(columns); j += 8)
          assert.is(view[(j / 8) * panelStride + paddedRows * 8], 99, "written past the padded rows");
      }
  core.checkCanaries();
});

test("a packed row ends in zeros; no row is all zeros", () => {
  const core = new TestCore();
  for (const n of SIZES) {
    const packed = core.alloc(pad8(n));
    core.f32(packed, pad8(n)).fill(99);
    const x = uniform(n, n);
    core.k.packRow(packed, core.put(x), n);
    sameBits(
      core.f32(packed, pad8(n)),
      Float32Array.from({ length: pad8(n) }, (_, i) => (i < n ? x[i] : 0)),
      `row ${n}`,
    );
    core.k.packRow(packed, 0, n);
    sameBits(core.f32(packed, pad8(n)), new Float32Array(pad8(n)), `no row ${n}`);
  }
  core.checkCanaries();
});

test("rows are added between strides, and nothing but them", () => {
  const core = new TestCore();
  for (const n of SIZES)
    for (const rows of [0, 1, 3]) {
      const [yStride, xStride] = [n + 1, pad8(n)];
      const x = uniform(rows * n, 1);
      const y = uniform(rows * yStride, 2);
      const target = core.put(y);
      core.k.addRows(target, core.putRows(x, rows, n, xStride, Number.NaN), rows, n, yStride, xStride);
      const expected = y.slice();
      for (let r = 0; r < rows; r++) for (let j = 0; j < n; j++) expected[r * yStride + j] += x[r * n + j];
      sameBits(core.f32(target, rows * yStride), expected, `${rows} rows of ${n}`);
    }
  core.checkCanaries();
});

test.run();
