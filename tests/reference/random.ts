const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

/** Threefry-2x32, 20 rounds: the two words of a block. */
export function threefry(counter: [number, number], key: [number, number]): [number, number] {
  const k = [key[0] | 0, key[1] | 0, key[0] ^ key[1] ^ 0x1bd11bda];
  let x = (counter[0] + k[0]) | 0;
  let y = (counter[1] + k[1]) | 0;
  for (let round = 0; round < 20; round++) {
    const by = ROTATIONS[round % 8];
    x = (x + y) | 0;
    y = ((y << by) | (y >>> (32 - by))) ^ x;
    if (round % 4 === 3) {
      const s = (round + 1) / 4;
      x = (x + k[s % 3]) | 0;
      y = (y + k[(s + 1) % 3] + s) | 0;
    }
  }
  return [x >>> 0, y >>> 0];
}

/** The random word of element (row, column) of a tensor. */
export function randomWord(row: number, column: number, key: [number, number]): number {
  return threefry([4 * Math.floor(column / 8) + (column % 4), row], key)[Math.floor(column / 4) % 2];
}
