import { activate, activateBackward } from "./activations";
import { addTo } from "./elementwise";
import { gemm, gemmTransposedScratch } from "./gemm";
import { INT8, int8Pack, int8PanelBytes, product } from "./int8";
import { counts } from "./mask";
import { workOf } from "./memory";
import { packPanels, packRow } from "./pack";
import {
  ACCUMULATE, blend, chunkSteps, emit, FORM, gateGradients, IN_PLACE, LAST, productOverSteps, receive, REPEAT,
  REVERSE, sigmoids, slot,
} from "./recurrent";
import { bytes, pad8 } from "./simd";

/**
 * The cells with one gate, over whole sequences, forward and backward.
 *
 *   light GRU                       MGU                            minGRU
 *   z = σ(x·Kz + bz + h·Rz)         z = σ(x·Kz + bz + h·Rz)        z = σ(x·Kz + bz)
 *   n = f(x·Kn + bn + h·Rn)         n = f(x·Kn + bn + p·Rn)        n = f(x·Kn + bn)
 *                                   p = (1 − z) ⊙ h
 *   h ← z ⊙ h + (1 − z) ⊙ n         the same                       the same
 *
 * Sources: Ravanelli et al. 2018, arXiv:1803.10225, eq. 5 to 7; Zhou et al.
 * 2016, arXiv:1603.09420, eq. 6; Feng et al. 2024, arXiv:2410.01201, section
 * 3.1. The last two call 1 − z their gate: z is σ of the sum negated, so their
 * weights and biases of the gate come over with the opposite sign.
 *
 * minGRU has nothing sequential but the last line: h is a scan along time.
 * B·H independent lanes fill the vectors, and the scan waits for memory, not
 * for arithmetic, so that it runs in order, the same bits as step by step.
 *
 * Legend and flags as in recurrent.ts.
 *
 *   gates    f32[S, B, G]   one row [z | n], MGU [z | n | p]; where f reads its
 *                           input in backward, the sums of n behind. First the
 *                           sums, then the gates, and after backward their
 *                           gradients with respect to the sums
 *   h        f32[T+1, B, Hp] or one step used in place, as in gru.ts
 *   packed   bias [z | n] f32[2 Hp], K panels [I, z n], R panels [H, z n]
 */

/** MGU: the gate resets the candidate's state too. */
const FORGET: i32 = FORM;
/** minGRU: there is no R. */
const INPUT_ONLY: i32 = 256;
/** The sums of n are kept. */
const SUMS: i32 = 512;

/** Elements of one row of gates. */
export function lightGruGatesStride(H: i32, flags: i32): i32 {
  return (2 + (flags & FORGET ? 1 : 0) + (flags & SUMS ? 1 : 0)) * pad8(H);
}

// ---------------------------------------------------------------- weights

/** Elements of the packed weights of lightGruForward. */
export function lightGruPackedSize(I: i32, H: i32, flags: i32): i32 {
  return 2 * pad8(H) * (1 + I + (flags & INPUT_ONLY ? 0 : H));
}

/**
 * @param kernel    f32[I, 2H], columns [z | n]
 * @param recurrent f32[H, 2H], columns [z | n]; minGRU: 0
 * @param bias      f32[2H] or 0
 */
export function lightGruPack(packed: usize, kernel: usize, recurrent: usize, bias: usize, I: i32, H: i32): void {
  const column = bytes(pad8(H)), gate = bytes(H), K = packed + 2 * column, R = K + 2 * column * <usize>I;
  packBias(packed, bias, H);
  for (let g: usize = 0; g < 2; g++) {
    packPanels(K + g * column * <usize>I, kernel + g * gate, I, H, 2 * H, 1, I, I << 3);
    if (recurrent) packPanels(R + g * column * <usize>H, recurrent + g * gate, H, H, 2 * H, 1, H, H << 3);
  }
}

function packBias(packed: usize, bias: usize, H: i32): void {
  for (let g: usize = 0; g < 2; g++) packRow(packed + g * bytes(pad8(H)), bias ? bias + g * bytes(H) : 0, H);
}

/** Elements of the packed weights of lightGruForwardInt8. */
export function lightGruPackedSizeInt8(I: i32, H: i32, flags: i32): i32 {
  const Hp = pad8(H), panel = int8PanelBytes(I) + (flags & INPUT_ONLY ? 0 : int8PanelBytes(H));
  return 2 * Hp + <i32>((<usize>(2 * Hp >> 3) * panel) >> 2);
}

/** The same of i8 matrices with their scales f32[2H]. */
export function lightGruPackInt8(
  packed: usize, kernel: usize, kernelScales: usize, recurrent: usize, recurrentScales: usize, bias: usize, I: i32, H: i32, flags: i32,
): void {
  const panels = pad8(H) >> 3, K = packed + bytes(16 * panels), R = K + <usize>(2 * panels) * int8PanelBytes(I);
  packBias(packed, bias, H);
  for (let g = 0, column = 0; g < 2; g++, column += H) {
    int8Pack(K, kernel + column, kernelScales + bytes(column), I, H, 2 * H, g * panels, 2 * panels);
    if (!recurrent) continue;
    // One matrix, or two where the candidate has a product of its own.
    const own = recurrent + column, scales = recurrentScales + bytes(column);
    if (flags & FORGET) int8Pack(R + <usize>(g * panels) * int8PanelBytes(H), own, scales, H, H, 2 * H, 0, panels);
    else int8Pack(R, own, scales, H, H, 2 * H, g * panels, 2 * panels);
  }
}

/** Elements of the packed weights of lightGruBackward: Kᵀ [z n, Ip], then Rᵀ [z n, Hp]. */
export function lightGruPackedTransposedSize(I: i32, H: i32, flags: i32): i32 {
  return 2 * pad8(H) * (pad8(I) + (flags & INPUT_ONLY ? 0 : pad8(H)));
}

/** Rᵀ as one product over [z | n], or with FORGET as Rzᵀ and Rnᵀ. Rows of both gates are padded to Hp, as the gates are. */
export function lightGruPackTransposed(packed: usize, kernel: usize, recurrent: usize, I: i32, H: i32, flags: i32): void {
  const Hp = pad8(H), gate = bytes(H), part = bytes(Hp << 3), Rt = packed + bytes(2 * Hp * pad8(I));
  for (let g: usize = 0; g < 2; g++) {
    packPanels(packed + g * part, kernel + g * gate, H, I, 1, 2 * H, Hp, 16 * Hp);
    if (!recurrent) continue;
    if (flags & FORGET) packPanels(Rt + g * bytes(Hp * Hp), recurrent + g * gate, H, H, 1, 2 * H, Hp, Hp << 3);
    else packPanels(Rt + g * part, recurrent + g * gate, H, H, 1, 2 * H, Hp, 16 * Hp);
  }
}

// ---------------------------------------------------------------- forward

/**
 * A whole sequence: h and gates of every step, and y where it differs from h.
 *
 * @param h, gates, y, x, mask, gateSteps, from, to as in gruForward (gru.ts)
 * @param packed     from lightGruPack
 * @param activation f32[3], f as (kind, alpha, beta)
 */
export function lightGruForward(
  h: usize, gates: usize, y: usize, x: usize, packed: usize, mask: usize, activation: usize,
  T: i32, B: i32, I: i32, H: i32, gateSteps: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  forward(h, gates, y, x, packed, mask, activation, T, B, I, H, gateSteps, flags, 0, from, to, thread);
}

/** The same with weights in int8. @param packed from lightGruPackInt8 @param range as in gruForwardInt8 (gru.ts) */
export function lightGruForwardInt8(
  h: usize, gates: usize, y: usize, x: usize, packed: usize, mask: usize, activation: usize,
  T: i32, B: i32, I: i32, H: i32, gateSteps: i32, flags: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  forward(h, gates, y, x, packed, mask, activation, T, B, I, H, gateSteps, flags | INT8, range, from, to, thread);
}

function forward(
  h: usize, gates: usize, y: usize, x: usize, packed: usize, mask: usize, activation: usize,
  T: i32, B: i32, I: i32, H: i32, gateSteps: i32, flags: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  const work = workOf(thread);
  const Hp = pad8(H), Ip = pad8(I), G = lightGruGatesStride(H, flags), rows = to - from, p = bytes(2 * Hp);
  const hStep: usize = flags & IN_PLACE ? 0 : bytes(B * Hp), reverse = flags & REVERSE, panels = <usize>(Hp >> 3);
  const K = packed + bytes(2 * Hp), R = K + 2 * panels * (flags & INT8 ? int8PanelBytes(I) : bytes(I << 3));
  const Rn = R + panels * (flags & INT8 ? int8PanelBytes(H) : bytes(H << 3));
  const chunk = min(gateSteps, chunkSteps(rows));
  for (let done = 0; done < T; done += chunk) {
    const steps = min(chunk, T - done), first = reverse ? T - done - steps : done;
    const chunkGates = gates + (gateSteps >= T ? bytes(first * B * G) : 0);
    productOverSteps(chunkGates + bytes(from * G), x + bytes((first * B + from) * Ip), K, packed, steps, rows, B,
      2 * Hp, I, G, Ip, 0, flags, range, work);
    for (let s = 0; s < steps; s++) {
      const order = done + s, t = reverse ? T - 1 - order : order;
      const g = chunkGates + bytes(((t - first) * B + from) * G);
      const hIn = h + <usize>(reverse ? t + 1 : t) * hStep + bytes(from * Hp);
      const hOut = h + <usize>(reverse ? t : t + 1) * hStep + bytes(from * Hp);
      const valid = mask ? mask + bytes(t * B + from) : 0;
      if (flags & FORGET) {
        product(g, hIn, R, g, rows, Hp, H, G, Hp, G, flags, 0, work);
        for (let i = 0; i < rows; i++) forget(g + bytes(i * G), hIn + bytes(i * Hp), Hp);
        product(g + bytes(Hp), g + p, Rn, g + bytes(Hp), rows, Hp, H, G, G, G, flags, 0, work);
      } else if (!(flags & INPUT_ONLY)) product(g, hIn, R, g, rows, 2 * Hp, H, G, Hp, G, flags, 0, work);
      for (let i = 0; i < rows; i++) {
        const gi = g + bytes(i * G), hi = hIn + bytes(i * Hp), ho = hOut + bytes(i * Hp);
        if (!counts(valid, i)) {
          if (hi != ho) memory.copy(ho, hi, bytes(Hp));
          continue;
        }
        if (!(flags & FORGET)) sigmoids(gi, Hp);
        candidate(gi, G, Hp, activation, flags);
        blend(ho, gi, gi + bytes(Hp), hi, Hp);
      }
      if (y) emit(y, hOut, valid, order, t, B, Hp, flags, from, rows);
    }
  }
}

/** z from its sum and p = (1 − z) ⊙ h, one row. */
function forget(g: usize, h: usize, Hp: i32): void {
  const p = bytes(2 * Hp), one = f32x4.splat(1);
  sigmoids(g, Hp);
  for (const end = g + bytes(Hp); g < end; g += 16, h += 16)
    v128.store(g + p, f32x4.mul(f32x4.sub(one, v128.load(g)), v128.load(h)));
}

/** n from its sum, one row. */
function candidate(g: usize, G: i32, Hp: i32, activation: usize, flags: i32): void {
  const n = g + bytes(Hp), kind = <i32>load<f32>(activation);
  if (flags & SUMS) memory.copy(g + bytes(G - Hp), n, bytes(Hp));
  // 0 is linear.
  if (kind) activate(kind, n, n, Hp, load<f32>(activation, 4), load<f32>(activation, 8));
}

// ---------------------------------------------------------------- backward

/**
 * Backward through time: turns the kept gates into the gradients of their
 * sums, and gives the gradients of x and of the initial state.
 *
 *   dn = dh ⊙ (1 − z) ⊙ f′      dz = (dh ⊙ (h − n) − u ⊙ h) ⊙ z (1 − z)      u = dn · Rnᵀ (MGU, else 0)
 *   light GRU: dh ← dh ⊙ z + [dz dn]·[Rz Rn]ᵀ      MGU: dh ← dh ⊙ z + u ⊙ (1 − z) + dz·Rzᵀ      minGRU: dh ← dh ⊙ z
 *   dx = [dz dn]·Kᵀ
 *
 * @param dx, dh, dy, h, written as in gruBackward (gru.ts)
 * @param gates   f32[T, B, G] as lightGruForward left them, out: [dz | dn | p]; dz and dn zero where masked
 * @param packed  from lightGruPackTransposed
 * @param scratch f32[4, B, Hp]
 */
export function lightGruBackward(
  dx: usize, dh: usize, gates: usize, dy: usize, h: usize, packed: usize, mask: usize, activation: usize, scratch: usize,
  written: i32, T: i32, B: i32, I: i32, H: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  const work = workOf(thread);
  const Hp = pad8(H), Ip = pad8(I), G = lightGruGatesStride(H, flags), rows = to - from;
  const hStep = bytes(B * Hp), reverse = flags & REVERSE, first = bytes(from * Hp);
  const Kt = packed, Rt = Kt + bytes(2 * Hp * Ip), RnT = Rt + bytes(Hp * Hp);
  const carry = scratch + first, u = carry + hStep, outs = scratch + 2 * hStep + 2 * first;
  dh += first;
  memory.fill(carry, 0, bytes(rows * Hp));
  // Without a y of its own the last output is the final state, masked or not.
  const isState = flags & LAST && !written;
  if (dy && isState) addTo(dh, dy + first, rows * Hp);
  const chunk = chunkSteps(rows);
  let pending = 0;
  for (let order = T - 1; order >= 0; order--) {
    const t = reverse ? T - 1 - order : order;
    const g = gates + bytes((t * B + from) * G), hIn = h + <usize>(reverse ? t + 1 : t) * hStep + first;
    const valid = mask ? mask + bytes(t * B + from) : 0;
    const absent = !dy || isState || (flags & LAST && order < T - 1);
    const dyStep: usize = absent ? 0 : dy + bytes((slot(order, t, flags) * B + from) * Hp);
    if (dyStep || (valid && flags & REPEAT)) receive(dh, carry, dyStep, valid, rows, Hp, flags);
    for (let i = 0; i < rows; i++) {
      const gi = g + bytes(i * G);
      if (!counts(valid, i)) memory.fill(gi, 0, bytes(2 * Hp));
      else rowBackward(gi, hIn + bytes(i * Hp), dh + bytes(i * Hp), outs + bytes(2 * i * Hp), G, Hp, activation, flags);
    }
    if (flags & FORGET) {
      gemm(u, g + bytes(Hp), RnT, 0, rows, Hp, Hp, Hp, G, 0, work);
      for (let i = 0; i < rows; i++)
        if (counts(valid, i))
          forgetBackward(g + bytes(i * G), hIn + bytes(i * Hp), dh + bytes(i * Hp), u + bytes(i * Hp), outs + bytes(2 * i * Hp), Hp);
      gemm(dh, g, Rt, dh, rows, Hp, Hp, Hp, G, Hp, work);
    } else if (!(flags & INPUT_ONLY)) gemm(dh, g, Rt, dh, rows, Hp, 2 * Hp, Hp, G, Hp, work);
    // The input gradients of a chunk of steps, while its gates are in the cache.
    if (dx && (++pending == chunk || order == 0)) {
      const row = (reverse ? t - pending + 1 : t) * B + from, d = dx + bytes(row * Ip);
      productOverSteps(d, gates + bytes(row * G), Kt, flags & ACCUMULATE ? d : 0, pending, rows, B, Ip, 2 * Hp, Ip, G, Ip, 0, 0, work);
      pending = 0;
    }
  }
}

/**
 * dz, dn and dh ⊙ z of one row; MGU: z stays, and `out` gets the gradient of
 * its output but for what comes through p.
 *
 * @param out f32[2 Hp], room to work in
 */
function rowBackward(g: usize, h: usize, dh: usize, out: usize, G: i32, Hp: i32, activation: usize, flags: i32): void {
  const o = bytes(Hp), one = f32x4.splat(1), kind = <i32>load<f32>(activation), n = g + o, forgets = flags & FORGET;
  const dz = forgets ? out : g, dn = kind ? out + o : n;
  for (let i: usize = 0; i < o; i += 16) {
    const z = v128.load(g + i), d = v128.load(dh + i), keep = f32x4.sub(one, z);
    let own = f32x4.mul(d, f32x4.sub(v128.load(h + i), v128.load(n + i)));
    if (!forgets) own = f32x4.mul(own, f32x4.mul(z, keep));
    v128.store(dz + i, own);
    v128.store(dn + i, f32x4.mul(d, keep));
    v128.store(dh + i, f32x4.mul(d, z));
  }
  if (kind) activateBackward(kind, n, dn, g + bytes(G - Hp), n, Hp, load<f32>(activation, 4), load<f32>(activation, 8), 0);
}

/** dz, and the share of dh through p. @param u f32[Hp], dn · Rnᵀ of this row */
function forgetBackward(g: usize, h: usize, dh: usize, u: usize, out: usize, Hp: i32): void {
  const one = f32x4.splat(1);
  for (const end = g + bytes(Hp); g < end; g += 16, h += 16, dh += 16, u += 16, out += 16) {
    const z = v128.load(g), f = f32x4.sub(one, z), d = v128.load(u);
    v128.store(dh, f32x4.add(v128.load(dh), f32x4.mul(d, f)));
    v128.store(g, f32x4.mul(f32x4.sub(v128.load(out), f32x4.mul(d, v128.load(h))), f32x4.mul(z, f)));
  }
}

// ---------------------------------------------------------------- weight gradients

/** Elements of scratch of lightGruGradients, for one thread. */
export function lightGruGradientsScratch(I: i32, H: i32): i32 {
  return gemmTransposedScratch(max(I, H), H);
}

/** Panels of 8 columns that lightGruGradients computes: two gates of the kernel, and two of the recurrentKernel. */
export function lightGruGradientsPanels(H: i32, flags: i32): i32 {
  return (flags & INPUT_ONLY ? 2 : 4) * (pad8(H) >> 3);
}

/**
 * Weight gradients, products over all T·B rows; the bias's are the sums of the
 * same columns.
 *
 *   dKernel += xᵀ · [dz dn]      dRecurrent += hᵀ · [dz dn]      MGU: hᵀ · dz, pᵀ · dn
 *
 * @param dKernel f32[I, 2H]   @param dRecurrent f32[H, 2H]   @param dBias f32[2H] or 0
 * @param gates, h, scratch, from, to, thread as in gruGradients (gru.ts)
 */
export function lightGruGradients(
  dKernel: usize, dRecurrent: usize, dBias: usize, gates: usize, h: usize, x: usize, scratch: usize,
  T: i32, B: i32, I: i32, H: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  const Hp = pad8(H), G = lightGruGatesStride(H, flags), rows = T * B, panels = Hp >> 3;
  const hIn = flags & REVERSE ? h + bytes(B * Hp) : h, dn = gates + bytes(Hp);
  scratch += bytes(thread * lightGruGradientsScratch(I, H));
  gateGradients(dKernel, dBias, x, gates, scratch, 2, I, H, rows, 2 * H, pad8(I), G, from, to);
  if (flags & INPUT_ONLY) return;
  from -= 2 * panels; to -= 2 * panels;
  gateGradients(dRecurrent, 0, hIn, gates, scratch, flags & FORGET ? 1 : 2, H, H, rows, 2 * H, Hp, G, from, to);
  if (flags & FORGET)
    gateGradients(dRecurrent + bytes(H), 0, dn + bytes(Hp), dn, scratch, 1, H, H, rows, 2 * H, G, G, from - panels, to - panels);
}
