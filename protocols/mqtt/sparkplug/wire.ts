/**
 * The wire format of protobuf, walked without decoding. Sparkplug's schema is of proto2 and open to extensions, so
 * groups and fields that nobody here knows are passed by.
 */

export const VARINT = 0
export const LENGTH_DELIMITED = 2
const [I64, GROUP, END_GROUP, I32] = [1, 3, 4, 5]
/** Groups in groups. */
const MAX_DEPTH = 16
const MAX_VARINT_BYTES = 10
/** Field numbers go to 2^29 - 1. */
const MAX_TAG = 0xffff_ffff

export class WireReader {
  readonly bytes: Uint8Array
  readonly #end: number
  /** Where the next field begins. */
  at: number
  /** Of the field that was read: */
  number = 0
  type = VARINT
  /** where it begins, with its tag; */
  start = 0
  /** where the content of a length-delimited one begins, which ends at `at`; */
  from = 0
  /** the value of a varint. Above 2^53 it loses precision. */
  value = 0
  isMalformed = false

  constructor(bytes: Uint8Array, from = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = from
    this.#end = end
  }

  /** @returns whether there was one; else the end is reached, or `isMalformed` says that there is none to be found */
  next(): boolean {
    if (this.at >= this.#end) return false
    this.start = this.at
    const tag = this.#varint()
    this.type = tag % 8
    this.number = Math.floor(tag / 8)
    if (tag > MAX_TAG || this.number === 0 || this.type === END_GROUP || !this.#skip(this.type, 0))
      this.isMalformed = true
    return !this.isMalformed
  }

  #skip(type: number, depth: number): boolean {
    switch (type) {
      case VARINT:
        this.value = this.#varint()
        return this.value >= 0
      case I64:
        this.at += 8
        break
      case I32:
        this.at += 4
        break
      case LENGTH_DELIMITED: {
        const length = this.#varint()
        if (length < 0) return false
        this.from = this.at
        this.at += length
        break
      }
      case GROUP:
        return this.#skipGroup(depth)
      default:
        return false
    }
    return this.at <= this.#end
  }
  #skipGroup(depth: number): boolean {
    if (depth >= MAX_DEPTH) return false
    for (;;) {
      const tag = this.#varint()
      if (tag < 0) return false
      if (tag % 8 === END_GROUP) return true
      if (!this.#skip(tag % 8, depth + 1)) return false
    }
  }

  /** @returns -1 when it does not end in time */
  #varint(): number {
    let value = 0
    for (let scale = 1, i = 0; i < MAX_VARINT_BYTES && this.at < this.#end; i++, scale *= 128) {
      const byte = this.bytes[this.at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    return -1
  }
}
