/**
 * Fields to header blocks (RFC 7541). No I/O. Strings leave as plain latin1: Huffman coding takes a quarter off the
 * paths and identifiers that the tables leave over, and four to eight times as long as to copy them.
 */
import { SentTable } from './sent-table.ts'
import { ENTRY_OVERHEAD_BYTES } from './field.ts'
import { hashField, isNeverIndexed, isSecret } from './sensitive.ts'
import { STATIC_NAMES } from './static-table.ts'

/** The size before any SETTINGS (RFC 9113 §6.5.2), and what we use at most: each connection holds one. */
const MAX_TABLE_BYTES = 4096
/** A larger entry would push out too many others. */
const MAX_ENTRY_BYTES = 1024
/** Entries that share one value form a chain, which each look-up of this value walks. */
const MAX_SHARERS = 8
/** Fields seen once, by hash. */
const SEEN_SLOTS = 128
/** Longer strings are written by Buffer, whose call takes as long as a loop over so many characters. */
const MAX_LOOPED_CHARACTERS = 16
/** An integer of 32 bits takes so many octets at most; a field has three, a block two before its fields. */
const MAX_INTEGER_BYTES = 6
const EMPTY: Buffer = Buffer.alloc(0)

/** A representation of RFC 7541 §6: the octet's bits before the prefix, and how many bits the prefix has. */
class Form {
  readonly first: number
  readonly mask: number

  constructor(first: number, prefixBits: number) {
    this.first = first
    this.mask = 2 ** prefixBits - 1
  }
}
const INDEXED = new Form(0x80, 7)
const WITH_INDEXING = new Form(0x40, 6)
const WITHOUT_INDEXING = new Form(0x00, 4)
const NEVER_INDEXED = new Form(0x10, 4)
const SIZE_UPDATE = new Form(0x20, 5)
const PLAIN_STRING = new Form(0x00, 7)

/**
 * Encodes for one direction of one connection. Names are lower-case, values latin1 text (asFieldValue): both are
 * written byte by byte.
 */
export class HpackEncoder {
  readonly #table = new SentTable(MAX_TABLE_BYTES)
  readonly #seen = new Int32Array(SEEN_SLOTS)
  #turn = 0
  /** What the peer's settings permitted since the last block: the least, and the last. */
  #leastBytes = MAX_TABLE_BYTES
  #lastBytes = MAX_TABLE_BYTES
  #out = EMPTY
  #at = 0

  get table(): Pick<SentTable, 'at' | 'bytes' | 'count' | 'maxBytes'> {
    return this.#table
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The update goes out with the next block. */
  setMaxTableBytes(bytes: number): void {
    this.#lastBytes = Math.min(bytes, MAX_TABLE_BYTES)
    this.#leastBytes = Math.min(this.#leastBytes, this.#lastBytes)
  }

  /** Upper bound of the bytes that encode() may write for this list. */
  bound(fields: readonly string[]): number {
    let bytes = 2 * MAX_INTEGER_BYTES + (fields.length / 2) * 3 * MAX_INTEGER_BYTES
    for (let i = 0; i < fields.length; i++) bytes += fields[i]!.length
    return bytes
  }

  /** Writes the block into out at offset (there is room for bound()). Returns the offset behind it. */
  encode(fields: readonly string[], out: Buffer, offset: number): number {
    this.#out = out
    this.#at = offset
    this.#sizeUpdates()
    for (let i = 0; i < fields.length; i += 2) this.#field(fields[i]!, fields[i + 1]!)
    this.#out = EMPTY
    return this.#at
  }

  /** RFC 7541 §4.2: first the smallest size since the last block, then the one that is to be. */
  #sizeUpdates(): void {
    this.#sizeUpdate(this.#leastBytes)
    this.#sizeUpdate(this.#lastBytes)
    this.#leastBytes = this.#lastBytes
  }

  #sizeUpdate(bytes: number): void {
    if (bytes === this.#table.maxBytes) return
    this.#table.setMaxBytes(bytes)
    this.#integer(SIZE_UPDATE, bytes)
  }

  #field(name: string, value: string): void {
    const known = STATIC_NAMES.get(name)
    if (known !== undefined) {
      const index = known.values.get(value)
      if (index !== undefined) {
        this.#integer(INDEXED, index)
        return
      }
      if (isSecret(name, value)) {
        this.#literal(NEVER_INDEXED, known.index, name, value)
        return
      }
    }
    const entry = this.#table.find(name, value)
    if (entry !== undefined && !isNeverIndexed(entry.hash)) this.#integer(INDEXED, this.#table.indexOf(entry))
    else this.#newField(known?.index ?? this.#table.nameIndexOf(name), name, value)
  }

  /** A field enters the table when it is sent a second time: values that occur once would only push out others. */
  #newField(nameIndex: number, name: string, value: string): void {
    const hash = hashField(name, value)
    if (isNeverIndexed(hash)) this.#literal(NEVER_INDEXED, nameIndex, name, value)
    else if (!this.#isSecondSight(hash) || !this.#hasPlace(name, value)) {
      this.#literal(WITHOUT_INDEXING, nameIndex, name, value)
    } else {
      this.#table.add(name, value, hash)
      this.#literal(WITH_INDEXING, nameIndex, name, value)
    }
  }

  #hasPlace(name: string, value: string): boolean {
    const size = name.length + value.length + ENTRY_OVERHEAD_BYTES
    return size <= MAX_ENTRY_BYTES && size <= this.#table.maxBytes && this.#table.sharers(value) < MAX_SHARERS
  }

  /**
   * Each hash has two slots and takes them in turn: with one, two fields of every head that share it would push each
   * other out for ever.
   */
  #isSecondSight(hash: number): boolean {
    const slot = hash & (SEEN_SLOTS - 1)
    const other = (hash >>> 16) & (SEEN_SLOTS - 1)
    if (this.#seen[slot] === hash || this.#seen[other] === hash) return true
    this.#turn ^= 1
    this.#seen[this.#turn === 0 ? slot : other] = hash
    return false
  }

  #literal(form: Form, nameIndex: number, name: string, value: string): void {
    this.#integer(form, nameIndex)
    if (nameIndex === 0) this.#string(name)
    this.#string(value)
  }

  #string(text: string): void {
    this.#integer(PLAIN_STRING, text.length)
    const out = this.#out
    let at = this.#at
    if (text.length > MAX_LOOPED_CHARACTERS) at += out.write(text, at, 'latin1')
    else for (let i = 0; i < text.length; i++) out[at++] = text.charCodeAt(i)
    this.#at = at
  }

  /** RFC 7541 §5.1. */
  #integer(form: Form, value: number): void {
    const out = this.#out
    if (value < form.mask) {
      out[this.#at++] = form.first | value
      return
    }
    out[this.#at++] = form.first | form.mask
    let rest = value - form.mask
    for (; rest >= 0x80; rest >>>= 7) out[this.#at++] = rest | 0x80
    out[this.#at++] = rest
  }
}
