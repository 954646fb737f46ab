/** Reading the data types of MQTT 5.0 §1.5 out of a packet, and writing them. */
import { REASON, createViolation } from './reason.ts'
import { MAX_VAR_INT } from './packet.ts'

/**
 * Fatal: surrogates, overlong forms and cut sequences throw. `ignoreBOM` keeps U+FEFF, which may not be stripped
 * [MQTT-1.5.4-3].
 */
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const early = (): Error =>
  createViolation(REASON.malformedPacket, 'the packet ends before its fields do (MQTT 5.0 §1.2 malformed packet)')

/**
 * A cursor over one packet. Every read throws MESH_MQTT_PROTOCOL when the packet is too short or the value ill-formed.
 * Reused for many packets.
 */
export class Reader {
  buf: Buffer = Buffer.alloc(0)
  at = 0
  end = 0

  reset(buf: Buffer, from: number, end: number): this {
    this.buf = buf
    this.at = from
    this.end = end
    return this
  }
  get left(): number {
    return this.end - this.at
  }

  u8(): number {
    if (this.at >= this.end) throw early()
    return this.buf[this.at++]!
  }
  u16(): number {
    const at = this.at
    if (at + 2 > this.end) throw early()
    this.at = at + 2
    return (this.buf[at]! << 8) | this.buf[at + 1]!
  }
  u32(): number {
    const at = this.at
    if (at + 4 > this.end) throw early()
    this.at = at + 4
    return this.buf.readUInt32BE(at)
  }
  /** §1.5.5; the shortest form only [MQTT-1.5.5-1]. */
  varInt(): number {
    let value = 0
    for (let i = 0; i < 4; i++) {
      const byte = this.u8()
      value |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) {
        if (i > 0 && byte === 0)
          throw createViolation(
            REASON.malformedPacket,
            '[MQTT-1.5.5-1] a Variable Byte Integer is not in its shortest form',
          )
        return value
      }
    }
    throw createViolation(REASON.malformedPacket, '[MQTT-1.5.5-1] a Variable Byte Integer is longer than four bytes')
  }
  /** A view of the packet, not a copy. */
  binary(): Buffer {
    const length = this.u16()
    const from = this.at
    if (from + length > this.end) throw early()
    this.at = from + length
    return this.buf.subarray(from, from + length)
  }
  /** What is left, a view too. Made without `subarray` of Buffer, which costs more, once for each message. */
  rest(): Uint8Array {
    return new Uint8Array(this.buf.buffer, this.buf.byteOffset + this.at, this.end - this.at)
  }
  string(): string {
    const length = this.u16()
    const from = this.at
    if (from + length > this.end) throw early()
    this.at = from + length
    return decodeUtf8(this.buf, from, from + length)
  }
}

/** §1.5.4: well-formed UTF-8 [MQTT-1.5.4-1] without U+0000 [MQTT-1.5.4-2]. */
export function decodeUtf8(buf: Buffer, from: number, to: number): string {
  let bits = 0
  for (let i = from; i < to; i++) {
    const byte = buf[i]!
    if (byte === 0) throw createViolation(REASON.malformedPacket, '[MQTT-1.5.4-2] a UTF-8 string holds U+0000')
    bits |= byte
  }
  if (bits < 0x80) return buf.toString('latin1', from, to)
  try {
    return strictUtf8.decode(buf.subarray(from, to))
  } catch {
    throw createViolation(REASON.malformedPacket, '[MQTT-1.5.4-1] a string is not well-formed UTF-8')
  }
}

/** Bytes of a Variable Byte Integer. */
export function countVarIntBytes(value: number): 1 | 2 | 3 | 4 {
  if (value < 128) return 1
  if (value < 16_384) return 2
  return value < 2_097_152 ? 3 : 4
}

/** @returns the offset after the integer */
export function writeVarInt(buf: Uint8Array, at: number, value: number): number {
  let rest = value
  let to = at
  while (rest > 127) {
    buf[to++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  buf[to++] = rest
  return to
}

/** Grows as needed. For packets that are rare or small; PUBLISH and acknowledgements are written by outbox.ts. */
export class Writer {
  #buf: Buffer
  #at = 0
  constructor(bytes = 128) {
    this.#buf = Buffer.allocUnsafe(bytes)
  }
  get length(): number {
    return this.#at
  }
  getBytes(): Buffer {
    return this.#buf.subarray(0, this.#at)
  }

  u8(value: number): void {
    this.#room(1)
    this.#buf[this.#at++] = value
  }
  u16(value: number): void {
    this.#room(2)
    this.#at = this.#buf.writeUInt16BE(value, this.#at)
  }
  u32(value: number): void {
    this.#room(4)
    this.#at = this.#buf.writeUInt32BE(value, this.#at)
  }
  varInt(value: number): void {
    if (value > MAX_VAR_INT) throw new RangeError(`${value} does not fit a Variable Byte Integer`)
    this.#room(4)
    this.#at = writeVarInt(this.#buf, this.#at, value)
  }
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#buf.set(bytes, this.#at)
    this.#at += bytes.length
  }
  binary(bytes: Uint8Array): void {
    this.u16(bytes.length)
    this.raw(bytes)
  }
  string(text: string): void {
    this.binary(Buffer.from(text))
  }

  #room(more: number): void {
    if (this.#at + more <= this.#buf.length) return
    const bigger = Buffer.allocUnsafe(Math.max(this.#buf.length * 2, this.#at + more))
    bigger.set(this.#buf.subarray(0, this.#at))
    this.#buf = bigger
  }
}
