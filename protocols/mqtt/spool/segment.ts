/**
 * Messages at rest: what one commit brought to one queue is one segment, a blob of entries with consecutive sequence
 * numbers. So a row is written per commit and not per message. Each entry has its length and its checksum in a table
 * in front of all, so that a byte that was flipped costs the message that it is in; the table has a checksum, too, and
 * where that is broken the entries' own lengths lead from one to the next.
 *
 * Blob: format, count, checksum of both and of the table (4 bytes each), the table (length and checksum of each entry,
 * 4 bytes each), entries. Entry: flags (QoS, retain 4, expiry 8, its length 16; 1 byte), lengths of topic (2),
 * payload (4) and properties (4), [expiry in wall ms (8)], [seconds that it was given (4)], topic, payload, properties.
 *
 * Up to schema 5 a blob was one checksum of all (4 bytes), then the entries.
 */
import { crc32 } from 'node:zlib'
import { readKnownTopic } from '../codec/fields.ts'
import type { QueueEntry, StoredMessage } from '../durability.ts'
import { SHARED_BYTES } from '../shared-message.ts'
import { computeSum } from './sums.ts'

const FORMAT = 0x6d_73_67_32
const HEAD_BYTES = 12
const ROW_BYTES = 8
const OLD_HEAD_BYTES = 4
const FIXED_BYTES = 11
const RETAIN = 4
const EXPIRES = 8
const EXPIRY_SEC = 16
const NO_BYTES = new Uint8Array(0)
const FIRST_ROOM_BYTES = 4 * 1024
/** A writer that had to grow further gives its memory back. */
const MAX_KEPT_BYTES = 256 * 1024

/** Bytes of the message at rest, what limits count; exact for topics in ASCII. */
export function countEntryBytes({ topic, payload, properties, expiresAtMs, expirySec }: StoredMessage): number {
  return (
    ROW_BYTES +
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
  #at = 0
  /** Length and checksum of each entry; what stands behind them is of an earlier use. */
  readonly #table: number[] = []
  #count = 0
  /** Of several queues, each of which asks for the blob. */
  readonly isShared: boolean
  #finished: Buffer | undefined

  constructor(use?: 'shared') {
    this.isShared = use === 'shared'
  }

  get count(): number {
    return this.#count
  }
  /** What it adds to a blob. */
  get bytes(): number {
    return this.#at + this.#count * ROW_BYTES
  }

  add(message: StoredMessage): void {
    this.#buf = roomyBuffer(this.#buf, this.#at, message)
    const from = this.#at
    this.#at = writeEntry(this.#buf, from, message)
    const row = this.#count++ * 2
    this.#table[row] = this.#at - from
    this.#table[row + 1] = computeSum(this.#buf, from, this.#at)
  }
  /**
   * @param before blob of a segment of this format, whose entries come first, because the new one replaces it
   * @returns the blob, with a buffer of its own and of its size
   */
  finish(before?: Buffer): Buffer {
    if (this.#finished) return this.#finished
    const earlier = before ? countOf(before) : 0
    const earlierEnd = HEAD_BYTES + earlier * ROW_BYTES
    const length = before?.length ?? HEAD_BYTES
    const blob = Buffer.allocUnsafeSlow(length + this.bytes)
    let at = HEAD_BYTES
    if (before) at += before.copy(blob, at, HEAD_BYTES, earlierEnd)
    for (let i = 0; i < this.#count * 2; i++) at = writeU32(blob, at, this.#table[i]!)
    if (before) at += before.copy(blob, at, earlierEnd)
    this.#buf.copy(blob, at, 0, this.#at)
    blob.writeUInt32BE(FORMAT, 0)
    blob.writeUInt32BE(earlier + this.#count, 4)
    blob.writeUInt32BE(headSum(blob, earlier + this.#count), 8)
    if (this.isShared) this.#finished = blob
    return blob
  }
  /** Empty again. @returns whether it is worth keeping */
  reset(): boolean {
    this.#at = 0
    this.#count = 0
    return this.#buf.length <= MAX_KEPT_BYTES
  }
}

/** As writeUInt32BE, which would be given a number beyond 2³¹ as an object, twice for each message. */
function writeU32(buf: Buffer, at: number, value: number): number {
  buf[at] = value >>> 24
  buf[at + 1] = value >>> 16
  buf[at + 2] = value >>> 8
  buf[at + 3] = value
  return at + 4
}

/** One with room for the message behind what is used. */
function roomyBuffer(buf: Buffer, used: number, { topic, payload, properties }: StoredMessage): Buffer {
  const bytes = used + HEAD_BYTES + ROW_BYTES + FIXED_BYTES + 12 + topic.length * 3 + payload.length + properties.length
  if (bytes <= buf.length) return buf
  const bigger = Buffer.allocUnsafeSlow(Math.max(buf.length * 4, bytes))
  buf.copy(bigger, 0, 0, used)
  return bigger
}
/** @returns where it ends */
function writeEntry(buf: Buffer, from: number, message: StoredMessage): number {
  const { topic, payload, qos, retain, properties, expiresAtMs, expirySec } = message
  let at = from + FIXED_BYTES
  buf[from] =
    qos | (retain ? RETAIN : 0) | (expiresAtMs === undefined ? 0 : EXPIRES) | (expirySec === undefined ? 0 : EXPIRY_SEC)
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
  return at
}

const countOf = (blob: Buffer): number => blob.readUInt32BE(4)
/** Of the count and the table. */
const headSum = (blob: Buffer, count: number): number =>
  computeSum(blob, HEAD_BYTES, HEAD_BYTES + count * ROW_BYTES, count)
/** Of all that is in it. @param blob of the current format */
export const readSegmentSum = (blob: Buffer): number => blob.readUInt32BE(8)
/** Of how many messages it says that it is; 1 where it says nothing. */
export const countIn = (blob: Uint8Array): number =>
  blob.length < HEAD_BYTES ? 1 : countOf(Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength))
/** Whether a segment that replaces it can have its entries as they are. */
export const isCurrentFormat = (blob: Buffer): boolean => blob.length >= HEAD_BYTES && blob.readUInt32BE(0) === FORMAT

type Group = { readonly blob: Buffer; size: number; /** Of the row that has it. */ id: number | undefined }
/** Of puts whose blob is large and another's, too: what they have in common. */
export function findSameBlobs<P extends { readonly blob: Buffer }>(puts: readonly P[]): Map<P, Group> {
  const known = new Map<string, Group>()
  const groups = new Map<P, Group>()
  for (const put of puts) {
    const { blob } = put
    if (blob.length < SHARED_BYTES) continue
    const key = `${blob.length}/${readSegmentSum(blob)}`
    const group = known.get(key)
    if (!group) {
      const made = { blob, size: 1, id: undefined }
      known.set(key, made)
      groups.set(put, made)
      continue
    }
    if (group.blob !== blob && !group.blob.equals(blob)) continue
    group.size++
    groups.set(put, group)
  }
  for (const [put, { size }] of groups) if (size === 1) groups.delete(put)
  return groups
}

/** Blobs of one message each, for tables that hold single ones, one behind the other. */
export class SinglesWriter {
  #buf: Buffer = Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES)
  #at = 0

  get bytes(): number {
    return this.#at
  }
  /** @returns the bytes of the blob */
  add(message: StoredMessage): number {
    const buf = (this.#buf = roomyBuffer(this.#buf, this.#at, message))
    const from = this.#at
    const tableAt = from + HEAD_BYTES
    const entryAt = tableAt + ROW_BYTES
    this.#at = writeEntry(buf, entryAt, message)
    buf.writeUInt32BE(FORMAT, from)
    buf.writeUInt32BE(1, from + 4)
    buf.writeUInt32BE(this.#at - entryAt, tableAt)
    buf.writeUInt32BE(computeSum(buf, entryAt, this.#at), tableAt + 4)
    buf.writeUInt32BE(computeSum(buf, tableAt, entryAt, 1), from + 8)
    return this.#at - from
  }
  /** A copy of all, and it is empty again. */
  take(): Buffer {
    const all = Buffer.allocUnsafeSlow(this.#at)
    this.#buf.copy(all, 0, 0, this.#at)
    this.#at = 0
    if (this.#buf.length > MAX_KEPT_BYTES) this.#buf = Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES)
    return all
  }
}

export function encodeOne(message: StoredMessage): Buffer {
  const writer = (oneWriter ??= new SinglesWriter())
  writer.add(message)
  return writer.take()
}
let oneWriter: SinglesWriter | undefined
export function decodeOne(blob: Uint8Array): StoredMessage | undefined {
  return decodeSegment(blob, 1, 1)?.[0]?.message
}

/** In the order of their numbers; undefined: that message is damaged. */
export type Entries = readonly (QueueEntry | undefined)[]
/** Undefined: nothing of the segment can be read. Payloads are views of `blob`. */
export function decodeSegment(blob: Uint8Array, firstSeq: number, lastSeq: number): Entries | undefined {
  const buf = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength)
  const places = findPlaces(buf, lastSeq - firstSeq + 1)
  return places?.map((at, i) => (at === DAMAGED ? undefined : decodeEntry(buf, at, firstSeq + i)))
}

/** Where each entry of a blob begins, in the order of their numbers, or DAMAGED. */
export type Places = readonly number[]
export const DAMAGED = 0

/** By the checksums. Undefined: nothing of the segment can be read. */
export function findPlaces(buf: Buffer, count: number): Places | undefined {
  if (!isCurrentFormat(buf)) {
    const old = findOldPlaces(buf)
    if (old) return old.length === count ? old : undefined
  }
  if (count < 1 || HEAD_BYTES + count * ROW_BYTES > buf.length) return undefined
  const isHeadWhole = countOf(buf) === count && headSum(buf, count) === buf.readUInt32BE(8)
  const places: number[] = []
  let found = 0
  for (let i = 0, at = HEAD_BYTES + count * ROW_BYTES; i < count; i++) {
    const row = HEAD_BYTES + i * ROW_BYTES
    const sum = buf.readUInt32BE(row + 4)
    const ownEnd = entryEnd(buf, at)
    const tableEnd = at + buf.readUInt32BE(row)
    const end = hasSum(buf, at, tableEnd, sum) ? tableEnd : hasSum(buf, at, ownEnd, sum) ? ownEnd : undefined
    const isWhole = end === ownEnd
    places.push(isWhole ? at : DAMAGED)
    if (isWhole) found++
    at = end ?? (isHeadWhole ? tableEnd : ownEnd)
  }
  return found > 0 ? places : undefined
}

function hasSum(buf: Buffer, at: number, to: number, sum: number): boolean {
  return to > at && to <= buf.length && computeSum(buf, at, to) === sum
}

/** Of a blob that this process has made: no checksum is asked for. */
export function findOwnPlaces(blob: Buffer, count: number): Places {
  const places: number[] = []
  let at = HEAD_BYTES + count * ROW_BYTES
  for (let i = 0; i < count; i++) {
    places.push(at)
    at += blob.readUInt32BE(HEAD_BYTES + i * ROW_BYTES)
  }
  return places
}

/** Where the entry ends by its own lengths, which may be behind the end of all. */
function entryEnd(buf: Buffer, at: number): number {
  if (at + FIXED_BYTES > buf.length) return buf.length + 1
  const flags = buf[at]!
  const extras = ((flags & EXPIRES) === 0 ? 0 : 8) + ((flags & EXPIRY_SEC) === 0 ? 0 : 4)
  return at + FIXED_BYTES + extras + buf.readUInt16BE(at + 1) + buf.readUInt32BE(at + 3) + buf.readUInt32BE(at + 7)
}

/** @param at of an entry that ends within the blob */
export function decodeEntry(buf: Buffer, at: number, seq: number): QueueEntry {
  const flags = buf[at]!
  const propertyBytes = buf.readUInt32BE(at + 7)
  const expires = (flags & EXPIRES) !== 0
  const secAt = at + FIXED_BYTES + (expires ? 8 : 0)
  const hasSec = (flags & EXPIRY_SEC) !== 0
  const topicAt = secAt + (hasSec ? 4 : 0)
  const payloadAt = topicAt + buf.readUInt16BE(at + 1)
  const propertiesAt = payloadAt + buf.readUInt32BE(at + 3)
  const message: StoredMessage = {
    topic: readKnownTopic(buf, topicAt, payloadAt),
    // As Reader.rest() makes it, for the same reason.
    payload: new Uint8Array(buf.buffer, buf.byteOffset + payloadAt, propertiesAt - payloadAt),
    qos: (flags & 3) as 0 | 1 | 2,
    retain: (flags & RETAIN) !== 0,
    properties: propertyBytes === 0 ? NO_BYTES : buf.subarray(propertiesAt, propertiesAt + propertyBytes),
    expiresAtMs: expires ? buf.readDoubleBE(at + FIXED_BYTES) : undefined,
  }
  return {
    seq,
    message: hasSec ? { ...message, expirySec: buf.readUInt32BE(secAt) } : message,
    released: false,
  }
}

/** All or nothing. */
function findOldPlaces(buf: Buffer): Places | undefined {
  if (buf.length < OLD_HEAD_BYTES || crc32(buf.subarray(OLD_HEAD_BYTES)) !== buf.readUInt32BE(0)) return undefined
  const places: number[] = []
  for (let at = OLD_HEAD_BYTES; at < buf.length;) {
    const end = entryEnd(buf, at)
    if (end > buf.length) return undefined
    places.push(at)
    at = end
  }
  return places
}
