/**
 * Header blocks to fields (RFC 7541). No I/O. The work is bounded by the bytes of a block: an index costs the same
 * whatever it refers to.
 */
import { DynamicTable } from './dynamic-table.ts'
import { Field, type FieldName, parseFieldName, findProblem, STATIC_ENTRIES } from './field.ts'
import { decodeHuffman, computeMaxDecodedBytes } from './huffman.ts'
import { LiteralCache } from './literal-cache.ts'
import { hashField, isSecret, markNeverIndexed } from './sensitive.ts'

export type FieldList = {
  /** Names at even indexes, values (latin1) at odd ones, pseudo-header fields as they stand. */
  readonly fields: string[]
  /** The list was above a limit; `fields` holds what fitted before. */
  readonly oversized: boolean
  /** The first field that RFC 9113 §8.2 forbids whatever the message, in words. */
  readonly problem: string | undefined
}
export type HpackLimits = {
  /** Our SETTINGS_HEADER_TABLE_SIZE, usually 4096. */
  readonly maxTableBytes: number
  /** Of one list: name, value and 32 per field (RFC 9113 §6.5.2). */
  readonly maxListBytes: number
  readonly maxFields: number
}

/** A decoding error of RFC 7541: the connection ends with COMPRESSION_ERROR. */
export class HpackError extends Error {
  override readonly name: string = 'HpackError'
}

/**
 * A block that takes the same entries again and again: a few bytes become a list as long as is permitted, which costs
 * whoever takes it on (RFC 7541 §7.3 leaves the bound to us).
 */
export class RepeatedFieldsError extends HpackError {
  override readonly name = 'RepeatedFieldsError'
}

/** Of fields by reference to the dynamic table, in one block: all of its entries twice. */
const MAX_REFERENCES = 2

/** RFC 7541 §5.1 wants a bound. Four octets after the prefix, 28 bits, are above every length that we permit. */
const MAX_INTEGER_SHIFT = 28
/**
 * Each connection begins with it (RFC 9113 §6.5.2). A peer that has read our settings and wants another size says so by
 * a size update; one that has not read them yet goes by this size.
 */
const FIRST_TABLE_BYTES = 4096
const FIRST_DYNAMIC_INDEX = STATIC_ENTRIES.length
const SCRATCH_BYTES = 16 * 1024
const EMPTY: Buffer = Buffer.alloc(0)
const ANY_OWNER = {}

const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
const names = new LiteralCache<FieldName>(256)
const literals = new LiteralCache<Field>(1024)

/** Decodes the header blocks of one direction of one connection, in order. */
export class HpackDecoder {
  readonly #limits: HpackLimits
  readonly #table: DynamicTable<Field>
  #buffer = EMPTY
  #at = 0
  #end = 0
  /** Of the block at hand, by reference to the dynamic table. */
  #referredBytes = 0

  constructor(limits: HpackLimits) {
    this.#limits = limits
    this.#table = new DynamicTable(FIRST_TABLE_BYTES)
  }

  get table(): Pick<DynamicTable<Field>, 'at' | 'bytes' | 'count' | 'maxBytes'> {
    return this.#table
  }

  /**
   * One whole header block. A list above a limit is decoded to its end, so that the table stays right, but not
   * collected.
   * @throws HpackError
   */
  decode(buffer: Buffer, start: number, end: number): FieldList {
    this.#buffer = buffer
    this.#at = start
    this.#end = end
    this.#referredBytes = 0
    this.#sizeUpdates()
    const fields: string[] = []
    const { maxListBytes, maxFields } = this.#limits
    let faulty: Field | undefined
    let listBytes = 0
    let oversized = false
    while (this.#at < end) {
      const field = this.#field()
      listBytes += field.size
      if (field.fault !== undefined && faulty === undefined) faulty = field
      if (oversized || listBytes > maxListBytes || fields.length >= 2 * maxFields) oversized = true
      else fields.push(field.name, field.value)
    }
    this.#buffer = EMPTY
    return { fields, oversized, problem: faulty && findProblem(faulty) }
  }

  /** RFC 7541 §4.2: at the beginning of a block only. */
  #sizeUpdates(): void {
    while (this.#at < this.#end && (this.#buffer[this.#at]! & 0xe0) === 0x20) {
      const maxBytes = this.#integer(5)
      if (maxBytes > this.#limits.maxTableBytes) throw new HpackError('a table size above the limit')
      this.#table.setMaxBytes(maxBytes)
    }
  }

  /** RFC 7541 §6. */
  #field(): Field {
    const first = this.#buffer[this.#at]!
    if (first >= 0x80) return this.#indexedField(this.#integer(7))
    if (first >= 0x40) {
      const field = this.#literal(6)
      this.#table.insert(field)
      return field
    }
    if (first >= 0x20) throw new HpackError('a table size update behind a field')
    if (first < 0x10) return this.#literal(4)
    const field = this.#neverIndexedLiteral()
    // Short cookies are secret by themselves; joined with others they are not short any more (joinedCookie).
    if (field.name === 'cookie' || !isSecret(field.name, field.value))
      markNeverIndexed(hashField(field.name, field.value))
    return field
  }

  #entry(index: number): Field {
    if (index < FIRST_DYNAMIC_INDEX) return STATIC_ENTRIES[index] ?? noEntry(index)
    return this.#table.at(index - FIRST_DYNAMIC_INDEX) ?? noEntry(index)
  }
  #indexedField(index: number): Field {
    const field = this.#entry(index)
    if (index >= FIRST_DYNAMIC_INDEX) this.#refer(field.size)
    return field
  }
  #indexedName(index: number): FieldName {
    const { name, nameOf } = this.#entry(index)
    if (index >= FIRST_DYNAMIC_INDEX) this.#refer(name.length)
    return nameOf
  }
  #refer(bytes: number): void {
    this.#referredBytes += bytes
    if (this.#referredBytes > MAX_REFERENCES * Math.max(this.#limits.maxTableBytes, FIRST_TABLE_BYTES))
      throw new RepeatedFieldsError('a header block repeats its fields only to make work')
  }

  #literal(prefixBits: number): Field {
    const name = this.#literalName(prefixBits)
    const start = this.#at
    const textStart = this.#enterString()
    const hash = name.isSecret ? 0 : literals.hash(name.seed, this.#buffer, start, this.#at)
    if (hash === 0) return new Field(name, this.#text(start, textStart))
    const kept = literals.find(hash, name, this.#buffer, start)
    if (kept !== undefined) return kept
    const field = new Field(name, this.#text(start, textStart))
    if (literals.isSecondSight(hash)) literals.keep(hash, name, this.#copyFrom(start), field)
    return field
  }

  /** RFC 7541 §6.2.3: the value may be secret, and is not kept here either. */
  #neverIndexedLiteral(): Field {
    const name = this.#literalName(4)
    const start = this.#at
    return new Field(name, this.#text(start, this.#enterString()))
  }
  #literalName(prefixBits: number): FieldName {
    const index = this.#integer(prefixBits)
    return index === 0 ? this.#name() : this.#indexedName(index)
  }

  #name(): FieldName {
    const start = this.#at
    const textStart = this.#enterString()
    const hash = names.hash(0, this.#buffer, start, this.#at)
    if (hash === 0) return parseFieldName(this.#text(start, textStart))
    const kept = names.find(hash, ANY_OWNER, this.#buffer, start)
    if (kept !== undefined) return kept
    const name = parseFieldName(this.#text(start, textStart))
    if (names.isSecondSight(hash)) names.keep(hash, ANY_OWNER, this.#copyFrom(start), name)
    return name
  }

  /** Goes to the end of the string literal (RFC 7541 §5.2) that begins here. @returns where its octets begin */
  #enterString(): number {
    const length = this.#integer(7)
    const start = this.#at
    if (length > this.#end - start) throw new HpackError('a string reaches beyond its block')
    this.#at = start + length
    return start
  }

  /** The string literal that was entered at `start` and ends here. */
  #text(start: number, textStart: number): string {
    if (this.#buffer[start]! < 0x80) return this.#buffer.toString('latin1', textStart, this.#at)
    const room = computeMaxDecodedBytes(this.#at - textStart)
    const out = room <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(room)
    const length = decodeHuffman(this.#buffer, textStart, this.#at, out)
    if (length < 0) throw new HpackError('a string that is no Huffman code')
    return out.toString('latin1', 0, length)
  }

  #copyFrom(start: number): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(start, this.#at))
  }

  /** RFC 7541 §5.1. */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1
    if (this.#at >= this.#end) throw new HpackError('the block ends within a field')
    let value = this.#buffer[this.#at++]! & mask
    if (value < mask) return value
    for (let shift = 0; shift < MAX_INTEGER_SHIFT; shift += 7) {
      if (this.#at >= this.#end) throw new HpackError('the block ends within an integer')
      const octet = this.#buffer[this.#at++]!
      value += (octet & 0x7f) << shift
      if (octet < 0x80) return value
    }
    throw new HpackError('an integer of too many octets')
  }
}

function noEntry(index: number): never {
  throw new HpackError(`no table has an entry ${index}`)
}
