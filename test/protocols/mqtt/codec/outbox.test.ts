import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { Flusher } from '../../../../protocols/mqtt/codec/flusher.ts'
import { Outbox } from '../../../../protocols/mqtt/codec/outbox.ts'
import type { Packet, Version } from '../../../../protocols/mqtt/codec/packet.ts'
import { encodeProperties, NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'

function recorded(
  version: Version,
  flusher = new Flusher(),
  maxPacketBytes = Infinity,
): { outbox: Outbox; flusher: Flusher; writes: Buffer[] } {
  const writes: Buffer[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(Buffer.from(chunk))
      done()
    },
    writev(chunks, done) {
      writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)))
      done()
    },
  })
  return { outbox: new Outbox({ stream, flusher, version, maxPacketBytes }), flusher, writes }
}
const bytes = (text: string): Uint8Array => Buffer.from(text)
const many = Array.from({ length: 200 }, () => 1)
const suback = (packetId: number, reasons: readonly number[]): Packet => ({
  type: 'suback',
  packetId,
  reasons,
  properties: NO_PROPERTIES,
})

for (const version of [4, 5] as const) {
  test(`version ${version}: what the fast path writes is what encode() writes, in one write per turn`, () => {
    const { outbox, flusher, writes } = recorded(version)
    const properties =
      version === 5 ? encodeProperties({ contentType: 'text', userProperties: [['k', 'v']] }) : Buffer.alloc(0)
    const expirySec = version === 5 ? 77 : undefined
    const ids = version === 5 ? [1, 300] : []
    const big = Buffer.alloc(20_000, 1)
    outbox.publish({ topic: 'a/ü', payload: bytes('hello'), properties }, 8 | 4 | 1, 515, expirySec, ids)
    outbox.ack('puback', 7, 0)
    outbox.ack('pubrel', 8, version === 5 ? 0x92 : 0)
    outbox.publish({ topic: 'big', payload: big, properties: Buffer.alloc(0) }, 0, 0, undefined, [])
    outbox.pingresp()
    outbox.writeReasons('suback', 515, [0, 2, 0x87])
    outbox.writeReasons('unsuback', 9, [0, 0x11])
    outbox.writeReasons('suback', 10, many)
    flusher.flush()
    assert.equal(writes.length, 1)
    assert.deepEqual(
      writes[0],
      Buffer.concat([
        encode(
          publishPacket({
            topic: 'a/ü',
            payload: bytes('hello'),
            qos: 2,
            dup: true,
            retain: true,
            packetId: 515,
            properties,
            messageExpirySec: expirySec,
            subscriptionIds: ids,
          }),
          version,
        ),
        encode({ type: 'puback', packetId: 7, reason: 0, properties: NO_PROPERTIES }, version),
        encode({ type: 'pubrel', packetId: 8, reason: version === 5 ? 0x92 : 0, properties: NO_PROPERTIES }, version),
        encode(publishPacket({ topic: 'big', payload: big }), version),
        encode({ type: 'pingresp' }, version),
        encode(suback(515, [0, 2, version === 5 ? 0x87 : 0x80]), version),
        encode({ type: 'unsuback', packetId: 9, reasons: [0, 0x11], properties: NO_PROPERTIES }, version),
        encode(suback(10, many), version),
      ]),
    )
  })
  test(`version ${version}: a SUBACK that is too large for the peer is not sent, one that is too large for a slab is`, () => {
    const { outbox, flusher, writes } = recorded(version, new Flusher(), 200)
    outbox.writeReasons('suback', 10, many)
    outbox.pingresp()
    flusher.flush()
    assert.deepEqual(Buffer.concat(writes), encode({ type: 'pingresp' }, version))
    const large = recorded(version)
    const reasons = Array.from({ length: 5_000 }, (_, i) => i % 3)
    large.outbox.writeReasons('suback', 10, reasons)
    large.flusher.flush()
    assert.deepEqual(Buffer.concat(large.writes), encode(suback(10, reasons), version))
  })
}

test("connections that share slabs never see each other's bytes", () => {
  const flusher = new Flusher()
  const all = Array.from({ length: 20 }, () => recorded(4, flusher))
  const wanted = all.map(() => [] as Buffer[])
  for (let turn = 0; turn < 30; turn++) {
    for (const [i, { outbox }] of all.entries()) {
      const payload = Buffer.alloc((i * 997 + turn * 131) % 6000, i)
      outbox.publish({ topic: `t/${i}`, payload, properties: Buffer.alloc(0) }, 0, 0, undefined, [])
      wanted[i]!.push(encode(publishPacket({ topic: `t/${i}`, payload }), 4))
    }
    flusher.flush()
  }
  for (const [i, { writes }] of all.entries())
    assert.ok(Buffer.concat(writes).equals(Buffer.concat(wanted[i]!)), `connection ${i}`)
})

test('what many connections get in one turn takes memory for what it is; what one gets is one piece', () => {
  const flusher = new Flusher()
  const slabs = new Set<ArrayBufferLike>()
  const pieces: number[] = []
  const connect = (): Outbox => {
    const stream = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        slabs.add(chunk.buffer)
        pieces.push(1)
        done()
      },
      writev(chunks, done) {
        for (const { chunk } of chunks) slabs.add((chunk as Buffer).buffer)
        pieces.push(chunks.length)
        done()
      },
    })
    return new Outbox({ stream, flusher, version: 4 })
  }
  const all = Array.from({ length: 500 }, connect)
  for (let turn = 0; turn < 5; turn++) {
    for (const outbox of all) outbox.ack('puback', 1, 0)
    flusher.flush()
  }
  assert.ok(slabs.size <= 6, `${slabs.size} slabs for 500 acknowledgements in each of five turns`)
  pieces.length = 0
  const payload = Buffer.alloc(200)
  for (let i = 0; i < 100; i++)
    all[0]!.publish({ topic: 't', payload, properties: Buffer.alloc(0) }, 0, 0, undefined, [])
  flusher.flush()
  assert.ok(pieces[0]! <= 2, `${pieces[0]} pieces`)
  // Of several that get by turns each has few pieces, and one where it is little.
  for (const [each, most] of [
    [140, 1],
    [30, 2],
    [8, 1],
  ] as const)
    for (let turn = 0; turn < 3; turn++) {
      pieces.length = 0
      for (let i = 0; i < each; i++)
        for (const outbox of all.slice(0, 9))
          outbox.publish({ topic: 't', payload, properties: Buffer.alloc(0) }, 0, 0, undefined, [])
      flusher.flush()
      if (turn > 0) assert.ok(Math.max(...pieces) <= most, `${pieces.join(', ')} pieces`)
    }
})

test('publishBytes tells the length of the packet before it is written', () => {
  const { outbox, flusher, writes } = recorded(5)
  const message = { topic: 'a/b', payload: bytes('x'.repeat(130)), properties: encodeProperties({ contentType: 't' }) }
  outbox.publish(message, 2, 1, 9, [5])
  flusher.flush()
  assert.equal(outbox.publishBytes(message, 1, 9, [5]), writes[0]!.length)
})
