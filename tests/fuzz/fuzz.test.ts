import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuzz } from "./fuzz.ts";
import { READERS } from "./readers.ts";

/** A taste of `npm run fuzz`. */
for (const { name } of READERS)
  test(`${name}: damaged files are refused or load, and nothing else happens`, async () => {
    const { failures, refused, loaded, runs } = await fuzz(name, 1, 300);
    assert.equal(failures, []);
    assert.is(refused + loaded, runs);
  });

test.run();
