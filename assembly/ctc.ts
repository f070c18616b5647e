import { bytes, clearFrom, lastLanes, lastVector, pad8, sumLanes } from "./simd";
import { counts } from "./mask";
import { expExponent, expMantissa, expNonPositive, expWhole, log } from "./math";
import { rowMax } from "./softmax";
import { baseOf, mantissaOf, NEVER, put, term } from "./wide";

/**
 * Connectionist temporal classification: minus the log-probability that a
 * sequence of steps spells a sequence of labels, summed over all alignments.
 *
 *   states     blank 0, label 0, blank 1, label 1, ..., label len − 1, blank len
 *   y_t(s)     probability of the state's class at step t
 *   α_t(s)     all ways to be in s after step t, y_t(s) included
 *     α_t(blank j) = y (α(blank j) + α(label j − 1))                  α: of step t − 1
 *     α_t(label j) = y (α(label j) + α(blank j) + [l_j ≠ l_(j−1)] α(label j − 1))
 *   β_t(s)     all ways from s after step t to the end
 *   P          = α_T(blank len) + α_T(label len − 1),  loss = −ln P
 *   γ_t(s)     = α_t(s) β_t(s) / P, how much of P goes through s at step t
 *
 * Before the first step only blank 0 is possible, with probability 1, so that
 * the first step is like all others, and no steps at all are right too.
 *
 * Probabilities are numbers with an exponent of their own (wide.ts). After T
 * steps the relative error is some √T roundings, whatever the loss.
 * Logits enter as e^(x − max); the sums Σ e^(x − max) are divided out once, as
 * logarithms in double.
 *
 * Source: Graves et al. 2006, "Connectionist Temporal Classification".
 */

/** A P below this is 0. A loss of 1.8e8 is the largest. */
const IMPOSSIBLE: i32 = -(1 << 28);

/** Log-probabilities below are this, but for −Infinity: expWhole takes no less. */
const LOWEST_LOG: f32 = -2097152;
/** Probabilities are clipped to [1e-7, 1], as Keras. */
const LOWEST: f32 = 1e-7;

/** Labels and blanks of a row of states, in elements: a lane more than labels, whole vectors. */
// @ts-ignore: decorator
@inline function widthOf(labels: i32): i32 {
  return (labels + 4) & ~3;
}

/**
 * Elements of scratch of ctc, for one thread. A double, as it may be beyond any memory.
 *
 * @param L        labels of the longest target
 * @param gradient 1: every step's α is kept; 0: two steps'
 */
export function ctcScratch(T: i32, n: i32, L: i32, gradient: i32): f64 {
  const section = <f64>widthOf(L) + 4, steps = gradient ? <f64>T + 1 : 2;
  return 7 * section + <f64>pad8(n) + <f64>((T + 3) & ~3) + 6 * section * steps;
}

/** What a class contributes: of its log-probability x, or of the probability itself. */
// @ts-ignore: decorator
@inline function classMantissa(logits: i32, x: v128): v128 {
  if (!logits) return mantissaOf(clip(x));
  const d = f32x4.pmax(x, f32x4.splat(LOWEST_LOG));
  return expMantissa(d, expWhole(d));
}

// @ts-ignore: decorator
@inline function classExponent(logits: i32, x: v128): v128 {
  if (!logits) return baseOf(i32x4.shr_u(clip(x), 23));
  const e = expExponent(expWhole(f32x4.pmax(x, f32x4.splat(LOWEST_LOG))));
  return v128.bitselect(i32x4.splat(NEVER), e, f32x4.eq(x, f32x4.splat(<f32>-Infinity)));
}

// @ts-ignore: decorator
@inline function clip(p: v128): v128 {
  return f32x4.pmin(f32x4.pmax(p, f32x4.splat(LOWEST)), f32x4.splat(1));
}

/**
 * One row of states, six sections of `section` bytes:
 *
 *   0 mantissas of blanks   1 of labels   2 exponents of blanks   3 of labels
 *   4 mantissas of the labels' y          5 their exponents
 *
 * The last vector of each section is a guard: lane −1 of the labels and what
 * lies behind the last blank and label read as zero.
 */
// @ts-ignore: decorator
@inline function guard(row: usize, section: usize): void {
  const zero = f32x4.splat(0), never = i32x4.splat(NEVER);
  for (let i: usize = 1; i <= 2; i++) {
    v128.store(row + i * section - 16, zero);
    v128.store(row + (i + 2) * section - 16, never);
  }
}

/** A row that is certain to be in blank `j`. */
function certain(row: usize, section: usize, j: i32): void {
  const zero = f32x4.splat(0), never = i32x4.splat(NEVER);
  for (let i: usize = 0; i < 2 * section; i += 16) {
    v128.store(row + i, zero);
    v128.store(row + 2 * section + i, never);
  }
  store<f32>(row + bytes(j), 1);
  store<i32>(row + 2 * section + bytes(j), 0);
}

/** y of the labels at one step, into sections 4 and 5; lanes behind the last label can never be. */
// @ts-ignore: decorator
@inline function emit(row: usize, section: usize, x: usize, max: v128, offsets: usize, labels: i32, logits: i32): void {
  const never = i32x4.splat(NEVER);
  for (let j: usize = 0; j < section - 16; j += 16) {
    const at = offsets + j;
    let v = v128.load32_splat(x + load<i32>(at));
    v = v128.load32_lane(x + load<i32>(at, 4), v, 1);
    v = v128.load32_lane(x + load<i32>(at, 8), v, 2);
    v = v128.load32_lane(x + load<i32>(at, 12), v, 3);
    v = f32x4.sub(v, max);
    const inside = i32x4.gt_s(i32x4.splat(labels - <i32>(j >> 2)), i32x4(0, 1, 2, 3));
    v128.store(row + 4 * section + j, classMantissa(logits, v));
    v128.store(row + 5 * section + j, v128.bitselect(classExponent(logits, v), never, inside));
  }
}

/** α of one step from the one before. */
// @ts-ignore: decorator
@inline function advance(row: usize, before: usize, section: usize, skip: usize, yM: v128, yE: v128): void {
  const never = i32x4.splat(NEVER);
  for (let j: usize = 0; j < section - 16; j += 16) {
    const m = before + j, e = m + 2 * section, to = row + j;
    const blankM = v128.load(m), labelM = v128.load(m + section), lastM = v128.load(m + section - 4);
    const blankE = v128.load(e), labelE = v128.load(e + section), lastE = v128.load(e + section - 4);

    let base = baseOf(i32x4.max_s(blankE, lastE));
    put(to, to + 2 * section, f32x4.add(term(blankM, blankE, base), term(lastM, lastE, base)), base, yM, yE);

    const otherE = v128.bitselect(lastE, never, v128.load(skip + j));
    base = baseOf(i32x4.max_s(i32x4.max_s(blankE, labelE), otherE));
    const sum = f32x4.add(f32x4.add(term(blankM, blankE, base), term(labelM, labelE, base)), term(lastM, otherE, base));
    put(to + section, to + 3 * section, sum, base, v128.load(to + 4 * section), v128.load(to + 5 * section));
  }
}

/**
 * β of one step, γ from it, and β y in its place: what the step before adds up.
 *
 * @param ways   β y of the step after, four sections
 * @param gammas f32, receives the labels' γ
 * @returns the blanks' γ, lane by lane
 */
// @ts-ignore: decorator
@inline function retreat(
  ways: usize, gammas: usize, row: usize, section: usize, skip: usize, yM: v128, yE: v128, perP: v128, ofP: v128,
): v128 {
  const never = i32x4.splat(NEVER);
  let blanks = f32x4.splat(0);
  for (let j: usize = 0; j < section - 16; j += 16) {
    const m = ways + j, e = m + 2 * section, from = row + j;
    const blankM = v128.load(m), labelM = v128.load(m + section);
    const blankE = v128.load(e), labelE = v128.load(e + section);
    const nextM = v128.load(m + 4), nextE = v128.load(e + 4), otherM = v128.load(m + section + 4);
    const otherE = v128.bitselect(v128.load(e + section + 4), never, v128.load(skip + j + 4));

    let base = baseOf(i32x4.max_s(blankE, labelE));
    let sum = f32x4.add(term(blankM, blankE, base), term(labelM, labelE, base));
    blanks = f32x4.add(blanks, gamma(from, section, sum, base, perP, ofP));
    put(m, e, sum, base, yM, yE);

    base = baseOf(i32x4.max_s(i32x4.max_s(labelE, nextE), otherE));
    sum = f32x4.add(f32x4.add(term(labelM, labelE, base), term(nextM, nextE, base)), term(otherM, otherE, base));
    v128.store(gammas + j, gamma(from + section, section, sum, base, perP, ofP));
    put(m + section, e + section, sum, base, v128.load(from + 4 * section), v128.load(from + 5 * section));
  }
  return blanks;
}

/** α β / P of four states, α being at `alpha` and 2 sections behind. */
// @ts-ignore: decorator
@inline function gamma(alpha: usize, section: usize, sum: v128, base: v128, perP: v128, ofP: v128): v128 {
  const m = f32x4.mul(f32x4.mul(v128.load(alpha), sum), perP);
  const e = i32x4.add(i32x4.add(v128.load(alpha + 2 * section), base), ofP);
  return f32x4.mul(m, i32x4.shl(i32x4.max_s(e, i32x4.splat(0)), 23));
}

/**
 * The loss of every sequence and the gradient with respect to x.
 *
 *   loss  = −weight ln P, Infinity where no alignment has a probability
 *   dx    = factor (softmax(x) − Σ γ of the class's states)       logits
 *         = −factor Σ γ / p, 0 where p was clipped                probabilities
 *   factor = weight, for the mean divided by B and by max(1, labels)
 *
 * Where the loss is Infinity the gradient is 0. Equal to PyTorch's ctc_loss of
 * log_softmax; masked steps may also lie in between and are left out.
 *
 * @param losses  f32[B]
 * @param dx      f32[T, B, n], padding 0; 0: not wanted. Must not be x
 * @param x       f32[T, B, n], logits or log-probabilities; probabilities are clipped to [1e-7, 1]
 * @param targets i32[B, width], the number of labels, then the labels, each in [0, n) and not blank
 * @param valid   i32[T, B], 0 where a step does not count, whatever it holds; 0: all count
 * @param weights f32[B], or 0: all 1; a sequence of weight 0 has loss 0
 * @param scratch f32[threads, ctcScratch(T, n, width − 1, dx != 0)]
 * @param logits, zeroInfinity, mean  0 or 1; zeroInfinity makes losses of Infinity 0
 * @param from, to sequences to compute, by one thread
 */
export function ctc(
  losses: usize, dx: usize, x: usize, targets: usize, valid: usize, weights: usize, scratch: usize,
  T: i32, B: i32, n: i32, stride: i32, width: i32, blank: i32, logits: i32, zeroInfinity: i32, mean: i32,
  from: i32, to: i32, thread: i32,
): void {
  scratch += (<usize>ctcScratch(T, n, width - 1, <i32>(dx != 0)) << 2) * <usize>thread;
  const row = bytes(stride), step = row * <usize>B;
  const last = lastVector(n), lanes = lastLanes(n);
  for (let b = from; b < to; b++) {
    const own = targets + <usize>b * bytes(width), labels = own + 4;
    const length = load<i32>(own), weight = weights ? load<f32>(weights + bytes(b)) : 1;
    const section = bytes(widthOf(length) + 4);
    const offsets = scratch, skip = offsets + section, gammas = skip + section, ways = gammas + section;
    const sums = ways + 4 * section, perZ = sums + bytes(pad8(n)), rows = perZ + bytes((T + 3) & ~3);
    const xs = x + <usize>b * row, dxs = dx + <usize>b * row;

    // Byte offsets of the labels' classes, and where a label may follow another without a blank.
    memory.fill(offsets, 0, 2 * section);
    for (let j = 0; j < length; j++) {
      const label = load<i32>(labels + bytes(j));
      store<i32>(offsets + bytes(j), label << 2);
      if (j > 0 && label != load<i32>(labels + bytes(j - 1))) store<i32>(skip + bytes(j), -1);
    }

    // α, and the logarithms of the sums that logits are divided by.
    let logZ: f64 = 0, k = 0, alpha = rows;
    certain(alpha, section, 0);
    for (let t = 0; t < T; t++) {
      const x_t = xs + <usize>t * step, dx_t = dxs + <usize>t * step;
      if (!counts(valid, t * B + b)) {
        if (dx) clearFrom(dx_t, 0, stride);
        continue;
      }
      let max = f32x4.splat(0), sum = f32x4.splat(0);
      if (logits) max = rowMax(x_t, last, lanes);
      for (let j: usize = 0; j <= last; j += 16) {
        let e = f32x4.sub(v128.load(x_t + j), max);
        if (logits) e = expNonPositive(e);
        if (j == last) e = v128.and(e, lanes);
        if (dx) v128.store(dx_t + j, e);
        sum = f32x4.add(sum, e);
      }
      const z = sumLanes(sum);
      // z − z: NaN in any class is NaN in the loss.
      logZ += logits ? <f64>f32x4.extract_lane(log(f32x4.splat(z)), 0) : <f64>(z - z);
      if (dx) store<f32>(perZ + bytes(k), 1 / z);

      const before = alpha;
      alpha = rows + <usize>(dx ? k + 1 : (k + 1) & 1) * 6 * section;
      k++;
      guard(alpha, section);
      emit(alpha, section, x_t, max, offsets, length, logits);
      const y = f32x4.sub(v128.load32_splat(x_t + bytes(blank)), max);
      advance(alpha, before, section, skip, classMantissa(logits, y), classExponent(logits, y));
    }

    // P in all lanes. Label −1 of an empty sequence is a guard.
    const end = alpha + bytes(length), endE = end + 2 * section;
    const blankE = v128.load32_splat(endE), labelE = v128.load32_splat(endE + section - 4);
    const base = baseOf(i32x4.max_s(blankE, labelE));
    const P = f32x4.add(
      term(v128.load32_splat(end), blankE, base), term(v128.load32_splat(end + section - 4), labelE, base),
    );
    const eP = i32x4.extract_lane(base, 0) + 127, possible = eP > IMPOSSIBLE;
    const logP = <f64>f32x4.extract_lane(log(P), 0) + <f64>eP * 0.6931471805599453;
    let loss = possible ? <f32>(logZ - logP) : <f32>(logZ + Infinity);
    if (zeroInfinity && loss == Infinity) loss = 0;
    store<f32>(losses + bytes(b), weight == 0 ? 0 : weight * loss);
    if (!dx) continue;
    if (!possible || weight == 0) {
      for (let t = 0; t < T; t++) clearFrom(dxs + <usize>t * step, 0, stride);
      continue;
    }

    const factor = mean ? weight / (<f32>max(1, length) * <f32>B) : weight;
    const perP = f32x4.div(f32x4.splat(1), P), ofP = i32x4.splat(254 - eP);
    certain(ways, section, length);
    memory.fill(sums, 0, bytes(pad8(n)));
    for (let t = T - 1; t >= 0; t--) {
      if (!counts(valid, t * B + b)) continue;
      const x_t = xs + <usize>t * step, dx_t = dxs + <usize>t * step;
      k--;
      const max = logits ? rowMax(x_t, last, lanes) : f32x4.splat(0);
      const y = f32x4.sub(v128.load32_splat(x_t + bytes(blank)), max);
      const blanks = retreat(
        ways, gammas, rows + <usize>(k + 1) * 6 * section, section, skip,
        classMantissa(logits, y), classExponent(logits, y), perP, ofP,
      );
      // γ adds up to 1 at every step, but for rounding, which is taken out again.
      let total = blanks;
      for (let j: usize = 0; j < section - 16; j += 16) total = f32x4.add(total, v128.load(gammas + j));
      store<f32>(sums + bytes(blank), sumLanes(blanks));
      for (let j: usize = 0, end = bytes(length); j < end; j += 4) {
        const at = sums + load<i32>(offsets + j);
        store<f32>(at, load<f32>(at) + load<f32>(gammas + j));
      }

      const p = f32x4.splat(factor * load<f32>(perZ + bytes(k))), g = f32x4.splat(factor / sumLanes(total));
      for (let j: usize = 0; j <= last; j += 16) {
        const e = v128.load(dx_t + j), own = f32x4.mul(v128.load(sums + j), g);
        let d: v128;
        if (logits) d = f32x4.sub(f32x4.mul(e, p), own);
        else d = v128.and(f32x4.neg(f32x4.div(own, e)), f32x4.eq(e, clip(e)));
        v128.store(dx_t + j, v128.and(d, j == last ? lanes : i32x4.splat(-1)));
        v128.store(sums + j, f32x4.splat(0));
      }
      clearFrom(dx_t, last + 16, stride);
    }
  }
}

/**
 * The loss of a batch from those of its sequences.
 *
 * @param out     f64[2]: for the mean Σ losses / max(1, labels) and B, else Σ losses and 1
 * @param losses  f32[B], weighted
 * @param targets i32[B, width], the number of labels first
 */
export function ctcTotal(out: usize, losses: usize, targets: usize, B: i32, width: i32, mean: i32): void {
  let total: f64 = 0;
  for (let b = 0; b < B; b++) {
    const loss = <f64>load<f32>(losses + bytes(b));
    total += mean ? loss / <f64>max(1, load<i32>(targets + <usize>b * bytes(width))) : loss;
  }
  store<f64>(out, total);
  store<f64>(out, mean ? B : 1, 8);
}
