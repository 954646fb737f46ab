/**
 * Fields to header blocks (RFC 7541). No I/O. Strings leave as plain latin1: Huffman coding would save a quarter of the few literals that the tables
 * leave over, and takes longer than all the rest of the encoder.
 */
import { DynamicTable } from './hpack-dynamic-table.ts'
import { ENTRY_OVERHEAD_BYTES } from './hpack-field.ts'
import { fieldHash, isNeverIndexed, isSecret } from './hpack-sensitive.ts'
import { STATIC_FIELDS, STATIC_NAMES } from './hpack-static-table.ts'

/** The size before any SETTINGS (RFC 9113 §6.5.2), and what we use at most: each connection holds one. */
const MAX_TABLE_BYTES = 4096
/** A larger entry would push out too many others. */
const MAX_ENTRY_BYTES = 1024
const FIRST_DYNAMIC_INDEX = STATIC_FIELDS.length + 1
/** Fields seen once, by hash. */
const SEEN_SLOTS = 128
/** Entries that share one value form a chain, which each look-up of this value walks. */
const MAX_SHARERS = 8
/** Longer strings are written by Buffer, whose call takes as long as a loop over so many characters. */
const MAX_LOOPED_CHARACTERS = 16

/** First octets of RFC 7541 §6. */
const INDEXED = 0x80
const WITH_INDEXING = 0x40
const SIZE_UPDATE = 0x20
const NEVER_INDEXED = 0x10
const WITHOUT_INDEXING = 0x00

/** An integer of 32 bits takes six octets at most; each field has three, a block up to two before its fields. */
const MAX_INTEGER_BYTES = 6

class SentField {
  readonly name: string
  readonly value: string
  readonly hash: number
  readonly size: number
  /** How many were inserted before it. */
  readonly number: number
  /** The one before it with the same value. */
  older: SentField | undefined

  constructor(name: string, value: string, hash: number, number: number) {
    this.name = name
    this.value = value
    this.hash = hash
    this.size = name.length + value.length + ENTRY_OVERHEAD_BYTES
    this.number = number
    this.older = undefined
  }
}

/** Finds what it holds by value and name, without making a string of both. */
class SentTable extends DynamicTable<SentField> {
  readonly #byValue = new Map<string, SentField>()
  readonly #byName = new Map<string, SentField>()

  find(name: string, value: string): SentField | undefined {
    let entry = this.#byValue.get(value)
    while (entry !== undefined && entry.name !== name) entry = entry.older
    return entry
  }

  /** How many entries have this value. */
  sharers(value: string): number {
    let count = 0
    for (let entry = this.#byValue.get(value); entry !== undefined; entry = entry.older) count++
    return count
  }

  findName(name: string): SentField | undefined { return this.#byName.get(name) }

  indexOf(entry: SentField): number { return FIRST_DYNAMIC_INDEX + this.inserted - 1 - entry.number }

  add(name: string, value: string, hash: number): void {
    const entry = new SentField(name, value, hash, this.inserted)
    this.insert(entry)
    entry.older = this.#byValue.get(value)
    this.#byValue.set(value, entry)
    this.#byName.set(name, entry)
  }

  protected override evicted(entry: SentField): void {
    if (this.#byName.get(entry.name) === entry) this.#byName.delete(entry.name)
    let newer = this.#byValue.get(entry.value)!
    if (newer === entry) { this.#byValue.delete(entry.value); return }
    while (newer.older !== entry) newer = newer.older! // the oldest entry is the last of its chain
    newer.older = undefined
  }
}

/** Encodes for one direction of one connection. Names are lower-case, values latin1 text (asFieldValue): both are written byte by byte. */
export class HpackEncoder {
  readonly #table = new SentTable(MAX_TABLE_BYTES)
  readonly #seen = new Int32Array(SEEN_SLOTS)
  #turn = 0
  /** What the peer's settings permitted since the last block: the least, and the last. */
  #leastBytes = MAX_TABLE_BYTES
  #lastBytes = MAX_TABLE_BYTES

  get table(): Pick<SentTable, 'at' | 'bytes' | 'count' | 'maxBytes'> { return this.#table }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The update goes out with the next block. */
  setMaxTableBytes(bytes: number): void {
    this.#lastBytes = Math.min(bytes, MAX_TABLE_BYTES)
    this.#leastBytes = Math.min(this.#leastBytes, this.#lastBytes)
  }

  /** Upper bound of the bytes that encode() may write for this list. */
  bound(fields: readonly string[]): number {
    let bytes = 2 * MAX_INTEGER_BYTES
    for (let i = 0; i < fields.length; i += 2) bytes += 3 * MAX_INTEGER_BYTES + fields[i]!.length + fields[i + 1]!.length
    return bytes
  }

  /** Writes the block into out at offset (there is room for bound()). Returns the offset behind it. */
  encode(fields: readonly string[], out: Buffer, offset: number): number {
    let at = this.#sizeUpdates(out, offset)
    for (let i = 0; i < fields.length; i += 2) at = this.#field(fields[i]!, fields[i + 1]!, out, at)
    return at
  }

  /** RFC 7541 §4.2: first the smallest size since the last block, then the one that is to be. */
  #sizeUpdates(out: Buffer, offset: number): number {
    const at = this.#sizeUpdate(this.#leastBytes, out, offset)
    this.#leastBytes = this.#lastBytes
    return this.#sizeUpdate(this.#lastBytes, out, at)
  }

  #sizeUpdate(bytes: number, out: Buffer, at: number): number {
    if (bytes === this.#table.maxBytes) return at
    this.#table.setMaxBytes(bytes)
    return writeInteger(SIZE_UPDATE, 5, bytes, out, at)
  }

  #field(name: string, value: string, out: Buffer, at: number): number {
    const known = STATIC_NAMES.get(name)
    if (known !== undefined) {
      const index = known.values.get(value)
      if (index !== undefined) return writeInteger(INDEXED, 7, index, out, at)
      if (isSecret(name, value)) return writeLiteral(NEVER_INDEXED, 4, known.index, name, value, out, at)
    }
    const entry = this.#table.find(name, value)
    if (entry !== undefined && !isNeverIndexed(entry.hash)) return writeInteger(INDEXED, 7, this.#table.indexOf(entry), out, at)
    return this.#literal(known?.index ?? this.#nameIndex(name), name, value, out, at)
  }

  #nameIndex(name: string): number {
    const entry = this.#table.findName(name)
    return entry === undefined ? 0 : this.#table.indexOf(entry)
  }

  /** A field enters the table when it is sent a second time: values that occur once would only push out others. */
  #literal(nameIndex: number, name: string, value: string, out: Buffer, at: number): number {
    const hash = fieldHash(name, value)
    if (isNeverIndexed(hash)) return writeLiteral(NEVER_INDEXED, 4, nameIndex, name, value, out, at)
    if (!this.#isSecondSight(hash) || !this.#hasPlace(name, value)) return writeLiteral(WITHOUT_INDEXING, 4, nameIndex, name, value, out, at)
    this.#table.add(name, value, hash)
    return writeLiteral(WITH_INDEXING, 6, nameIndex, name, value, out, at)
  }

  #hasPlace(name: string, value: string): boolean {
    const size = name.length + value.length + ENTRY_OVERHEAD_BYTES
    return size <= MAX_ENTRY_BYTES && size <= this.#table.maxBytes && this.#table.sharers(value) < MAX_SHARERS
  }

  /** Each hash has two slots and takes them in turn: two fields of every head that share one slot would never be remembered. */
  #isSecondSight(hash: number): boolean {
    const slot = hash & (SEEN_SLOTS - 1)
    const other = (hash >>> 16) & (SEEN_SLOTS - 1)
    if (this.#seen[slot] === hash || this.#seen[other] === hash) return true
    this.#seen[(this.#turn++ & 1) === 0 ? slot : other] = hash
    return false
  }
}

function writeLiteral(first: number, prefixBits: number, nameIndex: number, name: string, value: string, out: Buffer, offset: number): number {
  let at = writeInteger(first, prefixBits, nameIndex, out, offset)
  if (nameIndex === 0) at = writeString(name, out, at)
  return writeString(value, out, at)
}

function writeString(text: string, out: Buffer, offset: number): number {
  let at = writeInteger(0, 7, text.length, out, offset)
  if (text.length > MAX_LOOPED_CHARACTERS) return at + out.write(text, at, 'latin1')
  for (let i = 0; i < text.length; i++) out[at++] = text.charCodeAt(i)
  return at
}

/** RFC 7541 §5.1. @param first the octet's bits before the prefix */
function writeInteger(first: number, prefixBits: number, value: number, out: Buffer, offset: number): number {
  const mask = (1 << prefixBits) - 1
  let at = offset
  if (value < mask) {
    out[at++] = first | value
    return at
  }
  out[at++] = first | mask
  let rest = value - mask
  for (; rest >= 0x80; rest >>>= 7) out[at++] = rest | 0x80
  out[at++] = rest
  return at
}
