/** One tensor's place. */
export interface Place {
  readonly label: string;
  readonly address: number;
  readonly bytes: number;
}

/**
 * A contiguous stretch of memory handed out piece by piece. Pieces may be
 * given back and are used again; `high` is the most that was ever in use.
 *
 * A region does not hold memory: it is laid out twice with the same requests,
 * first at address 0 to learn its size, then where the arena has put it.
 */
export class Region {
  /** Bytes from the base to the highest piece so far. */
  high = 0;
  readonly places: Place[] = [];
  private holes: { offset: number; bytes: number }[] = [];

  constructor(
    readonly name: string,
    readonly base = 0,
  ) {}

  /** Address of `count` f32 or i32 elements, on 16 bytes, padded to a whole vector. */
  take(label: string, count: number): number {
    // Not `& ~15`, which wraps at 2 GiB: what does not fit must come out too large, not small.
    const bytes = Math.max(16, Math.ceil(count / 4) * 16);
    const i = this.holes.findIndex((hole) => hole.bytes >= bytes);
    let offset: number;
    if (i >= 0) {
      offset = this.holes[i].offset;
      if (this.holes[i].bytes === bytes) this.holes.splice(i, 1);
      else this.holes[i] = { offset: offset + bytes, bytes: this.holes[i].bytes - bytes };
    } else {
      offset = this.high;
      this.high += bytes;
    }
    const place = { label, address: this.base + offset, bytes };
    this.places.push(place);
    return place.address;
  }

  /** Gives back the piece last taken at `address`. */
  give(address: number): void {
    const place = this.places.findLast((p) => p.address === address);
    if (!place) throw new Error(`${this.name}: nothing was taken at ${address}`);
    this.holes.push({ offset: address - this.base, bytes: place.bytes });
    this.holes.sort((a, b) => a.offset - b.offset);
    for (let i = this.holes.length - 2; i >= 0; i--)
      if (this.holes[i].offset + this.holes[i].bytes === this.holes[i + 1].offset) {
        this.holes[i].bytes += this.holes[i + 1].bytes;
        this.holes.splice(i + 1, 1);
      }
  }
}

/** The names of all regions, in the order in which they are described. */
export type RegionName = "io" | "params" | "grads" | "state" | "packed" | "saved" | "scratch";

/** Where the memory of a model goes, as text: one line a region, then one a tensor. */
export function describe(regions: readonly Region[]): string {
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
  const lines: string[] = [];
  for (const region of regions) {
    if (!region.places.length) continue;
    lines.push(`${region.name.padEnd(8)} ${String(region.base).padStart(10)}  ${kib(region.high).padStart(12)}`);
    const seen = new Set<string>();
    for (const { label, address, bytes } of region.places) {
      const line = `  ${String(address).padStart(16)}  ${kib(bytes).padStart(12)}  ${label}`;
      if (!seen.has(line)) lines.push(line);
      seen.add(line);
    }
  }
  const total = regions.reduce((sum, region) => sum + region.high, 0);
  return [...lines, `${"total".padEnd(8)} ${"".padStart(10)}  ${kib(total).padStart(12)}`].join("\n");
}
