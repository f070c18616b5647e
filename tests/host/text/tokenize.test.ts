import { test } from "uvu";
import * as assert from "uvu/assert";
import { tokenize13a } from "../../../host/index.ts";

test("13a by its rules: punctuation apart, points and commas between digits kept, entities and hyphenation undone", () => {
  for (const [text, tokens] of [
    ["It's 3.5%, she said.", "It's 3.5 % , she said ."],
    ["1,000.50 is $5.00-ish; e.g. 3-4 (or [5])", "1,000.50 is $ 5.00 - ish ; e . g . 3 - 4 ( or [ 5 ] )"],
    ["a&quot;b&amp;c &lt;x&gt; <skipped>y", 'a " b & c < x > y'],
    ["well-known end-\nof line\nnext", "well-known endof line next"],
    ["at 5.", "at 5 ."],
    [".5 5, a,5", ". 5 5 , a , 5"],
    ["a/b_c~d`e^f*g'h", "a / b _ c ~ d ` e ^ f * g'h"],
    ["«très» 12,5 €", "«très» 12,5 €"],
    ["  two\t words ", "two words"],
    ["", ""],
  ] as const)
    assert.is(tokenize13a(text).join(" "), tokens, text);
});

test.run();
