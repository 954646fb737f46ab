/**
 * Messages at rest: what one commit brought to one queue is one segment, a blob of entries with consecutive sequence
 * numbers behind a checksum. So a row is written per commit and not per message.
 *
 * Entry: flags (QoS, retain 4, expiry 8, its length 16; 1 byte), lengths of topic (2), payload (4) and properties (4),
 * [expiry in wall ms (8)], [seconds that it was given (4)], topic, payload, properties.
 */
import { crc32 } from 'node:zlib'
import type { QueueEntry, StoredMessage } from '../durability.ts'

const HEAD_BYTES = 4
const FIXED_BYTES = 11
const RETAIN = 4
const EXPIRES = 8
const EXPIRY_SEC = 16
const NO_BYTES = new Uint8Array(0)
const FIRST_ROOM_BYTES = 4 * 1024
/** A writer that had to grow further gives its memory back. */
const MAX_KEPT_BYTES = 256 * 1024

/** Bytes of the message at rest, what limits count; exact for topics in ASCII. */
export function entryBytes({ topic, payload, properties, expiresAtMs, expirySec }: StoredMessage): number {
  return (
    FIXED_BYTES +
    (expiresAtMs === undefined ? 0 : 8) +
    (expirySec === undefined ? 0 : 4) +
    topic.length +
    payload.length +
    properties.length
  )
}

/** Gathers the entries of a segment to be. What was added does not hold the message's own memory. */
export class SegmentWriter {
  #buf: Buffer = Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES)
  #at = HEAD_BYTES
  /** Of several queues, each of which asks for the blob. */
  readonly isShared: boolean
  #finished: Buffer | undefined
  count = 0

  constructor(use?: 'shared') {
    this.isShared = use === 'shared'
  }

  get bytes(): number {
    return this.#at - HEAD_BYTES
  }

  add({ topic, payload, qos, retain, properties, expiresAtMs, expirySec }: StoredMessage): void {
    this.#room(FIXED_BYTES + 12 + topic.length * 3 + payload.length + properties.length)
    const buf = this.#buf
    const from = this.#at
    let at = from + FIXED_BYTES
    buf[from] =
      qos |
      (retain ? RETAIN : 0) |
      (expiresAtMs === undefined ? 0 : EXPIRES) |
      (expirySec === undefined ? 0 : EXPIRY_SEC)
    if (expiresAtMs !== undefined) at = buf.writeDoubleBE(expiresAtMs, at)
    if (expirySec !== undefined) at = buf.writeUInt32BE(expirySec, at)
    const topicBytes = buf.write(topic, at)
    at += topicBytes
    buf.set(payload, at)
    at += payload.length
    if (properties.length > 0) {
      buf.set(properties, at)
      at += properties.length
    }
    buf.writeUInt16BE(topicBytes, from + 1)
    buf.writeUInt32BE(payload.length, from + 3)
    buf.writeUInt32BE(properties.length, from + 7)
    this.#at = at
    this.count++
  }
  /**
   * @param before blob of a segment whose entries come first, because the new one replaces it
   * @returns the blob, with a buffer of its own and of its size
   */
  finish(before?: Uint8Array): Buffer {
    if (this.#finished) return this.#finished
    const from = before?.length ?? HEAD_BYTES
    const blob = Buffer.allocUnsafeSlow(from + this.bytes)
    if (before) blob.set(before)
    this.#buf.copy(blob, from, HEAD_BYTES, this.#at)
    blob.writeUInt32BE(crc32(blob.subarray(HEAD_BYTES)), 0)
    if (this.isShared) this.#finished = blob
    return blob
  }
  /** Empty again. @returns whether it is worth keeping */
  reset(): boolean {
    this.#at = HEAD_BYTES
    this.count = 0
    return this.#buf.length <= MAX_KEPT_BYTES
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buf.length) return
    const bigger = Buffer.allocUnsafeSlow(Math.max(this.#buf.length * 4, this.#at + bytes))
    this.#buf.copy(bigger, 0, 0, this.#at)
    this.#buf = bigger
  }
}

/** One message as a blob, for tables that hold single ones. */
export function encodeOne(message: StoredMessage): Buffer {
  oneWriter ??= new SegmentWriter()
  oneWriter.add(message)
  const blob = oneWriter.finish()
  if (!oneWriter.reset()) oneWriter = undefined
  return blob
}
let oneWriter: SegmentWriter | undefined
export function decodeOne(blob: Uint8Array): StoredMessage | undefined {
  return decodeSegment(blob, 1, 1)?.[0]?.message
}

/** Undefined: the segment is damaged. Payloads are views of `blob`. */
export function decodeSegment(blob: Uint8Array, firstSeq: number, lastSeq: number): QueueEntry[] | undefined {
  const buf = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength)
  const end = buf.length
  if (end < HEAD_BYTES || crc32(buf.subarray(HEAD_BYTES)) !== buf.readUInt32BE(0)) return undefined
  const entries: QueueEntry[] = []
  for (let at = HEAD_BYTES; at < end;) {
    if (at + FIXED_BYTES > end) return undefined
    const flags = buf[at]!
    const topicBytes = buf.readUInt16BE(at + 1)
    const payloadBytes = buf.readUInt32BE(at + 3)
    const propertyBytes = buf.readUInt32BE(at + 7)
    const expires = (flags & EXPIRES) !== 0
    const secAt = at + FIXED_BYTES + (expires ? 8 : 0)
    const hasSec = (flags & EXPIRY_SEC) !== 0
    const topicAt = secAt + (hasSec ? 4 : 0)
    const payloadAt = topicAt + topicBytes
    const propertiesAt = payloadAt + payloadBytes
    const next = propertiesAt + propertyBytes
    if (next > end) return undefined
    const message: StoredMessage = {
      topic: buf.toString('utf8', topicAt, payloadAt),
      payload: buf.subarray(payloadAt, propertiesAt),
      qos: (flags & 3) as 0 | 1 | 2,
      retain: (flags & RETAIN) !== 0,
      properties: propertyBytes === 0 ? NO_BYTES : buf.subarray(propertiesAt, next),
      expiresAtMs: expires ? buf.readDoubleBE(at + FIXED_BYTES) : undefined,
    }
    entries.push({
      seq: firstSeq + entries.length,
      message: hasSec ? { ...message, expirySec: buf.readUInt32BE(secAt) } : message,
      released: false,
    })
    at = next
  }
  return entries.length === lastSeq - firstSeq + 1 ? entries : undefined
}
