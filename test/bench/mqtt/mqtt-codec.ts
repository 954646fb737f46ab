/**
 * How many nanoseconds does one PUBLISH cost in the codec? Parse: chunks of 64 KiB as a socket gives them; encode: into
 * the outbox, flushed every 200 packets. Payload 256 bytes, 20 topics. One JSON line per case.
 */
import { Duplex } from 'node:stream'
import { encode, publishPacket } from '../../../protocols/mqtt/codec/encode.ts'
import { Flusher } from '../../../protocols/mqtt/codec/flusher.ts'
import { Outbox } from '../../../protocols/mqtt/codec/outbox.ts'
import type { Version } from '../../../protocols/mqtt/codec/packet.ts'
import { PacketParser } from '../../../protocols/mqtt/codec/parser.ts'
import { encodeProperties } from '../../../protocols/mqtt/codec/properties.ts'

const CHUNK_BYTES = 64 * 1024
const COUNT = 20_000
const ROUNDS = 25
let sink = 0

function best(work: () => void): number {
  let least = Infinity
  for (let i = 0; i < ROUNDS; i++) {
    const start = performance.now()
    work()
    least = Math.min(least, performance.now() - start)
  }
  return Number(((least * 1e6) / COUNT).toFixed(0))
}

for (const { name, version, qos, properties } of [
  { name: '3.1.1 QoS 0', version: 4 as Version, qos: 0 as const, properties: Buffer.alloc(0) },
  { name: '5.0 QoS 1', version: 5 as Version, qos: 1 as const, properties: Buffer.alloc(0) },
  {
    name: '5.0 QoS 1, two properties',
    version: 5 as Version,
    qos: 1 as const,
    properties: Buffer.from(encodeProperties({ contentType: 'application/json', userProperties: [['line', '4']] })),
  },
]) {
  const messages = Array.from({ length: COUNT }, (_, i) =>
    publishPacket({
      topic: `site/line-${i % 20}/press/temperature`,
      payload: Buffer.alloc(256, i),
      qos,
      packetId: qos && (i % 65_535) + 1,
      properties,
    }),
  )
  const bytes = Buffer.concat(messages.map((m) => encode(m, version)))
  const parseNs = best(() => {
    const parser = new PacketParser({ maxPacketBytes: 1024 * 1024, side: 'server', version })
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      parser.push(bytes.subarray(at, at + CHUNK_BYTES))
      for (let packet = parser.next(); packet; packet = parser.next())
        if (packet.type === 'publish') sink += packet.payload.length
    }
  })
  const flusher = new Flusher()
  const stream = new Duplex({
    read() {},
    highWaterMark: 1 << 30,
    write(chunk: Buffer, _e, done) {
      sink += chunk.length
      done()
    },
    writev(chunks, done) {
      sink += chunks.length
      done()
    },
  })
  const outbox = new Outbox({ stream, flusher, version })
  const encodeNs = best(() => {
    for (const [i, m] of messages.entries()) {
      outbox.publish(m, m.qos << 1, m.packetId, undefined, m.subscriptionIds)
      if (i % 200 === 0) flusher.flush()
    }
    flusher.flush()
  })
  const ackNs = best(() => {
    for (let i = 1; i <= COUNT; i++) {
      outbox.ack('puback', i, 0)
      if (i % 200 === 0) flusher.flush()
    }
    flusher.flush()
  })
  console.log(JSON.stringify({ bench: 'mqtt.codec', case: name, parseNs, encodeNs, ackNs, sink: sink > 0 }))
}
