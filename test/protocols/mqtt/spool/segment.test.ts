import { test } from 'node:test'
import assert from 'node:assert/strict'
import { decodeSegment, SegmentWriter } from '../../../../protocols/mqtt/spool/segment.ts'

function blobOf(count: number, bytes: number): Buffer {
  const writer = new SegmentWriter()
  for (let i = 0; i < count; i++)
    writer.add({
      topic: 't',
      payload: Buffer.alloc(bytes, 'x'),
      qos: 1,
      retain: false,
      properties: new Uint8Array(0),
      expiresAtMs: undefined,
    })
  return writer.finish()
}
test('decodeSegment takes no bytes but those that were written', () => {
  const blob = blobOf(3, 20)
  assert.equal(decodeSegment(blob, 1, 3)?.length, 3)
  assert.equal(decodeSegment(blob, 1, 2), undefined)
  for (let at = 0; at < blob.length; at++) {
    const damaged = Buffer.from(blob)
    damaged[at]! ^= 1 << (at % 8)
    assert.equal(decodeSegment(damaged, 1, 3), undefined)
    assert.equal(decodeSegment(blob.subarray(0, at), 1, 3), undefined)
  }
})
