/** Length-prefixed bytes and texts, as they stand in messages of the relay. */
import { MeshError } from '../errors.ts'
import { readVarint, encodeVarint } from './frames.ts'

export class Writer {
  readonly #parts: Uint8Array[] = []

  number(value: number): this {
    this.#parts.push(encodeVarint(value))
    return this
  }
  bytes(value: Uint8Array): this {
    this.#parts.push(encodeVarint(value.length), value)
    return this
  }
  /** Without its length. */
  raw(value: Uint8Array): this {
    this.#parts.push(value)
    return this
  }
  text(value: string): this {
    return this.bytes(Buffer.from(value, 'utf8'))
  }
  finish(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** Everything throws MESH_CONTROL_PROTOCOL where the message is too short. */
export class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }
  number(): number {
    const { value, end } = readVarint(this.#bytes, this.#at)
    this.#at = end
    return value
  }
  /** A view. */
  bytes(): Buffer {
    const length = this.number()
    return this.take(length)
  }
  text(): string {
    return this.bytes().toString('utf8')
  }
  take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at)
      throw new MeshError('MESH_CONTROL_PROTOCOL', 'a message of the relay is cut off')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
  rest(): Buffer {
    return this.take(this.#bytes.length - this.#at)
  }
}
