/**
 * Turns appends and other changes into commits: everything that arrives while one runs is in the next. Sequence numbers are given when a
 * commit is composed, so a commit that fails leaves no gap.
 */
import { toMeshError } from '../../../agent/core/errors.ts'
import type { Statement, Storage } from '../../../agent/core/storage.ts'
import type { StoredMessage } from '../durability.ts'
import type { SpoolQueue } from './queue.ts'
import { SQL } from './schema.ts'
import { encodeSegment } from './segment.ts'

export type Append = { readonly message: StoredMessage; readonly to: readonly SpoolQueue[]; readonly bytes: number }
type Work = { readonly append: Append | undefined; readonly statements: readonly Statement[]; resolve(): void; reject(err: Error): void }
type Batch = { readonly messages: StoredMessage[]; bytes: number }

export class SpoolWriter {
  readonly #storage: Storage
  readonly #changed = new Set<SpoolQueue>()
  #pending: Work[] = []
  #running: Promise<void> | undefined
  /** Bytes of appends that are not durable yet; they count against the limits too. */
  pendingBytes = 0
  pendingMessages = 0

  constructor(storage: Storage) { this.#storage = storage }

  append(append: Append, statements: readonly Statement[]): Promise<void> {
    this.pendingBytes += append.bytes * append.to.length
    this.pendingMessages += append.to.length
    return this.#add(append, statements)
  }
  write(...statements: Statement[]): Promise<void> { return this.#add(undefined, statements) }
  /** Written with the next commit, whenever that is. */
  changed(queue: SpoolQueue): void { this.#changed.add(queue) }
  forget(queue: SpoolQueue): void { this.#changed.delete(queue) }
  /** Writes what has changed now. */
  async flush(): Promise<void> {
    if (this.#changed.size > 0 && !this.#running) await this.write()
    else await this.#running
  }

  #add(append: Append | undefined, statements: readonly Statement[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ append, statements, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  async #run(): Promise<void> {
    // All sockets that have something to say in this turn of the event loop are heard before the first commit begins.
    await new Promise((resolve) => { setImmediate(resolve) })
    while (this.#pending.length > 0) {
      const works = this.#pending
      this.#pending = []
      await this.#commit(works)
    }
    this.#running = undefined
  }

  async #commit(works: readonly Work[]): Promise<void> {
    const batches = batchesOf(works)
    const moved = [...this.#changed]
    this.#changed.clear()
    try {
      await this.#storage.commit([...works.flatMap((w) => w.statements), ...[...batches].flatMap(([queue, batch]) => append(queue, batch)), ...moved.flatMap((queue) => (batches.has(queue) ? [] : [move(queue, queue.lastSeq)])), ...moved.flatMap(drop)])
    } catch (thrown) {
      for (const queue of moved) if (!queue.gone) this.#changed.add(queue)
      this.#over(works)
      const err = toMeshError(thrown)
      for (const { reject } of works) reject(err)
      return
    }
    this.#over(works)
    for (const [queue, { messages, bytes }] of batches) queue.appended(queue.lastSeq + 1, messages, bytes)
    for (const { resolve } of works) resolve()
    for (const queue of batches.keys()) queue.onAppended?.()
  }
  #over(works: readonly Work[]): void {
    for (const { append: a } of works) {
      if (!a) continue
      this.pendingBytes -= a.bytes * a.to.length
      this.pendingMessages -= a.to.length
    }
  }
}

function batchesOf(works: readonly Work[]): Map<SpoolQueue, Batch> {
  const batches = new Map<SpoolQueue, Batch>()
  for (const { append: a } of works) {
    if (!a) continue
    for (const queue of a.to) {
      if (queue.gone) continue
      let batch = batches.get(queue)
      if (!batch) { batch = { messages: [], bytes: 0 }; batches.set(queue, batch) }
      batch.messages.push(a.message)
      batch.bytes += a.bytes
    }
  }
  return batches
}

function append(queue: SpoolQueue, { messages, bytes }: Batch): Statement[] {
  const firstSeq = queue.lastSeq + 1
  const lastSeq = queue.lastSeq + messages.length
  return [{ sql: SQL.addSegment, params: [queue.id, firstSeq, lastSeq, bytes, encodeSegment(messages, bytes)] }, move(queue, lastSeq)]
}
function move(queue: SpoolQueue, lastSeq: number): Statement {
  return { sql: SQL.moveQueue, params: [queue.firstSeq, lastSeq, encodeDone(queue), queue.id] }
}
function drop(queue: SpoolQueue): Statement[] {
  return [{ sql: SQL.dropSegmentsBelow, params: [queue.id, queue.firstSeq] }, ...(queue.hadReleased ? [{ sql: SQL.dropReleasedBelow, params: [queue.id, queue.firstSeq] }] : [])]
}

/** Offsets from firstSeq, 4 bytes each; the receive window bounds their number. */
function encodeDone(queue: SpoolQueue): Buffer {
  const offsets = queue.doneAbove
  const out = Buffer.allocUnsafe(offsets.length * 4)
  offsets.forEach((seq, i) => out.writeUInt32BE(seq - queue.firstSeq, i * 4))
  return out
}
export function decodeDone(data: Uint8Array, firstSeq: number): number[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => firstSeq + bytes.readUInt32BE(i * 4))
}
