import { activate, activateBackward } from "./activations";
import { addTo } from "./elementwise";
import { gemm, gemmTransposedScratch } from "./gemm";
import { normaliseInput, normaliseState, normBackward, normStride, packGamma, packedGammaSize } from "./gru-layer-norm";
import { INT8, int8Pack, int8PanelBytes, product } from "./int8";
import { tanh } from "./math";
import { counts } from "./mask";
import { workOf } from "./memory";
import { addRows, packPanels, packRow } from "./pack";
import {
  ACCUMULATE, blend, chunkSteps, emit, FORM, gateGradients, IN_PLACE, LAST, productOverSteps, receive, REPEAT,
  REVERSE, sigmoids, slot,
} from "./recurrent";
import { addProduct, multiply, zoneout, zoneoutBackward } from "./recurrent-dropout";
import { at, bytes, madd, pad8 } from "./simd";

/**
 * The GRU over whole sequences, forward and backward, in both forms.
 *
 *   reset after (default)              reset before
 *   z = σ(x·Kz + bz + h·Rz + cz)       z = σ(x·Kz + bz + h·Rz)            update
 *   r = σ(x·Kr + br + h·Rr + cr)       r = σ(x·Kr + br + h·Rr)            reset
 *   q = h·Rn + cn                      q = r ⊙ h
 *   n = tanh(x·Kn + bn + r ⊙ q)        n = tanh(x·Kn + bn + q·Rn)         candidate
 *   h ← z ⊙ h + (1 − z) ⊙ n            h ← z ⊙ h + (1 − z) ⊙ n
 *
 * Sources: reset before, Cho et al. 2014, arXiv:1406.1078v3, eq. 5 to 8;
 * reset after, arXiv:1406.1078v1, as in cuDNN, PyTorch, Keras (reset_after)
 * and ONNX (linear_before_reset).
 *
 * Legend: T time, B batch, I input, H units; Hp, Ip rounded up to 8 columns.
 * Strides in elements. Time is the outer axis of every buffer.
 *
 *   gates    f32[S, B, G]   one row [q | z | r | n], G = 4 Hp. First the sums,
 *                           then the gates, and after backward their gradients
 *                           with respect to the sums. In this order the input
 *                           product fills z, r, n and the recurrent product
 *                           q, z, r (of [n | z | r]): one product each.
 *                           Other activations than σ and tanh keep their sums
 *                           too: [q | z | r | n | sums of z, r, n], G = 7 Hp.
 *                           Layer normalisation keeps its own behind them
 *                           (gru-layer-norm.ts).
 *   h        f32[T+1, B, Hp] or one step used in place. Forward, step t reads
 *                           slot t and writes slot t + 1; backward in time it
 *                           reads slot t + 1 and writes slot t.
 *   packed   bias [q | z | r | n] f32[4 Hp], K panels [I, z r n], R panels [H, n z r],
 *            with LAYER_NORM γ f32[6 Hp]
 *   dropped  f32[T+2, B, Hp]  the mask m_h of recurrent dropout, then h ⊙ m_h in
 *                           the slots that h has: what the products read in its place
 *   zone     f32[T, B, Hp] (ZONES) or f32[Hp]   k of zoneout (recurrent-dropout.ts)
 */

/** n = tanh(x·Kn + (r ⊙ h)·Rn) instead of tanh(x·Kn + r ⊙ (h·Rn)). */
const RESET_BEFORE: i32 = FORM;
/** Both products are normalised (gru-layer-norm.ts). */
const LAYER_NORM: i32 = 256;
/** `zone` has a row a step and row of the batch, rather than one for all. */
const ZONES: i32 = 512;

/** Elements of one row of gates. */
export function gruGatesStride(H: i32, customActivations: i32, flags: i32): i32 {
  return ownStride(H, customActivations) + (flags & LAYER_NORM ? normStride(H) : 0);
}

/** Of those, the gates' own. */
// @ts-ignore: decorator
@inline function ownStride(H: i32, customActivations: i32): i32 { return (customActivations ? 7 : 4) * pad8(H); }

/** Steps that a gates buffer holds when nothing is kept for a backward pass. */
export function gruChunk(B: i32): i32 {
  return chunkSteps(B);
}

// ---------------------------------------------------------------- weights

/** Elements of the packed weights of gruForward. */
export function gruPackedSize(I: i32, H: i32, flags: i32): i32 {
  return pad8(H) * (4 + 3 * I + 3 * H) + (flags & LAYER_NORM ? packedGammaSize(H) : 0);
}

/**
 * @param kernel    f32[I, 3H], columns [z | r | n]
 * @param recurrent f32[H, 3H], columns [z | r | n]
 * @param bias      f32[2, 3H] (reset after), f32[3H] (reset before), or 0
 * @param gamma     f32[2, 3H] with LAYER_NORM
 */
export function gruPack(
  packed: usize, kernel: usize, recurrent: usize, bias: usize, gamma: usize, I: i32, H: i32, flags: i32,
): void {
  const Hp = pad8(H), gate = bytes(H), column = bytes(Hp);
  packBias(packed, bias, H, flags);
  const kernelPanels = packed + 4 * column, recurrentPanels = kernelPanels + 3 * column * <usize>I;
  for (let g = 0; g < 3; g++) {
    packPanels(kernelPanels + <usize>(g * I) * column, kernel + <usize>g * gate, I, H, 3 * H, 1, I, I << 3);
    packPanels(recurrentPanels + <usize>(nzr(g) * H) * column, recurrent + <usize>g * gate, H, H, 3 * H, 1, H, H << 3);
  }
  if (flags & LAYER_NORM) packGamma(recurrentPanels + 3 * column * <usize>H, gamma, H);
}

/** Place of gate g of [z | r | n] among the recurrent panels [n | z | r]. */
// @ts-ignore: decorator
@inline function nzr(g: i32): i32 { return g == 2 ? 0 : g + 1; }

/** Both biases as they meet in a row of sums: [q | z | r | n]. */
function packBias(packed: usize, bias: usize, H: i32, flags: i32): void {
  const Hp = pad8(H), gate = bytes(H), column = bytes(Hp);
  packRow(packed, 0, 4 * Hp);
  if (!bias) return;
  for (let g = 1; g < 4; g++) addRows(packed + <usize>g * column, bias + <usize>(g - 1) * gate, 1, H, 0, 0);
  if (flags & RESET_BEFORE) return;
  for (let g = 0; g < 3; g++) addRows(packed + <usize>nzr(g) * column, bias + <usize>(3 + g) * gate, 1, H, 0, 0);
}

/** Elements of the packed weights of gruForwardInt8. */
export function gruPackedSizeInt8(I: i32, H: i32, flags: i32): i32 {
  const Hp = pad8(H), panels = <usize>(3 * Hp >> 3) * (int8PanelBytes(I) + int8PanelBytes(H));
  return 4 * Hp + <i32>(panels >> 2) + (flags & LAYER_NORM ? packedGammaSize(H) : 0);
}

/**
 * @param kernel    i8[I, 3H], columns [z | r | n], with its scales f32[3H]
 * @param recurrent i8[H, 3H], columns [z | r | n], with its scales f32[3H]
 * @param bias, gamma f32, as in gruPack
 */
export function gruPackInt8(
  packed: usize, kernel: usize, kernelScales: usize, recurrent: usize, recurrentScales: usize, bias: usize, gamma: usize,
  I: i32, H: i32, flags: i32,
): void {
  const Hp = pad8(H), panels = Hp >> 3, before = flags & RESET_BEFORE;
  const K = packed + bytes(4 * Hp), R = K + <usize>(3 * panels) * int8PanelBytes(I), Rzr = R + <usize>panels * int8PanelBytes(H);
  packBias(packed, bias, H, flags);
  for (let g = 0, column = 0; g < 3; g++, column += H) {
    int8Pack(K, kernel + column, kernelScales + bytes(column), I, H, 3 * H, g * panels, 3 * panels);
    // One matrix, or two where the candidate has a product of its own.
    const own = recurrent + column, scales = recurrentScales + bytes(column);
    if (!before) int8Pack(R, own, scales, H, H, 3 * H, nzr(g) * panels, 3 * panels);
    else if (g == 2) int8Pack(R, own, scales, H, H, 3 * H, 0, panels);
    else int8Pack(Rzr, own, scales, H, H, 3 * H, g * panels, 2 * panels);
  }
  if (flags & LAYER_NORM) packGamma(R + <usize>(3 * panels) * int8PanelBytes(H), gamma, H);
}

/** Elements of the packed weights of gruBackward: Kᵀ [z r n, Ip], then Rᵀ. */
export function gruPackedTransposedSize(I: i32, H: i32): i32 {
  return 3 * pad8(H) * (pad8(I) + pad8(H));
}

/**
 * Kᵀ as one product over [z | r | n]; Rᵀ as one over [n | z | r] (reset
 * after), or as Rnᵀ and a product over [z | r] (reset before). Rows of every
 * gate are padded to Hp, as the gates are.
 */
export function gruPackTransposed(packed: usize, kernel: usize, recurrent: usize, I: i32, H: i32, flags: i32): void {
  const Hp = pad8(H), gate = bytes(H), part = bytes(Hp << 3);
  for (let g = 0; g < 3; g++) packPanels(packed + <usize>g * part, kernel + <usize>g * gate, H, I, 1, 3 * H, Hp, 24 * Hp);
  packed += bytes(3 * Hp * pad8(I));
  if (flags & RESET_BEFORE) {
    packPanels(packed, recurrent + 2 * gate, H, H, 1, 3 * H, Hp, Hp << 3);
    packed += bytes(Hp * Hp);
    for (let g = 0; g < 2; g++) packPanels(packed + <usize>g * part, recurrent + <usize>g * gate, H, H, 1, 3 * H, Hp, 16 * Hp);
  } else
    for (let g = 0; g < 3; g++) packPanels(packed + <usize>(g == 2 ? 0 : g + 1) * part, recurrent + <usize>g * gate, H, H, 1, 3 * H, Hp, 24 * Hp);
}

// ---------------------------------------------------------------- forward

/**
 * A whole sequence: h and gates of every step, and y where it differs from h.
 *
 * @param h       f32[T+1, B, Hp] or f32[1, B, Hp] (IN_PLACE); the initial state stands in its slot
 * @param gates   f32[gateSteps, B, G]; gateSteps = T keeps them for gruBackward
 * @param y       f32[T, B, Hp] or f32[B, Hp] (LAST), or 0: the states are the output
 * @param x       f32[T, B, Ip]
 * @param packed  from gruPack
 * @param mask    i32[T, B], 0 where a step is masked: the state stays; or 0 for none
 * @param activations f32[2, 3] rows (kind, alpha, beta) of the gates and of the
 *                candidate, or 0: sigmoid and tanh
 * @param dropped, zone as above, or 0
 * @param from, to rows of the batch to run, by one thread: rows do not touch each other
 */
export function gruForward(
  h: usize, gates: usize, y: usize, x: usize, packed: usize, mask: usize, activations: usize, dropped: usize, zone: usize,
  T: i32, B: i32, I: i32, H: i32, gateSteps: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  forward(h, gates, y, x, packed, mask, activations, dropped, zone, T, B, I, H, gateSteps, flags, 0, from, to, thread);
}

/**
 * The same with weights in int8 (int8.ts).
 *
 * @param packed from gruPackInt8
 * @param range  |x| of the largest level, from calibration; 0: the largest of each row. States always go by their own
 */
export function gruForwardInt8(
  h: usize, gates: usize, y: usize, x: usize, packed: usize, mask: usize, activations: usize, dropped: usize, zone: usize,
  T: i32, B: i32, I: i32, H: i32, gateSteps: i32, flags: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  forward(h, gates, y, x, packed, mask, activations, dropped, zone, T, B, I, H, gateSteps, flags | INT8, range, from, to, thread);
}

function forward(
  h: usize, gates: usize, y: usize, x: usize, packed: usize, mask: usize, activations: usize, dropped: usize, zone: usize,
  T: i32, B: i32, I: i32, H: i32, gateSteps: i32, flags: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  const work = workOf(thread);
  const Hp = pad8(H), Ip = pad8(I), G = gruGatesStride(H, activations != 0, flags), rows = to - from;
  const hStep: usize = flags & IN_PLACE ? 0 : bytes(B * Hp), reverse = flags & REVERSE;
  const panels = <usize>(Hp >> 3), kernelPanel = flags & INT8 ? int8PanelBytes(I) : bytes(I << 3);
  const recurrentPanel = flags & INT8 ? int8PanelBytes(H) : bytes(H << 3);
  const K = packed + bytes(4 * Hp), R = K + 3 * panels * kernelPanel, Rzr = R + panels * recurrentPanel;
  const norm: i32 = flags & LAYER_NORM, gamma = R + 3 * panels * recurrentPanel, kept = bytes(ownStride(H, activations != 0));
  // Normalised products stand apart, and get their biases afterwards.
  const inputs: usize = norm ? kept + bytes(3 * Hp) : bytes(Hp), start: usize = norm ? 0 : packed + bytes(Hp);
  const chunk = min(gateSteps, chunkSteps(rows));
  for (let done = 0; done < T; done += chunk) {
    const steps = min(chunk, T - done), first = reverse ? T - done - steps : done;
    const chunkGates = gates + (gateSteps >= T ? bytes(first * B * G) : 0);
    // One product projects the inputs of all the chunk's steps: columns z, r, n.
    productOverSteps(chunkGates + bytes(from * G) + inputs, x + bytes((first * B + from) * Ip), K, start, steps, rows, B,
      3 * Hp, I, G, Ip, 0, flags, range, work);
    for (let s = 0; s < steps; s++) {
      const order = done + s, t = reverse ? T - 1 - order : order;
      const g = chunkGates + bytes(((t - first) * B + from) * G);
      const hIn = h + <usize>(reverse ? t + 1 : t) * hStep + bytes(from * Hp);
      const hOut = h + <usize>(reverse ? t : t + 1) * hStep + bytes(from * Hp);
      const valid = mask ? mask + bytes(t * B + from) : 0;
      let hProduct = hIn;
      if (dropped) {
        hProduct = dropped + hStep + (hIn - h);
        multiply(hProduct, hIn, dropped + bytes(from * Hp), rows * Hp);
      }
      if (flags & RESET_BEFORE) {
        product(g + bytes(Hp), hProduct, Rzr, g + bytes(Hp), rows, 2 * Hp, H, G, Hp, G, flags, 0, work);
        for (let i = 0; i < rows; i++) resetBefore(g + bytes(i * G), hProduct + bytes(i * Hp), Hp, activations);
        product(g + bytes(3 * Hp), g, R, g + bytes(3 * Hp), rows, Hp, H, G, G, G, flags, 0, work);
      } else if (norm) {
        product(g + kept, hProduct, R, 0, rows, 3 * Hp, H, G, Hp, 0, flags, 0, work);
        for (let i = 0; i < rows; i++) {
          normaliseInput(g + bytes(i * G), kept, packed, gamma, H);
          normaliseState(g + bytes(i * G), kept, packed, gamma, H);
        }
      } else {
        copyBias(g, packed, rows, Hp, G);
        product(g, hProduct, R, g, rows, 3 * Hp, H, G, Hp, G, flags, 0, work);
      }
      for (let i = 0; i < rows; i++) {
        const gi = g + bytes(i * G), hi = hIn + bytes(i * Hp), ho = hOut + bytes(i * Hp);
        if (!counts(valid, i)) {
          if (hi != ho) memory.copy(ho, hi, bytes(Hp));
          continue;
        }
        // In place the state before is still needed by zoneout: q, which nobody reads any more, takes the cell's.
        const cell = zone && flags & IN_PLACE ? gi : ho;
        if (flags & RESET_BEFORE) candidateBefore(gi, hi, cell, Hp, activations);
        else gatesAfter(gi, hi, cell, Hp, activations);
        if (zone) zoneout(ho, hi, cell, zoneAt(zone, (t * B + from + i) * Hp, flags), Hp);
      }
      if (y) emit(y, hOut, valid, order, t, B, Hp, flags, from, rows);
    }
  }
}

/** k of one row. */
// @ts-ignore: decorator
@inline function zoneAt(zone: usize, element: i32, flags: i32): usize { return flags & ZONES ? zone + bytes(element) : zone; }

/** The q columns start at the recurrent bias of the candidate. */
function copyBias(g: usize, bias: usize, rows: i32, Hp: i32, G: i32): void {
  for (let i = 0; i < rows; i++) {
    memory.copy(g, bias, bytes(Hp));
    g += bytes(G);
  }
}

/** z, r, n from their sums and q, and the new state: one row, reset after. */
function gatesAfter(g: usize, h: usize, hOut: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp);
  if (activations) {
    gateActivations(g, Hp, activations);
    for (let q = g, r = g + 2 * o, n = g + 3 * o, end = r; q < end - o; q += 16, r += 16, n += 16)
      v128.store(n, madd(v128.load(r), v128.load(q), v128.load(n)));
    candidateActivation(g, Hp, activations);
    blend(hOut, g + o, g + 3 * o, h, Hp);
    return;
  }
  sigmoids(g + o, 2 * Hp);
  for (const end = g + o; g < end; g += 32, h += 32, hOut += 32) {
    const n0 = tanh(madd(at(g + 2 * o, 0), at(g, 0), at(g + 3 * o, 0)));
    const n1 = tanh(madd(at(g + 2 * o, 1), at(g, 1), at(g + 3 * o, 1)));
    v128.store(g + 3 * o, n0);
    v128.store(g + 3 * o, n1, 16);
    v128.store(hOut, madd(at(g + o, 0), f32x4.sub(at(h, 0), n0), n0));
    v128.store(hOut, madd(at(g + o, 1), f32x4.sub(at(h, 1), n1), n1), 16);
  }
}

/** z, r from their sums and q = r ⊙ h: one row, reset before. */
function resetBefore(g: usize, h: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp);
  if (activations) gateActivations(g, Hp, activations);
  else sigmoids(g + o, 2 * Hp);
  for (const end = g + o; g < end; g += 16, h += 16) v128.store(g, f32x4.mul(v128.load(g + 2 * o), v128.load(h)));
}

/** n from its sum, and the new state: one row, reset before. */
function candidateBefore(g: usize, h: usize, hOut: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp);
  if (activations) {
    candidateActivation(g, Hp, activations);
    blend(hOut, g + o, g + 3 * o, h, Hp);
    return;
  }
  for (const end = g + o; g < end; g += 16, h += 16, hOut += 16) {
    const n = tanh(v128.load(g + 3 * o));
    v128.store(g + 3 * o, n);
    v128.store(hOut, madd(v128.load(g + o), f32x4.sub(v128.load(h), n), n));
  }
}

/** Other activations of z and r: the sums are kept, then replaced. */
function gateActivations(g: usize, Hp: i32, activations: usize): void {
  const z = g + bytes(Hp), sums = g + bytes(4 * Hp);
  memory.copy(sums, z, bytes(2 * Hp));
  activate(<i32>load<f32>(activations), z, sums, 2 * Hp, load<f32>(activations, 4), load<f32>(activations, 8));
}

function candidateActivation(g: usize, Hp: i32, activations: usize): void {
  const n = g + bytes(3 * Hp), sum = g + bytes(6 * Hp);
  memory.copy(sum, n, bytes(Hp));
  activate(<i32>load<f32>(activations, 12), n, sum, Hp, load<f32>(activations, 16), load<f32>(activations, 20));
}

// ---------------------------------------------------------------- backward

/**
 * Backward through time: turns the kept gates into the gradients of their
 * sums, and gives the gradients of x and of the initial state.
 *
 *   dn = dh ⊙ (1 − z) ⊙ (1 − n²)       dz = dh ⊙ (h − n) ⊙ z (1 − z)
 *   reset after                        reset before
 *   dr = dn ⊙ q ⊙ r (1 − r)            u  = dn · Rnᵀ, dr = u ⊙ h ⊙ r (1 − r)
 *   dq = dn ⊙ r
 *   dh ← dh ⊙ z                        dh ← dh ⊙ z + u ⊙ r
 *        + [dq dz dr]·[Rn Rz Rr]ᵀ           + [dz dr]·[Rz Rr]ᵀ
 *   dx = [dz dr dn]·Kᵀ                 dx = [dz dr dn]·Kᵀ
 *
 * @param dx     f32[T, B, Ip], overwritten or added to (ACCUMULATE), or 0
 * @param dh     f32[B, Hp], in: gradient of the final state, out: of the initial state
 * @param gates  f32[T, B, G] as gruForward left them, out: [dq | dz | dr | dn]
 *               (reset before: q stays r ⊙ h); zero rows where masked
 * @param dy     gradient of y, or of the states where no y was written
 *               (LAST: of the final state); or 0
 * @param written 1 if gruForward wrote a y of its own
 * @param h      f32[T+1, B, Hp] as gruForward left it
 * @param packed from gruPackTransposed
 * @param gamma  packed γ where gruPack put it, with LAYER_NORM; then [dz dr dn]
 *               and [dq dz dr] of the products stand behind the gates
 * @param dropped, zone as gruForward left them
 * @param scratch f32[gruBackwardScratch], from `sums` on to be kept for gruLayerNormGradients
 */
export function gruBackward(
  dx: usize, dh: usize, gates: usize, dy: usize, h: usize, packed: usize, gamma: usize, mask: usize, activations: usize,
  dropped: usize, zone: usize, scratch: usize,
  written: i32, T: i32, B: i32, I: i32, H: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  const work = workOf(thread);
  const Hp = pad8(H), Ip = pad8(I), G = gruGatesStride(H, activations != 0, flags), rows = to - from;
  const hStep = bytes(B * Hp), reverse = flags & REVERSE, first = bytes(from * Hp);
  const Kt = packed, Rt = Kt + bytes(3 * Hp * Ip), RzrT = Rt + bytes(Hp * Hp);
  const carry = scratch + first, u = carry + hStep, own = u + hStep, past = own + hStep, outs = scratch + 4 * hStep + 3 * first;
  const norm: i32 = flags & LAYER_NORM, kept = bytes(ownStride(H, activations != 0));
  const sums = scratch + bytes(gruBackwardSums(B, H, activations != 0)) + 10 * first;
  // Where the gradients of the two products' results stand.
  const ofR: usize = norm ? kept : 0, ofK: usize = norm ? kept + bytes(3 * Hp) : bytes(Hp);
  dh += first;
  memory.fill(carry, 0, bytes(rows * Hp));
  if (norm) memory.fill(sums, 0, bytes(10 * rows * Hp));
  // Without a y of its own the last output is the final state, masked or not.
  const isState = flags & LAST && !written;
  if (dy && isState) addTo(dh, dy + first, rows * Hp);
  const chunk = chunkSteps(rows);
  let pending = 0;
  for (let order = T - 1; order >= 0; order--) {
    const t = reverse ? T - 1 - order : order;
    const g = gates + bytes((t * B + from) * G);
    const hIn = h + <usize>(reverse ? t + 1 : t) * hStep + first, hProduct = dropped ? dropped + hStep + (hIn - h) : hIn;
    const valid = mask ? mask + bytes(t * B + from) : 0;
    const absent = !dy || isState || (flags & LAST && order < T - 1);
    const dyStep: usize = absent ? 0 : dy + bytes((slot(order, t, flags) * B + from) * Hp);
    if (dyStep || (valid && flags & REPEAT)) receive(dh, carry, dyStep, valid, rows, Hp, flags);
    for (let i = 0; i < rows; i++) {
      const gi = g + bytes(i * G), row = bytes(i * Hp), hi = hIn + row, di = dh + row, out = outs + 3 * row;
      if (!counts(valid, i)) {
        memory.fill(gi, 0, bytes(4 * Hp));
        if (norm) memory.fill(gi + kept, 0, bytes(6 * Hp));
        if (zone) memory.fill(past + row, 0, bytes(Hp));
        continue;
      }
      if (zone) zoneoutBackward(past + row, di, zoneAt(zone, (t * B + from + i) * Hp, flags), Hp);
      if (flags & RESET_BEFORE) candidateBeforeBackward(gi, hi, di, out, Hp, activations);
      else gatesAfterBackward(gi, hi, di, out, Hp, activations);
      if (norm) normBackward(gi, kept, gamma, sums + 10 * row, H);
    }
    // Through the products into the state before, by the way of its mask where it has one.
    const into = dropped ? own : dh;
    if (flags & RESET_BEFORE) {
      if (dropped) memory.fill(own, 0, bytes(rows * Hp));
      gemm(u, g + bytes(3 * Hp), Rt, 0, rows, Hp, Hp, Hp, G, 0, work);
      for (let i = 0; i < rows; i++)
        if (counts(valid, i))
          resetBeforeBackward(g + bytes(i * G), hProduct + bytes(i * Hp), into + bytes(i * Hp), u + bytes(i * Hp), outs + bytes(3 * i * Hp), Hp, activations);
      gemm(into, g + bytes(Hp), RzrT, into, rows, Hp, 2 * Hp, Hp, G, Hp, work);
    } else gemm(into, g + ofR, Rt, dropped ? 0 : dh, rows, Hp, 3 * Hp, Hp, G, Hp, work);
    if (dropped) addProduct(dh, own, dropped + first, rows * Hp);
    if (zone) addTo(dh, past, rows * Hp);
    // The input gradients of a chunk of steps, while its gates are in the cache.
    if (dx && (++pending == chunk || order == 0)) {
      const row = (reverse ? t - pending + 1 : t) * B + from, d = dx + bytes(row * Ip);
      productOverSteps(d, gates + bytes(row * G) + ofK, Kt, flags & ACCUMULATE ? d : 0, pending, rows, B,
        Ip, 3 * Hp, Ip, G, Ip, 0, 0, work);
      pending = 0;
    }
  }
}

/** Elements of scratch of gruBackward. */
export function gruBackwardScratch(B: i32, H: i32, customActivations: i32, flags: i32): i32 {
  return gruBackwardSums(B, H, customActivations) + (flags & LAYER_NORM ? 10 * B * pad8(H) : 0);
}

/** Element of the scratch at which the sums f32[B, 10 Hp] of layer normalisation begin. */
export function gruBackwardSums(B: i32, H: i32, customActivations: i32): i32 {
  return (customActivations ? 7 : 4) * B * pad8(H);
}

/** All gradients of one row, reset after. */
function gatesAfterBackward(g: usize, h: usize, dh: usize, out: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp), one = f32x4.splat(1);
  if (activations) {
    blendBackward(g, h, dh, out, Hp, activations);
    for (let q = g, dr = out + o, end = g + o; q < end; q += 16, dr += 16) {
      const dn = v128.load(q + 3 * o);
      v128.store(dr, f32x4.mul(dn, v128.load(q)));
      v128.store(q, f32x4.mul(dn, v128.load(q + 2 * o)));
    }
    gateDerivatives(g, out, Hp, activations);
    return;
  }
  for (const end = g + o; g < end; g += 16, h += 16, dh += 16) {
    const q = v128.load(g), z = v128.load(g + o), r = v128.load(g + 2 * o), n = v128.load(g + 3 * o), d = v128.load(dh);
    const dn = f32x4.mul(f32x4.mul(d, f32x4.sub(one, z)), f32x4.sub(one, f32x4.mul(n, n)));
    v128.store(g, f32x4.mul(dn, r));
    v128.store(g + o, f32x4.mul(f32x4.mul(d, f32x4.sub(v128.load(h), n)), f32x4.mul(z, f32x4.sub(one, z))));
    v128.store(g + 2 * o, f32x4.mul(f32x4.mul(dn, q), f32x4.mul(r, f32x4.sub(one, r))));
    v128.store(g + 3 * o, dn);
    v128.store(dh, f32x4.mul(d, z));
  }
}

/** dz, dn and dh ⊙ z of one row, reset before; dr needs u first. */
function candidateBeforeBackward(g: usize, h: usize, dh: usize, out: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp), one = f32x4.splat(1);
  if (activations) {
    blendBackward(g, h, dh, out, Hp, activations);
    return;
  }
  for (const end = g + o; g < end; g += 16, h += 16, dh += 16) {
    const z = v128.load(g + o), n = v128.load(g + 3 * o), d = v128.load(dh);
    v128.store(g + o, f32x4.mul(f32x4.mul(d, f32x4.sub(v128.load(h), n)), f32x4.mul(z, f32x4.sub(one, z))));
    v128.store(g + 3 * o, f32x4.mul(f32x4.mul(d, f32x4.sub(one, z)), f32x4.sub(one, f32x4.mul(n, n))));
    v128.store(dh, f32x4.mul(d, z));
  }
}

/** dr and the share of dh through r ⊙ h. @param u f32[Hp], dn · Rnᵀ of this row */
function resetBeforeBackward(g: usize, h: usize, dh: usize, u: usize, out: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp), one = f32x4.splat(1);
  for (let r = g + 2 * o, dr = activations ? out + o : r, end = r + o; r < end; r += 16, dr += 16, h += 16, dh += 16, u += 16) {
    const rj = v128.load(r), d = v128.load(u), outR = f32x4.mul(d, v128.load(h));
    v128.store(dh, madd(d, rj, v128.load(dh)));
    v128.store(dr, activations ? outR : f32x4.mul(outR, f32x4.mul(rj, f32x4.sub(one, rj))));
  }
  if (activations) gateDerivatives(g, out, Hp, activations);
}

/** Other activations: dn, dh ⊙ z, and in `out` [dz | dr | dn] the gradients of the gates' outputs. */
function blendBackward(g: usize, h: usize, dh: usize, out: usize, Hp: i32, activations: usize): void {
  const o = bytes(Hp), one = f32x4.splat(1), n = g + 3 * o, sum = g + 6 * o, dn = out + 2 * o;
  for (let z = g + o, end = z + o; z < end; z += 16, h += 16, dh += 16, out += 16) {
    const zj = v128.load(z), d = v128.load(dh);
    v128.store(out, f32x4.mul(d, f32x4.sub(v128.load(h), v128.load(z + 2 * o))));
    v128.store(out + 2 * o, f32x4.mul(d, f32x4.sub(one, zj)));
    v128.store(dh, f32x4.mul(d, zj));
  }
  activateBackward(<i32>load<f32>(activations, 12), n, dn, sum, n, Hp, load<f32>(activations, 16), load<f32>(activations, 20), 0);
}

/** Other activations: the gradients of the sums of z and r, in place of z and r. */
function gateDerivatives(g: usize, out: usize, Hp: i32, activations: usize): void {
  const z = g + bytes(Hp), sums = g + bytes(4 * Hp);
  activateBackward(<i32>load<f32>(activations), z, out, sums, z, 2 * Hp, load<f32>(activations, 4), load<f32>(activations, 8), 0);
}

// ---------------------------------------------------------------- weight gradients

/** Elements of scratch of gruGradients, for one thread. */
export function gruGradientsScratch(I: i32, H: i32): i32 {
  return gemmTransposedScratch(max(I, H), H);
}

/** Panels of 8 columns that gruGradients computes: three gates of the kernel, three of the recurrentKernel. */
export function gruGradientsPanels(H: i32): i32 {
  return 6 * (pad8(H) >> 3);
}

/**
 * Weight gradients, products over all T·B rows; the biases' are the sums of
 * the same columns.
 *
 *   dKernel    += xᵀ · [dz dr dn]
 *   dRecurrent += hᵀ · [dz dr dq]      reset before: hᵀ · [dz dr], (r ⊙ h)ᵀ · dn
 *
 * @param dKernel  f32[I, 3H]   @param dRecurrent f32[H, 3H]
 * @param dBias    f32[2, 3H] or f32[3H] (reset before), or 0
 * @param gates    f32[T, B, G] from gruBackward
 * @param h        f32[T+1, B, Hp], or what the products read in its place (`dropped`, behind its mask)
 * @param scratch  f32[threads, gruGradientsScratch(I, H)]
 * @param from, to panels to compute, of gruGradientsPanels(H)
 * @param thread   whose part of the scratch to use
 */
export function gruGradients(
  dKernel: usize, dRecurrent: usize, dBias: usize, gates: usize, h: usize, x: usize, scratch: usize,
  customActivations: i32, T: i32, B: i32, I: i32, H: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  const Hp = pad8(H), Ip = pad8(I), G = gruGatesStride(H, customActivations, flags), rows = T * B, panels = Hp >> 3;
  const before = flags & RESET_BEFORE, kept = flags & LAYER_NORM ? bytes(ownStride(H, customActivations)) : 0;
  const zrn = gates + (kept ? kept + bytes(3 * Hp) : bytes(Hp)), nzr = gates + kept, hIn = flags & REVERSE ? h + bytes(B * Hp) : h;
  const dState: usize = dBias && !before ? dBias + bytes(3 * H) : 0, dStateN: usize = dState ? dState + bytes(2 * H) : 0;
  scratch += bytes(thread * gruGradientsScratch(I, H));
  gateGradients(dKernel, dBias, x, zrn, scratch, 3, I, H, rows, 3 * H, Ip, G, from, to);
  from -= 3 * panels; to -= 3 * panels;
  gateGradients(dRecurrent, dState, hIn, nzr + bytes(Hp), scratch, 2, H, H, rows, 3 * H, Hp, G, from, to);
  from -= 2 * panels; to -= 2 * panels;
  // The candidate's recurrent part is q; reset before it is n, against r ⊙ h, which stands in q.
  if (before) gateGradients(dRecurrent + bytes(2 * H), 0, gates, gates + bytes(3 * Hp), scratch, 1, H, H, rows, 3 * H, G, G, from, to);
  else gateGradients(dRecurrent + bytes(2 * H), dStateN, hIn, nzr, scratch, 1, H, H, rows, 3 * H, Hp, G, from, to);
}
