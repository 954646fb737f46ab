/** The encoder's dynamic table: finds what it holds by value and name, without making a string of both. */
import { DynamicTable } from './dynamic-table.ts'
import { ENTRY_OVERHEAD_BYTES } from './field.ts'
import { STATIC_FIELDS } from './static-table.ts'

const FIRST_DYNAMIC_INDEX = STATIC_FIELDS.length + 1

export class SentField {
  readonly name: string
  readonly value: string
  readonly hash: number
  readonly size: number
  /** How many were inserted before it. */
  readonly number: number
  /** The one before it with the same value. */
  older: SentField | undefined = undefined

  constructor(name: string, value: string, hash: number, number: number) {
    this.name = name
    this.value = value
    this.hash = hash
    this.size = name.length + value.length + ENTRY_OVERHEAD_BYTES
    this.number = number
  }
}

export class SentTable extends DynamicTable<SentField> {
  readonly #byValue = new Map<string, SentField>()
  /** The newest with the name. */
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

  indexOf(entry: SentField): number {
    return FIRST_DYNAMIC_INDEX + this.inserted - 1 - entry.number
  }

  /** @returns 0 = the table does not have the name */
  nameIndexOf(name: string): number {
    const entry = this.#byName.get(name)
    return entry === undefined ? 0 : this.indexOf(entry)
  }

  /** Of a field that has room in the table, and is not in it. */
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
    if (newer === entry) {
      this.#byValue.delete(entry.value)
      return
    }
    while (newer.older !== entry) newer = newer.older! // the oldest entry is the last of its chain
    newer.older = undefined
  }
}
