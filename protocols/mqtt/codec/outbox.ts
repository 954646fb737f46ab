/**
 * The write side of one connection. The packets of one turn of the event loop are written one behind the other into a
 * slab, which all connections share, each in regions of its own, and leave with one write (slabs.ts, flusher.ts).
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { memoizeTexts } from '../../../core/memoize.ts'
import type { Cell } from '../../../core/metrics.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { copyToOwnMemory } from '../../../core/runtime/own-memory.ts'
import { countVarIntBytes, writeVarInt } from './bytes.ts'
import { type AckType, type Packet, type Qos, TYPE, type Version } from './packet.ts'
import { encode } from './encode.ts'
import { NO_PROPERTIES } from './properties.ts'
import type { Flusher } from './flusher.ts'
import { hasRoom, type Region, releaseRest, SLAB_BYTES } from './slabs.ts'

/** Larger payloads are not copied but written as they are, behind their header. */
const COPY_BYTES = 4 * 1024
const MAX_ACK_BYTES = 5
const PINGRESP_BYTES = 2
/** Room for some acknowledgements. */
const LEAST_REGION_BYTES = 64
/** Pieces of so many bytes together are copied into one: a piece of its own in a write costs more. */
const JOINED_BYTES = 8 * 1024

/** Topics recur; the bytes of the last ones are kept. */
const MAX_TOPICS = 1024
const MAX_TOPIC_BYTES = 256
const findBytes = memoizeTexts<Uint8Array>((topic) => Buffer.from(topic), {
  most: MAX_TOPICS,
  keeps: (_, { length }) => length <= MAX_TOPIC_BYTES,
})
/** A message goes to many, and a publisher has much to say of one topic. */
let lastTopic = ''
let lastBytes: Uint8Array = Buffer.alloc(0)
function bytesOf(topic: string): Uint8Array {
  if (topic === lastTopic) return lastBytes
  lastTopic = topic
  return (lastBytes = findBytes(topic))
}

export type Outgoing = { readonly topic: string; readonly payload: Uint8Array; readonly properties: Uint8Array }

export interface OutboxOwner {
  /** They go to the socket. */
  noteBytes(bytes: number): void
  /** A packet was not sent, for the peer takes none of its size. */
  noteTooLarge(type: Packet['type']): void
}

export class Outbox {
  readonly #stream: Duplex
  readonly #flusher: Flusher
  readonly #version: Version
  readonly #owner: OutboxOwner | undefined
  #region: Region | undefined
  /** Of this turn, before it. */
  #fullRegions: Region[] = []
  /** Where in the region that begins which the socket has not got yet. */
  #from = 0
  /** Of the next region: what usually goes in a turn, or several times the bytes of the region before. */
  #wantedBytes = LEAST_REGION_BYTES
  #usualBytes = LEAST_REGION_BYTES
  /** Finished pieces that go before it. */
  #pieces: Uint8Array[] = []
  #pieceBytes = 0
  #queued = false
  /** Something else than messages is in it. */
  #isUrgent = false
  readonly #budget: MemoryBudget | undefined
  readonly #maxPacketBytes: number
  readonly #sent: Readonly<Partial<Record<Packet['type'], Cell>>> | undefined
  /** Of the stream's bytes, against the budget. */
  #counted = 0
  #isOver = false

  constructor(p: {
    stream: Duplex
    flusher: Flusher
    version: Version
    owner?: OutboxOwner
    budget?: MemoryBudget
    /** Largest packet that the peer accepts [MQTT-3.1.2-24]. The caller checks PUBLISH. */
    maxPacketBytes?: number
    /** Packets that were sent, by type; of PUBLISH the caller knows. */
    sent?: Readonly<Partial<Record<Packet['type'], Cell>>>
  }) {
    this.#sent = p.sent
    this.#stream = p.stream
    this.#flusher = p.flusher
    this.#version = p.version
    this.#owner = p.owner
    this.#budget = p.budget
    this.#maxPacketBytes = p.maxPacketBytes ?? Infinity
  }

  /** Bytes that the peer's kernel has not got: ours and the stream's. */
  get pendingBytes(): number {
    return this.#stream.writableLength + this.#gatheredBytes
  }
  get #gatheredBytes(): number {
    return this.#pieceBytes + (this.#region ? this.#region.at - this.#from : 0)
  }
  /** With more in it a write would cost less for each. */
  get mayGather(): boolean {
    return !this.#isUrgent && this.#gatheredBytes < SLAB_BYTES
  }
  /**
   * The packets of its connection are taken further in the next turn: until then what it has been answered may wait,
   * and so may messages for others.
   */
  noteInterrupted(): void {
    this.#isUrgent = false
    this.#flusher.noteInterrupted()
  }

  /** Length of the PUBLISH that publish() would write, fixed header included. */
  publishBytes(m: Outgoing, qos: Qos, expirySec: number | undefined, ids: readonly number[]): number {
    const length = this.#bodyBytes(m, bytesOf(m.topic).length, qos, expirySec, ids)
    return 1 + countVarIntBytes(length) + length
  }

  #bodyBytes(
    m: Outgoing,
    topicLength: number,
    qos: Qos,
    expirySec: number | undefined,
    ids: readonly number[],
  ): number {
    let length = 2 + topicLength + (qos === 0 ? 0 : 2) + m.payload.length
    if (this.#version === 5) {
      const own = ownPropertyBytes(m.properties, expirySec, ids)
      length += countVarIntBytes(own) + own
    }
    return length
  }

  /**
   * @param flags those of the fixed header (publishFlags). `expirySec` and `ids` are not for 3.1.1, which has no
   * properties.
   */
  publish(m: Outgoing, flags: number, packetId: number, expirySec: number | undefined, ids: readonly number[]): void {
    const qos = ((flags >> 1) & 3) as Qos
    const topic = bytesOf(m.topic)
    const length = this.#bodyBytes(m, topic.length, qos, expirySec, ids)
    const { payload } = m
    const inline = payload.length <= COPY_BYTES
    const region = this.#room(5 + (inline ? length : length - payload.length))
    const { buf } = region
    let { at } = region
    buf[at++] = TYPE.publish | flags
    at = writeVarInt(buf, at, length)
    buf[at++] = topic.length >> 8
    buf[at++] = topic.length & 0xff
    buf.set(topic, at)
    at += topic.length
    if (qos > 0) {
      buf[at++] = packetId >> 8
      buf[at++] = packetId & 0xff
    }
    if (this.#version === 5) at = writeOwnProperties(buf, at, m.properties, expirySec, ids)
    if (inline) {
      buf.set(payload, at)
      region.at = at + payload.length
      return
    }
    region.at = at
    this.#cut()
    this.#piece(payload)
  }

  /** PUBACK, PUBREC, PUBREL, PUBCOMP. A reason that is 0 or not known to 3.1.1 is left out. */
  ack(type: AckType, packetId: number, reason: number): void {
    if (this.#maxPacketBytes < MAX_ACK_BYTES) {
      this.writePacket({ type, packetId, reason, properties: NO_PROPERTIES })
      return
    }
    this.#count(type)
    const region = this.#room(MAX_ACK_BYTES)
    const { buf } = region
    let { at } = region
    const withReason = reason !== 0 && this.#version === 5
    buf[at++] = TYPE[type] | (type === 'pubrel' ? 2 : 0)
    buf[at++] = withReason ? 3 : 2
    buf[at++] = packetId >> 8
    buf[at++] = packetId & 0xff
    if (withReason) buf[at++] = reason
    region.at = at
  }

  /** A peer may ask for as many as it has bytes for, so that each must cost next to nothing. */
  pingresp(): void {
    if (this.#maxPacketBytes < PINGRESP_BYTES) {
      this.writePacket({ type: 'pingresp' })
      return
    }
    this.#count('pingresp')
    const region = this.#room(PINGRESP_BYTES)
    region.buf[region.at++] = TYPE.pingresp
    region.buf[region.at++] = 0
  }

  /** SUBACK and UNSUBACK without properties; a reason that 3.1.1 does not know is a failure to it. */
  writeReasons(type: 'suback' | 'unsuback', packetId: number, reasons: readonly number[]): void {
    const isV5 = this.#version === 5
    const known = isV5 || type === 'suback' ? reasons : []
    const length = 2 + (isV5 ? 1 : 0) + known.length
    const bytes = 1 + countVarIntBytes(length) + length
    if (bytes > this.#maxPacketBytes || bytes > COPY_BYTES) {
      this.writePacket({ type, packetId, reasons: known.map((one) => this.#known(one)), properties: NO_PROPERTIES })
      return
    }
    this.#count(type)
    const region = this.#room(bytes)
    const { buf } = region
    let { at } = region
    buf[at++] = TYPE[type]
    at = writeVarInt(buf, at, length)
    buf[at++] = packetId >> 8
    buf[at++] = packetId & 0xff
    if (isV5) buf[at++] = 0
    for (const one of known) buf[at++] = this.#known(one)
    region.at = at
  }
  #known(reason: number): number {
    return reason > 2 && this.#version === 4 ? 0x80 : reason
  }

  writePacket(packet: Packet): void {
    const bytes = encode(packet, this.#version)
    if (bytes.length > this.#maxPacketBytes) {
      this.#owner?.noteTooLarge(packet.type)
      return
    }
    this.#count(packet.type)
    if (bytes.length > COPY_BYTES) {
      this.#markDirty()
      this.#cut()
      this.#piece(bytes)
      return
    }
    const region = this.#room(bytes.length)
    region.buf.set(bytes, region.at)
    region.at += bytes.length
  }

  #count(type: Packet['type']): void {
    this.#isUrgent = true
    const cell = this.#sent?.[type]
    if (cell) cell.value++
  }

  destroy(): void {
    this.#stream.destroy()
  }

  /** Gives the socket what has gathered. Does nothing on a stream that is over. */
  flush(): void {
    this.#queued = false
    this.#isUrgent = false
    // Most have one piece, and make no list for it.
    const only = this.#pieces.length === 0 ? this.#takeWritten() : undefined
    this.#cut()
    if (this.#region) releaseRest(this.#region)
    const isTaken = (!only && this.#pieces.length === 0) || this.#write(only)
    this.#releaseRegions(isTaken)
  }
  #releaseRegions(isTaken: boolean): void {
    const { slabs } = this.#flusher
    if (this.#region) slabs.release(this.#region, isTaken)
    this.#region = undefined
    for (let region = this.#fullRegions.pop(); region; region = this.#fullRegions.pop()) slabs.release(region, isTaken)
  }
  /** @param only instead of pieces @returns whether nobody has the bytes any more */
  #write(only: Uint8Array | undefined): boolean {
    const pieces = this.#pieces
    const bytes = only?.length ?? this.#pieceBytes
    this.#pieceBytes = 0
    this.#usualBytes = Math.max(LEAST_REGION_BYTES, this.#usualBytes >> 1, Math.min(bytes, SLAB_BYTES))
    this.#wantedBytes = this.#usualBytes
    if (pieces.length > 0) this.#pieces = []
    if (this.#stream.destroyed || this.#stream.writableEnded) return true
    this.#owner?.noteBytes(bytes)
    // What waits in the stream would keep the slab, and with it what has long been sent to others.
    const isBehind = this.#stream.writableLength > 0
    const whole = only ?? (pieces.length === 1 ? pieces[0] : this.#joinSmall(pieces, bytes))
    if (whole) this.#stream.write(isBehind ? apart(whole) : whole)
    else {
      this.#stream.cork()
      for (const piece of pieces) this.#stream.write(isBehind ? apart(piece) : piece)
      this.#stream.uncork()
    }
    this.recount()
    // The kernel has copied them; other streams may tell earlier that they have taken something.
    return this.#stream.writableLength === 0 && this.#stream instanceof Socket
  }

  get countedBytes(): number {
    return this.#counted
  }
  /**
   * What the stream holds counts against the memory budget: looked at when something was written, and when it has
   * drained.
   */
  recount(): void {
    const bytes = this.#isOver ? 0 : this.#stream.writableLength
    if (bytes === this.#counted) return
    this.#budget?.take(bytes - this.#counted)
    this.#counted = bytes
  }
  /** The stream is closed. */
  end(): void {
    this.#isOver = true
    this.recount()
  }

  #markDirty(): void {
    if (this.#queued) return
    this.#queued = true
    this.#flusher.add(this)
  }

  #room(bytes: number): Region {
    this.#markDirty()
    if (this.#region && hasRoom(this.#region, bytes)) return this.#region
    this.#cut()
    if (this.#region) {
      releaseRest(this.#region)
      this.#fullRegions.push(this.#region)
    }
    const region = this.#flusher.slabs.takeRegion(bytes, this.#wantedBytes)
    this.#wantedBytes = Math.min(4 * (region.end - region.at), SLAB_BYTES)
    this.#region = region
    this.#from = region.at
    return region
  }

  #cut(): void {
    const written = this.#takeWritten()
    if (written) this.#piece(written)
  }
  /** @returns what stands in the region and the socket has not got */
  #takeWritten(): Uint8Array | undefined {
    const region = this.#region
    if (!region || region.at === this.#from) return undefined
    const from = this.#from
    this.#from = region.at
    return region.buf.subarray(from, region.at)
  }

  #joinSmall(pieces: readonly Uint8Array[], bytes: number): Uint8Array | undefined {
    if (bytes > JOINED_BYTES) return undefined
    const region = this.#flusher.slabs.takeRegion(bytes, bytes)
    this.#fullRegions.push(region)
    const { buf, at, end } = region
    let to = at
    for (const piece of pieces) {
      buf.set(piece, to)
      to += piece.length
    }
    return buf.subarray(at, end)
  }
  #piece(bytes: Uint8Array): void {
    this.#pieces.push(bytes)
    this.#pieceBytes += bytes.length
  }
}

/** A piece of a slab in memory of its own; large payloads stay what they are, and are shared. */
function apart(piece: Uint8Array): Uint8Array {
  if (piece.byteLength * 2 > piece.buffer.byteLength || piece.buffer.byteLength > SLAB_BYTES) return piece
  return copyToOwnMemory(piece)
}

function ownPropertyBytes(forwarded: Uint8Array, expirySec: number | undefined, ids: readonly number[]): number {
  let bytes = forwarded.length + (expirySec === undefined ? 0 : 5)
  for (const id of ids) bytes += 1 + countVarIntBytes(id)
  return bytes
}

function writeOwnProperties(
  buf: Buffer,
  from: number,
  forwarded: Uint8Array,
  expirySec: number | undefined,
  ids: readonly number[],
): number {
  let at = writeVarInt(buf, from, ownPropertyBytes(forwarded, expirySec, ids))
  if (expirySec !== undefined) {
    buf[at++] = 0x02
    at = buf.writeUInt32BE(expirySec, at)
  }
  for (const id of ids) {
    buf[at++] = 0x0b
    at = writeVarInt(buf, at, id)
  }
  buf.set(forwarded, at)
  return at + forwarded.length
}
