/** Values of the reference implementation (python-xxhash's and xxHash's own tests). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { hashInto, hash64 } from '../../protocols/xx-hash.ts'

for (const [text, seed, want] of [
  ['', 0n, 0xef46db3751d8e999n],
  ['', 1n, 0xd5afba1336a3be4bn],
  ['a', 0n, 0xd24ec4f1a98c6e5bn],
  ['abc', 0n, 0x44bc2cf5ad770999n],
  ['Nobody inspects the spammish repetition', 0n, 0xfbcea83c8a378bf1n],
] as const)
  test(`of ${JSON.stringify(text)}, seed ${seed}`, () => assert.equal(hash64(text, seed), want))

/** The specification, in BigInt. */
function slowly(text: string, seed: bigint): bigint {
  const M = (1n << 64n) - 1n
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ] as const
  const bytes = Buffer.from(text, 'latin1')
  const rotate = (x: bigint, r: bigint): bigint => ((x << r) | (x >> (64n - r))) & M
  const round = (acc: bigint, lane: bigint): bigint => (rotate((acc + lane * p2) & M, 31n) * p1) & M
  let at = 0
  let acc = (seed + p5) & M
  if (bytes.length >= 32) {
    const accs = [(seed + p1 + p2) & M, (seed + p2) & M, seed, (seed - p1) & M]
    for (; at + 32 <= bytes.length; at += 32)
      for (let i = 0; i < 4; i++) accs[i] = round(accs[i]!, bytes.readBigUInt64LE(at + 8 * i))
    acc = (rotate(accs[0]!, 1n) + rotate(accs[1]!, 7n) + rotate(accs[2]!, 12n) + rotate(accs[3]!, 18n)) & M
    for (const one of accs) acc = ((acc ^ round(0n, one)) * p1 + p4) & M
  }
  acc = (acc + BigInt(bytes.length)) & M
  for (; at + 8 <= bytes.length; at += 8) acc = (rotate(acc ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * p1 + p4) & M
  for (; at + 4 <= bytes.length; at += 4)
    acc = (rotate(acc ^ ((BigInt(bytes.readUInt32LE(at)) * p1) & M), 23n) * p2 + p3) & M
  for (; at < bytes.length; at++) acc = (rotate(acc ^ ((BigInt(bytes[at]!) * p5) & M), 11n) * p1) & M
  acc = ((acc ^ (acc >> 33n)) * p2) & M
  acc = ((acc ^ (acc >> 29n)) * p3) & M
  return acc ^ (acc >> 32n)
}

test('of every length up to 200, and with seeds of all 64 bits, as the specification says', () => {
  for (let length = 0; length < 200; length++) {
    const text = Array.from({ length }, (_, i) => String.fromCharCode((i * 37 + length * 11) & 0xff)).join('')
    for (const seed of [0n, 1n, 0xfedcba9876543210n, 0xffffffffffffffffn])
      assert.equal(hash64(text, seed), slowly(text, seed), `${length} ${seed}`)
    hashInto(text, (high, low) => {
      assert.equal((BigInt(high) << 32n) | BigInt(low), hash64(text))
    })
  }
})
