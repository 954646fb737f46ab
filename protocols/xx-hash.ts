/**
 * XXH64 (Cyan4973/xxHash, doc/xxhash_spec.md), by which Envoy places requests and hosts. A 64-bit number is two halves
 * of 32 bits here, which is some ten times faster than BigInt; `H` and `L` hold the one that is worked on.
 */
let H = 0
let L = 0

const P1 = [0x9e3779b1, 0x85ebca87] as const
const P2 = [0xc2b2ae3d, 0x27d4eb4f] as const
const P3 = [0x165667b1, 0x9e3779f9] as const
const P4 = [0x85ebca77, 0xc2b2ae63] as const
const P5 = [0x27d4eb2f, 0x165667c5] as const
type Half = readonly [high: number, low: number]

/** @param text a character per byte */
export function hash64(text: string, seed = 0n): bigint {
  digest(text, Number(seed >> 32n) | 0, Number(seed & 0xffff_ffffn) | 0)
  return (BigInt(H >>> 0) << 32n) | BigInt(L >>> 0)
}

/** The same, without a BigInt. @param put is given both halves, each 0 to 2^32 - 1 */
export function hashInto(text: string, put: (high: number, low: number) => void): void {
  digest(text, 0, 0)
  put(H >>> 0, L >>> 0)
}

function digest(text: string, seedH: number, seedL: number): void {
  const { length } = text
  let at = 0
  if (length >= 32) at = stripes(text, seedH, seedL)
  else {
    set(seedH, seedL)
    add(P5[0], P5[1])
  }
  add(0, length)
  for (; at + 8 <= length; at += 8) {
    const [h, l] = [H, L]
    set(0, 0)
    round(text, at)
    xor(h, l)
    rotate(27)
    multiply(P1)
    add(P4[0], P4[1])
  }
  if (at + 4 <= length) {
    const [h, l] = [H, L]
    set(0, word(text, at))
    multiply(P1)
    xor(h, l)
    rotate(23)
    multiply(P2)
    add(P3[0], P3[1])
    at += 4
  }
  for (; at < length; at++) {
    const [h, l] = [H, L]
    set(0, text.charCodeAt(at) & 0xff)
    multiply(P5)
    xor(h, l)
    rotate(11)
    multiply(P1)
  }
  avalanche()
}

/** Whole stripes of 32 bytes, by four accumulators. @returns how far they reach */
function stripes(text: string, seedH: number, seedL: number): number {
  const high = new Int32Array(4)
  const low = new Int32Array(4)
  const keep = (i: number): void => {
    high[i] = H
    low[i] = L
  }
  for (const [i, primes] of [[P1, P2], [P2], [], []].entries()) {
    set(seedH, seedL)
    for (const [h, l] of primes) add(h, l)
    keep(i)
  }
  set(high[3]!, low[3]!)
  subtract(P1)
  keep(3)
  let at = 0
  for (; at + 32 <= text.length; at += 32)
    for (let i = 0; i < 4; i++) {
      set(high[i]!, low[i]!)
      round(text, at + 8 * i)
      keep(i)
    }
  let [h, l] = [0, 0]
  for (const [i, bits] of [1, 7, 12, 18].entries()) {
    set(high[i]!, low[i]!)
    rotate(bits)
    add(h, l)
    ;[h, l] = [H, L]
  }
  for (let i = 0; i < 4; i++) {
    const [beforeH, beforeL] = [H, L]
    set(high[i]!, low[i]!)
    multiply(P2)
    rotate(31)
    multiply(P1)
    xor(beforeH, beforeL)
    multiply(P1)
    add(P4[0], P4[1])
  }
  return at
}

function round(text: string, at: number): void {
  const [h, l] = [H, L]
  set(word(text, at + 4), word(text, at))
  multiply(P2)
  add(h, l)
  rotate(31)
  multiply(P1)
}
function avalanche(): void {
  xor(0, H >>> 1)
  multiply(P2)
  xor(H >>> 29, (H << 3) | (L >>> 29))
  multiply(P3)
  xor(0, H)
}

function word(text: string, at: number): number {
  return (
    (text.charCodeAt(at) & 0xff) |
    ((text.charCodeAt(at + 1) & 0xff) << 8) |
    ((text.charCodeAt(at + 2) & 0xff) << 16) |
    ((text.charCodeAt(at + 3) & 0xff) << 24)
  )
}
function set(high: number, low: number): void {
  H = high
  L = low
}
function xor(high: number, low: number): void {
  H ^= high
  L ^= low
}
function add(high: number, low: number): void {
  const sum = (L >>> 0) + (low >>> 0)
  H = (H + high + (sum > 0xffff_ffff ? 1 : 0)) | 0
  L = sum | 0
}
function subtract([high, low]: Half): void {
  add(~high, ~low)
  add(0, 1)
}
/** @param bits 1 to 31 */
function rotate(bits: number): void {
  const high = (H << bits) | (L >>> (32 - bits))
  L = (L << bits) | (H >>> (32 - bits))
  H = high
}
/** By halves of halves: a product of two of them is exact. */
function multiply([high, low]: Half): void {
  const [a0, a1, b0, b1] = [L & 0xffff, L >>> 16, low & 0xffff, low >>> 16]
  const middle = a1 * b0 + ((a0 * b0) >>> 16)
  const other = (middle & 0xffff) + a0 * b1
  const carried = a1 * b1 + Math.floor(middle / 0x1_0000) + Math.floor(other / 0x1_0000)
  H = (carried + Math.imul(H, low) + Math.imul(L, high)) | 0
  L = Math.imul(L, low)
}
