/**
 * Messages at rest: what one commit brought to one queue is one segment, a blob of entries with consecutive sequence numbers and a checksum.
 * So a row is written per commit and not per message.
 *
 * Entry: flags (1: qos, retain 4, expiry 8), topic length (2), payload length (4), properties length (4), [expiry in wall ms (8)], topic, payload, properties.
 */
import { crc32 } from 'node:zlib'
import type { QueueEntry, StoredMessage } from '../durability.ts'

const FIXED_BYTES = 11
const RETAIN = 4
const EXPIRES = 8

/** Bytes of the message at rest, what limits count. */
export function entryBytes({ topic, payload, properties, expiresAtMs }: StoredMessage): number {
  return FIXED_BYTES + (expiresAtMs === undefined ? 0 : 8) + Buffer.byteLength(topic) + payload.length + properties.length
}

/** @param bytes sum of entryBytes of the messages */
export function encodeSegment(messages: readonly StoredMessage[], bytes: number): Buffer {
  const out = Buffer.allocUnsafe(bytes + 4)
  let at = 4
  for (const m of messages) {
    out[at] = m.qos | (m.retain ? RETAIN : 0) | (m.expiresAtMs === undefined ? 0 : EXPIRES)
    const lengthsAt = at + 1
    at += FIXED_BYTES
    if (m.expiresAtMs !== undefined) at = out.writeDoubleBE(m.expiresAtMs, at)
    const topicBytes = out.write(m.topic, at)
    out.writeUInt16BE(topicBytes, lengthsAt)
    out.writeUInt32BE(m.payload.length, lengthsAt + 2)
    out.writeUInt32BE(m.properties.length, lengthsAt + 6)
    at += topicBytes
    out.set(m.payload, at)
    at += m.payload.length
    if (m.properties.length > 0) out.set(m.properties, at)
    at += m.properties.length
  }
  out.writeUInt32BE(crc32(out.subarray(4)), 0)
  return out
}

/** Undefined: the segment is damaged. Payloads are views into `data`. */
export function decodeSegment(data: Uint8Array, firstSeq: number): StoredMessage[] | undefined {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (bytes.length < 4 || crc32(bytes.subarray(4)) !== bytes.readUInt32BE(0) || firstSeq < 1) return undefined
  const messages: StoredMessage[] = []
  for (let at = 4; at < bytes.length;) {
    if (at + FIXED_BYTES > bytes.length) return undefined
    const flags = bytes[at]!
    const topicBytes = bytes.readUInt16BE(at + 1)
    const payloadBytes = bytes.readUInt32BE(at + 3)
    const propertyBytes = bytes.readUInt32BE(at + 7)
    at += FIXED_BYTES
    const expires = (flags & EXPIRES) !== 0
    if (at + (expires ? 8 : 0) + topicBytes + payloadBytes + propertyBytes > bytes.length) return undefined
    const expiresAtMs = expires ? bytes.readDoubleBE(at) : undefined
    if (expires) at += 8
    const topic = bytes.toString('utf8', at, at += topicBytes)
    const payload = bytes.subarray(at, at += payloadBytes)
    const properties = bytes.subarray(at, at += propertyBytes)
    messages.push({ topic, payload, qos: (flags & 3) as 0 | 1 | 2, retain: (flags & RETAIN) !== 0, properties, expiresAtMs })
  }
  return messages
}

export function entriesOf(messages: readonly StoredMessage[], firstSeq: number, released: ReadonlySet<number>): QueueEntry[] {
  return messages.map((message, i) => ({ seq: firstSeq + i, message, released: released.has(firstSeq + i) }))
}
