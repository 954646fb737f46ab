/** The little of protobuf that a few small messages need; the data path holds no generated code. */

/** Of one message, in the order of the calls. */
export class MessageWriter {
  readonly #parts: Buffer[] = []

  /** Left out where it is empty, as proto3 wants it. */
  text(field: number, value: string): this {
    return value === '' ? this : this.bytes(field, Buffer.from(value))
  }
  bytes(field: number, value: Uint8Array): this {
    this.#parts.push(toVarint((field << 3) | 2), toVarint(value.length), Buffer.from(value))
    return this
  }
  integer(field: number, value: number): this {
    if (value !== 0) this.#parts.push(toVarint(field << 3), toVarint(value))
    return this
  }
  /** Zero, which is said. */
  flag(field: number): this {
    this.#parts.push(toVarint(field << 3), Buffer.of(0))
    return this
  }
  double(field: number, value: number): this {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE(value)
    this.#parts.push(toVarint((field << 3) | 1), bytes)
    return this
  }
  fixed64(field: number, value: bigint): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(value)
    this.#parts.push(toVarint((field << 3) | 1), bytes)
    return this
  }
  message(field: number, made: MessageWriter): this {
    return this.bytes(field, made.finish())
  }
  /** An entry of a map from text to text. */
  entry(field: number, key: string, value: string): this {
    return this.message(field, new MessageWriter().text(1, key).text(2, value))
  }
  finish(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** Of numbers up to 2^53; below zero there are none. */
function toVarint(value: number): Buffer {
  const bytes: number[] = []
  let rest = Math.max(0, Math.floor(value))
  while (rest > 127) {
    bytes.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
  return Buffer.from(bytes)
}

export type Field = { readonly no: number; readonly bytes: Buffer; readonly number: number }

/** @returns the fields in order; undefined: these bytes are no message */
export function readMessage(bytes: Buffer): Field[] | undefined {
  const fields: Field[] = []
  let at = 0
  const varint = (): number | undefined => {
    let value = 0
    for (let shift = 0; shift < 10; shift++) {
      const byte = bytes[at++]
      if (byte === undefined) return undefined
      value += (byte & 127) * 2 ** (7 * shift)
      if (byte < 128) return value
    }
    return undefined
  }
  while (at < bytes.length) {
    const tag = varint()
    if (tag === undefined || tag < 8 || tag > 0xffff_ffff) return undefined
    const no = Math.floor(tag / 8)
    const wire = tag % 8
    if (wire === 0) {
      const number = varint()
      if (number === undefined) return undefined
      fields.push({ no, bytes: EMPTY, number })
      continue
    }
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : undefined
    if (length === undefined || at + length > bytes.length) return undefined
    const value = bytes.subarray(at, at + length)
    fields.push({ no, bytes: value, number: wire === 1 ? value.readDoubleLE(0) : 0 })
    at += length
  }
  return fields
}
const EMPTY = Buffer.alloc(0)

/** The last of that number, which counts. */
export function findBytes(fields: readonly Field[], no: number): Buffer | undefined {
  return fields.findLast((field) => field.no === no)?.bytes
}
export function findNumber(fields: readonly Field[], no: number): number {
  return fields.findLast((field) => field.no === no)?.number ?? 0
}
export function readText(fields: readonly Field[], no: number): string {
  return findBytes(fields, no)?.toString('utf8') ?? ''
}

const FRAME_HEAD_BYTES = 5

/** A message of gRPC over HTTP/2: a byte that says it is not compressed, and its length. */
export function frameGrpc(message: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}
/** Of a body with one message; undefined: it is none. */
export function readGrpc(body: Buffer): Field[] | undefined {
  const isOne =
    body.length >= FRAME_HEAD_BYTES && body[0] === 0 && body.readUInt32BE(1) === body.length - FRAME_HEAD_BYTES
  return isOne ? readMessage(body.subarray(FRAME_HEAD_BYTES)) : undefined
}
