/**
 * Turns bytes into packets, without I/O. A packet that lies within one chunk is decoded in place, and its payload is a
 * view of that chunk. A packet that crosses a chunk's end is copied; the copy grows with the bytes that have come, not
 * with the length that the peer claims.
 */
import { MeshError } from '../../../core/errors.ts'
import { REASON, createViolation } from './reason.ts'
import { Reader } from './bytes.ts'
import { decode, decodeHead } from './decode.ts'
import { NO_BYTES, type Packet, TYPE, type Version } from './packet.ts'

export type ParserOptions = {
  /** Fixed header included, as in MQTT 5.0 §3.1.2.11.4. */
  readonly maxPacketBytes: number
  /** Name of the setting, for the refusal's text. */
  readonly limit?: string
  /** `server` takes what clients send. Its version follows from CONNECT; a client sets it. */
  readonly side: 'server' | 'client'
  readonly version?: Version
  /** `skip`: of a PUBLISH that is larger than allowed the head is told and the rest passed over. Left out: refused. */
  readonly large?: 'skip'
}

/** Behind the fixed header of a PUBLISH: topic and packet id. */
const MAX_PUBLISH_HEAD = 2 + 65_535 + 2

const EMPTY = Buffer.alloc(0)
/** For all parsers: one packet is decoded at a time. */
const reader = new Reader()
const bit = (type: number): number => 1 << (type >> 4)
const BOTH =
  bit(TYPE.publish) |
  bit(TYPE.puback) |
  bit(TYPE.pubrec) |
  bit(TYPE.pubrel) |
  bit(TYPE.pubcomp) |
  bit(TYPE.disconnect) |
  bit(TYPE.auth)
const FROM_CLIENT = BOTH | bit(TYPE.connect) | bit(TYPE.subscribe) | bit(TYPE.unsubscribe) | bit(TYPE.pingreq)
const FROM_SERVER = BOTH | bit(TYPE.connack) | bit(TYPE.suback) | bit(TYPE.unsuback) | bit(TYPE.pingresp)
const FLAGS_2 = bit(TYPE.pubrel) | bit(TYPE.subscribe) | bit(TYPE.unsubscribe)

export class PacketParser {
  #maxPacketBytes: number
  #limit: string
  readonly #side: 'server' | 'client'
  readonly #accepts: number
  version: Version
  #chunk: Buffer = EMPTY
  #at = 0
  /** The beginning of a packet whose rest is still to come; #part.length is room, #partBytes is what is in it. */
  #part: Buffer = EMPTY
  #partBytes = 0
  /** Length of the packet whose header #frame() saw last; its body starts at #bodyAt. */
  #frameBytes = 0
  #bodyAt = 0
  /** Of it that is decoded: all, or its head. */
  #wantedBytes = 0
  /** Still to be passed over. */
  #skipBytes = 0
  readonly #skipsLarge: boolean
  /** Where the packet begins that next() gave last: in the chunk, or in the copy of one that crossed chunks; -1: none. */
  #lastFrom = -1
  #lastCopy: Buffer | undefined
  /** MQTT 3.1 repeats SUBSCRIBE, UNSUBSCRIBE and PUBREL with DUP. */
  #mayRepeat = false

  constructor({ maxPacketBytes, limit = 'mqtt.limits.maxPacketBytes', side, version = 4, large }: ParserOptions) {
    this.#skipsLarge = large === 'skip'
    this.#maxPacketBytes = maxPacketBytes
    this.#limit = limit
    this.#side = side
    this.#accepts = side === 'server' ? FROM_CLIENT : FROM_SERVER
    this.version = version
  }

  /** What has come and was not given: whole packets, and the room for one that is not whole yet. */
  get heldBytes(): number {
    return this.#part.length + this.#chunk.length - this.#at
  }

  /** Of the packet that next() gave last, as they came: a view, and empty once next() was called again. */
  get packetBytes(): Buffer {
    if (this.#lastFrom < 0) return EMPTY
    return (this.#lastCopy ?? this.#chunk).subarray(this.#lastFrom, this.#lastFrom + this.#frameBytes)
  }

  /** From the next packet on. */
  allow(maxPacketBytes: number, limit: string): void {
    this.#maxPacketBytes = maxPacketBytes
    this.#limit = limit
  }

  /** Call next() until it gives undefined before the next push; otherwise what is left is copied. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    this.#chunk = this.#at === this.#chunk.length ? bytes : Buffer.concat([this.#chunk.subarray(this.#at), bytes])
    this.#at = 0
  }

  /**
   * The next whole packet; undefined when more bytes are needed.
   * @throws MESH_MQTT_PROTOCOL, MESH_MQTT_PACKET_TOO_LARGE; the parser is of no use afterwards
   */
  next(): Packet | undefined {
    this.#lastFrom = -1
    if (this.#lastCopy) this.#lastCopy = undefined
    if (this.#skipBytes > 0) this.#skip()
    if (this.#partBytes > 0) return this.#nextOfPart()
    const from = this.#at
    const chunk = this.#chunk
    if (from === chunk.length) {
      this.#letGo()
      return undefined
    }
    if (!this.#frame(chunk, from, chunk.length) || from + this.#wantedBytes > chunk.length) {
      this.#keep(chunk.length - from)
      this.#letGo()
      return undefined
    }
    this.#at = from + this.#wantedBytes
    return this.#decode(chunk, from)
  }

  #skip(): void {
    const bytes = Math.min(this.#skipBytes, this.#chunk.length - this.#at)
    this.#skipBytes -= bytes
    this.#at += bytes
  }

  #decode(buf: Buffer, from: number): Packet {
    this.#lastFrom = from
    if (this.#frameBytes > this.#maxPacketBytes) {
      this.#skipBytes = this.#frameBytes - this.#wantedBytes
      return decodeHead(reader.reset(buf, this.#bodyAt, from + this.#wantedBytes), buf[from]!, this.#frameBytes)
    }
    const packet = decode(
      reader.reset(buf, this.#bodyAt, from + this.#frameBytes),
      buf[from]!,
      this.version,
      this.#side,
    )
    if (packet.type === 'connect') {
      this.version = packet.version
      this.#mayRepeat = packet.is31 === true
    }
    return packet
  }

  /** Takes from the chunk only what the cut packet still needs. */
  #nextOfPart(): Packet | undefined {
    while (this.#at < this.#chunk.length) {
      const known = this.#frame(this.#part, 0, this.#partBytes)
      const missing = known ? this.#wantedBytes - this.#partBytes : 1
      if (missing > 0) this.#keep(Math.min(missing, this.#chunk.length - this.#at))
      if (!known && !this.#frame(this.#part, 0, this.#partBytes)) continue
      if (this.#partBytes < this.#wantedBytes) continue
      const whole = this.#part.subarray(0, this.#partBytes)
      this.#part = EMPTY
      this.#partBytes = 0
      this.#lastCopy = whole
      return this.#decode(whole, 0)
    }
    this.#letGo()
    return undefined
  }
  /** Of a chunk that is taken: many clients are quiet for long after it. */
  #letGo(): void {
    this.#chunk = EMPTY
    this.#at = 0
  }

  #keep(bytes: number): void {
    const needed = this.#partBytes + bytes
    if (needed > this.#part.length) {
      // Twice as much each time, but not beyond the packet: what is told of it before its head is known is small.
      const bigger = Buffer.allocUnsafe(Math.max(needed, Math.min(this.#part.length * 2, this.#wantedBytes), 16))
      bigger.set(this.#part.subarray(0, this.#partBytes))
      this.#part = bigger
    }
    this.#part.set(this.#chunk.subarray(this.#at, this.#at + bytes), this.#partBytes)
    this.#partBytes = needed
    this.#at += bytes
  }

  /**
   * Reads the fixed header (§2.1) at `from` and refuses early what no rest could mend.
   * @returns false when the header itself is not whole
   */
  #frame(buf: Buffer, from: number, end: number): boolean {
    const first = buf[from]!
    this.#checkFirst(first)
    let length = 0
    for (let i = 0; i < 4; i++) {
      const at = from + 1 + i
      if (at >= end) return false
      const byte = buf[at]!
      length |= (byte & 0x7f) << (7 * i)
      if (byte >= 0x80) continue
      // MQTT 3.1.1 has no such rule, and the version is unknown before CONNECT.
      if (i > 0 && byte === 0 && this.version === 5)
        throw createViolation(REASON.malformedPacket, '[MQTT-1.5.5-1] the Remaining Length is not in its shortest form')
      this.#frameBytes = 2 + i + length
      this.#bodyAt = at + 1
      this.#wantedBytes = this.#frameBytes
      if (this.#frameBytes <= this.#maxPacketBytes) return true
      if (!this.#skipsLarge || first >> 4 !== 3)
        throw new MeshError(
          'MESH_MQTT_PACKET_TOO_LARGE',
          `a packet of ${this.#frameBytes} bytes is larger than ${this.#maxPacketBytes} (${this.#limit})`,
        )
      this.#wantedBytes = Math.min(this.#frameBytes, 2 + i + MAX_PUBLISH_HEAD)
      return true
    }
    throw createViolation(REASON.malformedPacket, '[MQTT-1.5.5-1] the Remaining Length is longer than four bytes')
  }

  #checkFirst(first: number): void {
    const type = 1 << (first >> 4)
    if ((this.#accepts & type) === 0)
      throw createViolation(
        REASON.protocolError,
        `a ${this.#side} does not take packet type ${first >> 4} (MQTT 5.0 §2.1.2)`,
      )
    if (first >> 4 === 3) return
    const flags = first & 0x0f
    const isRepeated = this.#mayRepeat && (FLAGS_2 & type) !== 0 && flags === 0x0a
    if (!isRepeated && flags !== ((FLAGS_2 & type) === 0 ? 0 : 2))
      throw createViolation(
        REASON.malformedPacket,
        `[MQTT-2.1.3-1] reserved flags ${flags} of packet type ${first >> 4}`,
      )
  }
}

/** For callers that keep a view longer than the chunk should live: one small message would otherwise hold 64 KiB. */
export function toOwnMemory(bytes: Uint8Array): Uint8Array {
  return bytes.length === 0 ? NO_BYTES : bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}
