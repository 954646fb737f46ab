/**
 * The statements of one transaction, in their order. Retained messages that follow one another are put by one: a thousand
 * of them would else be thousands of objects that wait for the disk, and live long enough to be taken for old.
 */
import type { Statement } from '../../../core/storage/storage.ts'
import type { StoredMessage } from '../durability.ts'
import { SQL } from './schema.ts'
import { SinglesWriter } from './segment.ts'

/** Beyond this another statement begins. */
const MAX_PUT_BYTES = 1024 * 1024

export class Statements {
  readonly #all: (Statement | RetainedPuts)[] = []

  push(...statements: readonly Statement[]): void {
    this.#all.push(...statements)
  }
  /** @param id of its row */
  putRetained(id: number, message: StoredMessage): void {
    let last = this.#all.at(-1)
    if (!(last instanceof RetainedPuts) || last.bytes > MAX_PUT_BYTES) this.#all.push((last = new RetainedPuts()))
    last.add(id, message)
  }
  /** Once. */
  take(): readonly Statement[] {
    return this.#all.map((one) => (one instanceof RetainedPuts ? one.take() : one))
  }
}

/** Of transactions before. */
let spare: SinglesWriter | undefined

class RetainedPuts {
  /** Id, topic and bytes of each. */
  readonly #rows: (number | string)[] = []
  readonly #blobs: SinglesWriter

  constructor() {
    this.#blobs = spare ?? new SinglesWriter()
    spare = undefined
  }
  get bytes(): number {
    return this.#blobs.bytes
  }
  add(id: number, message: StoredMessage): void {
    this.#rows.push(id, message.topic, this.#blobs.bytes + 1, this.#blobs.add(message))
  }
  take(): Statement {
    const places: unknown[] = []
    for (let i = 0; i < this.#rows.length; i += 4) places.push(this.#rows.slice(i, i + 4))
    const params = [this.#blobs.take(), JSON.stringify(places)]
    spare = this.#blobs
    return { sql: SQL.putRetained, params }
  }
}
