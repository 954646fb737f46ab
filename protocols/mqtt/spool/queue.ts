/**
 * One durable queue: what is in it, what of it is done, and the newest entries in memory, so that a consumer that keeps up never makes the
 * disk read. Everything below `firstSeq` is done; above it single entries may be (`doneAbove`), because receivers acknowledge in any order.
 */
import type { Storage } from '../../../agent/core/storage.ts'
import type { DurableQueue, QueueEntry, StoredMessage } from '../durability.ts'
import { SQL } from './schema.ts'
import { decodeSegment, entriesOf } from './segment.ts'

/** Newest entries kept in memory, by bytes at rest. */
const MAX_TAIL_BYTES = 512 * 1024
/** Segments that are read at once from a backlog. */
const SEGMENTS_PER_READ = 8
/** Small neighbours are counted as one range, so that memory does not grow with the number of commits. */
const MAX_RANGE_BYTES = 64 * 1024

type Range = { readonly firstSeq: number; lastSeq: number; bytes: number }
export type QueueHost = {
  readonly storage: Storage
  /** Something changed that is to be written with the next commit. */
  changed(queue: SpoolQueue): void
  release(queue: SpoolQueue, seq: number): Promise<void>
  damaged(queue: SpoolQueue, firstSeq: number): void
  /** Entries and bytes that are held no more (negative) or anew. */
  counted(messages: number, bytes: number): void
}

export class SpoolQueue implements DurableQueue {
  readonly id: number
  readonly name: string
  onAppended: (() => void) | undefined
  firstSeq: number
  lastSeq: number
  bytes = 0
  gone = false
  readonly released = new Set<number>()
  /** There may be rows to delete when entries are done. */
  hadReleased = false
  readonly #host: QueueHost
  readonly #doneAbove: Set<number>
  #ranges: Range[] = []
  #tail: QueueEntry[] = []
  #tailBytes = 0

  constructor(host: QueueHost, p: { id: number; name: string; firstSeq: number; lastSeq: number; doneAbove: readonly number[] }) {
    this.#host = host
    this.id = p.id
    this.name = p.name
    this.firstSeq = p.firstSeq
    this.lastSeq = p.lastSeq
    this.#doneAbove = new Set(p.doneAbove.filter((seq) => seq >= p.firstSeq && seq <= p.lastSeq))
  }

  get depth(): number { return this.lastSeq - this.firstSeq + 1 - this.#doneAbove.size }
  /** Sparse part of what is done, for the disk. */
  get doneAbove(): readonly number[] { return [...this.#doneAbove] }

  /** A stored segment, told in order when the spool opens. */
  restored(firstSeq: number, lastSeq: number, bytes: number): void { this.#addRange(firstSeq, lastSeq, bytes) }

  /** A segment is durable now. */
  appended(firstSeq: number, messages: readonly StoredMessage[], bytes: number): void {
    if (this.gone) return
    this.lastSeq = firstSeq + messages.length - 1
    this.#addRange(firstSeq, this.lastSeq, bytes)
    this.#host.counted(messages.length, bytes)
    const each = bytes / messages.length
    for (let i = 0; i < messages.length; i++) this.#tail.push({ seq: firstSeq + i, message: messages[i]!, released: false })
    this.#tailBytes += bytes
    if (this.#tailBytes > MAX_TAIL_BYTES) {
      const surplus = Math.min(this.#tail.length, Math.ceil((this.#tailBytes - MAX_TAIL_BYTES / 2) / each))
      this.#tail = this.#tail.slice(surplus)
      this.#tailBytes = this.#tail.length === 0 ? 0 : MAX_TAIL_BYTES / 2
    }
  }

  read(afterSeq: number, max: number): readonly QueueEntry[] | Promise<readonly QueueEntry[]> {
    const from = Math.max(afterSeq + 1, this.firstSeq)
    if (from > this.lastSeq || this.gone) return []
    const inMemory = this.#tail[0]?.seq ?? Infinity
    if (from < inMemory) return this.#fromDisk(from, max)
    return this.#open(this.#tail.slice(from - inMemory, from - inMemory + max + this.#doneAbove.size)).slice(0, max)
  }

  done(seq: number): void {
    if (seq < this.firstSeq || seq > this.lastSeq || this.#doneAbove.has(seq) || this.gone) return
    this.#doneAbove.add(seq)
    while (this.#doneAbove.delete(this.firstSeq)) this.released.delete(this.firstSeq++)
    this.#host.counted(-1, -this.#dropRanges())
    this.#trimTail()
    this.#host.changed(this)
  }
  release(seq: number): Promise<void> { return this.#host.release(this, seq) }
  /** Everything is given up, e.g. the session has ended. */
  drop(): void {
    this.gone = true
    this.#host.counted(-this.depth, -this.bytes)
    this.#tail = []
    this.#ranges = []
  }

  /** Entries that are not done, with what PUBREC has said of them. */
  #open(entries: readonly QueueEntry[]): QueueEntry[] {
    const open = this.#doneAbove.size === 0 ? entries : entries.filter((e) => !this.#doneAbove.has(e.seq))
    return this.released.size === 0 ? [...open] : open.map((e) => (this.released.has(e.seq) ? { ...e, released: true } : e))
  }

  async #fromDisk(from: number, max: number): Promise<readonly QueueEntry[]> {
    for (let at = from; at <= this.lastSeq && !this.gone;) {
      const rows = await this.#host.storage.query({ sql: SQL.segmentsAfter, params: [this.id, this.id, at, SEGMENTS_PER_READ] })
      const found: QueueEntry[] = []
      let next = at
      for (const row of rows) {
        const firstSeq = Number(row['first_seq'])
        const messages = decodeSegment(row['data'] as Uint8Array, firstSeq)
        if (!messages) { this.#host.damaged(this, firstSeq); continue }
        next = Math.max(next, firstSeq + messages.length)
        found.push(...entriesOf(messages, firstSeq, this.released).filter((e) => e.seq >= at && e.seq >= this.firstSeq))
        if (found.length >= max + this.#doneAbove.size) break
      }
      const open = this.#open(found).slice(0, max)
      if (open.length > 0 || rows.length < SEGMENTS_PER_READ) return open
      at = Math.max(next, at + 1)
    }
    return []
  }

  #addRange(firstSeq: number, lastSeq: number, bytes: number): void {
    this.bytes += bytes
    const last = this.#ranges.at(-1)
    if (last && last.bytes + bytes <= MAX_RANGE_BYTES && last.lastSeq + 1 === firstSeq && this.#ranges.length > 1) {
      last.lastSeq = lastSeq
      last.bytes += bytes
    } else this.#ranges.push({ firstSeq, lastSeq, bytes })
  }
  /** @returns the bytes of ranges that are wholly done */
  #dropRanges(): number {
    let count = 0
    let bytes = 0
    while (count < this.#ranges.length && this.#ranges[count]!.lastSeq < this.firstSeq) bytes += this.#ranges[count++]!.bytes
    if (count > 0) this.#ranges = this.#ranges.slice(count)
    this.bytes -= bytes
    return bytes
  }
  #trimTail(): void {
    const first = this.#tail[0]?.seq
    if (first === undefined || this.firstSeq - first < 64) return
    this.#tail = this.#tail.slice(this.firstSeq - first)
    this.#tailBytes = this.#tail.length === 0 ? 0 : Math.min(this.#tailBytes, this.bytes)
  }
}
