import { test } from 'node:test'
import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import type { StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { decodeSegment, findOwnPlaces, findPlaces, SegmentWriter } from '../../../../protocols/mqtt/spool/segment.ts'

const COUNT = 6
const messageOf = (i: number): StoredMessage => ({
  topic: `t/${i}`,
  payload: Buffer.alloc(i === 2 ? 700 : 20 + i, `${i}`),
  qos: 1,
  retain: i % 2 === 0,
  properties: i === 3 ? Buffer.from('properties') : new Uint8Array(0),
  expiresAtMs: i === 4 ? 1_700_000_000_000 : undefined,
  ...(i === 4 && { expirySec: 60 }),
})
const MESSAGES = Array.from({ length: COUNT }, (_, i) => messageOf(i))

function blobOf(messages: readonly StoredMessage[], before?: Buffer): Buffer {
  const writer = new SegmentWriter()
  for (const one of messages) writer.add(one)
  return writer.finish(before)
}
/** Every message that is given is one that was written, in its place. @returns how many are not given */
function lostOf(blob: Buffer, label: string): number {
  const entries = decodeSegment(blob, 1, COUNT) ?? []
  let found = 0
  for (const [i, entry] of entries.entries()) {
    if (!entry) continue
    found++
    assert.equal(entry.seq, i + 1, label)
    assert.deepEqual({ ...entry.message, payload: Buffer.from(entry.message.payload) }, MESSAGES[i], label)
  }
  return COUNT - found
}

test('what was made here is read without its checksums, one segment or two in one', () => {
  const half = MESSAGES.slice(0, 3)
  for (const blob of [blobOf(MESSAGES), blobOf(MESSAGES.slice(3), blobOf(half))])
    assert.deepEqual(findOwnPlaces(blob, COUNT), findPlaces(blob, COUNT))
  assert.equal(findOwnPlaces(blobOf(half), 3).length, 3)
})

test('a byte that was flipped, wherever it is, costs one message at most; one within a message costs that', () => {
  const blob = blobOf(MESSAGES)
  assert.equal(lostOf(blob, 'whole'), 0)
  const entriesAt = 12 + COUNT * 8
  for (let at = 0; at < blob.length; at++)
    for (const flip of [1, 0x80, 0xff]) {
      const damaged = Buffer.from(blob)
      damaged[at]! ^= flip
      const lost = lostOf(damaged, `byte ${at}`)
      assert.ok(at < entriesAt ? lost <= 1 : lost === 1, `byte ${at}: ${lost} lost`)
    }
})

test('whatever is overwritten or cut off, nothing is given but what was written', () => {
  const blob = blobOf(MESSAGES)
  fc.assert(
    fc.property(
      fc.nat(blob.length - 1),
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.constantFrom('write', 'cut'),
      (at, bytes, how) => {
        const damaged = how === 'cut' ? Buffer.from(blob.subarray(0, at)) : Buffer.from(blob)
        if (how === 'write') damaged.set(bytes.subarray(0, damaged.length - at), at)
        lostOf(damaged, `${how} at ${at}`)
      },
    ),
    { numRuns: 2_000 },
  )
  // What ends early gives what is before its end.
  assert.equal(lostOf(Buffer.concat([blob.subarray(0, -1), Buffer.alloc(1, 0xaa)]), 'last byte'), 1)
  assert.equal(lostOf(blob.subarray(0, -1), 'cut'), 1)
})

test('a count that is not the row’s gives nothing', () => {
  const blob = blobOf(MESSAGES)
  assert.equal(decodeSegment(blob, 1, 2 ** 40), undefined)
  assert.equal(decodeSegment(blob, 1, 0), undefined)
})

test('a segment that replaces a smaller one is as if it had been written at once', () => {
  assert.deepEqual(blobOf(MESSAGES.slice(2), blobOf(MESSAGES.slice(0, 2))), blobOf(MESSAGES))
})

test('a segment of schema 5 is read as it is, all or nothing', () => {
  const entries = blobOf(MESSAGES).subarray(12 + COUNT * 8)
  const old = Buffer.concat([Buffer.alloc(4), entries])
  old.writeUInt32BE(crc32(entries), 0)
  assert.equal(lostOf(old, 'old'), 0)
  for (let at = 0; at < old.length; at++) {
    const damaged = Buffer.from(old)
    damaged[at]! ^= 1 << (at % 8)
    assert.equal(decodeSegment(damaged, 1, COUNT), undefined, `byte ${at}`)
  }
})
