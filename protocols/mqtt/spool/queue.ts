/**
 * One durable queue: its segments and which of their entries are done. Everything below `firstSeq` is done. Single
 * entries above it may be done too, because receivers acknowledge in any order. When and how the queue is written is
 * the writer's business (writer.ts).
 */
import type { Drops, DurableQueue, Gap, QueueEntry, QueueLimits, QueueShare, WhenFull } from '../durability.ts'
import { subtractGap } from '../gap.ts'
import { DAMAGED, decodeEntry, findPlaces, type Places } from './segment.ts'
import { findPlacesInMemory, type Segment, type SegmentCache } from './segment-cache.ts'

/** By the first number of their segment. */
export type Blobs = ReadonlyMap<number, unknown>
export type QueueHost = {
  readonly cache: SegmentCache
  /** Those of the disk, from one first number to another; `damaged`: none of them can be had. */
  load(queue: SpoolQueue, firstSeq: number, upToSeq: number): Promise<Blobs | 'damaged'>
  /** Something is done; to be written with some later commit. */
  changed(queue: SpoolQueue): void
  /** Resolves when what the queue's row is now is durable. */
  releases(queue: SpoolQueue): Promise<void>
  /** So many messages of a segment cannot be read back and are given up. */
  damaged(queue: SpoolQueue, segment: Segment, messages: number): void
  /** Entries and bytes that are held more, or less when negative. */
  counted(messages: number, bytes: number): void
}
export type QueueRow = {
  readonly id: number
  readonly name: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly done: readonly number[]
  readonly released: readonly number[]
  readonly gap?: Gap | undefined
  /** Up to where it may have been sent; undefined: all of it. */
  readonly sent?: number | undefined
  /** The row is damaged: which numbers there are, the segments say. */
  readonly isDamaged?: boolean
}
/** Of segments that are read in one go: a question to the storage thread takes as long as hundreds of messages. */
const MAX_READ_BYTES = 128 * 1024
/** Numbers that ought to be on the disk and are not. */
export type Hole = { readonly firstSeq: number; readonly lastSeq: number; readonly messages: number }

export class SpoolQueue implements DurableQueue {
  readonly id: number
  readonly name: string
  /** Of a client, not of a route. */
  readonly isSession: boolean
  onAppended: (() => void) | undefined
  whenFull: WhenFull | undefined
  limits: QueueLimits | undefined
  group: readonly SpoolQueue[] | undefined
  /** On their way to the disk. */
  pendingMessages = 0
  pendingBytes = 0
  readonly drops: Drops = {}
  priority = 0
  gap: Gap | undefined
  firstSeq: number
  lastSeq: number
  depth = 0
  /** Deleted; appends to it are nothing. */
  gone = false
  /** Segments that are wholly done but still on the disk. */
  deadSegments = 0
  readonly doneAbove: Set<number>
  /** PUBREC has come, and that is durable. */
  readonly released: Set<number>
  /** PUBREC has come, and that is to be written. */
  readonly releasing = new Set<number>()
  /** What its row is to say, and what it says: up to where it may have been sent, or `open`: all of it. */
  #sent: number | 'open'
  #durableSent: number | 'open' | 'unknown'
  readonly #host: QueueHost
  #bytes = 0
  #share: QueueShare | undefined
  #segments: Segment[] = []
  /** While it is restored: up to which number everything was found, or is known to be lost. */
  #seenSeq: number | undefined
  readonly #holes: Hole[] = []

  constructor(host: QueueHost, row: QueueRow) {
    this.#host = host
    this.id = row.id
    this.name = row.name
    this.isSession = row.name.startsWith('session/')
    this.firstSeq = row.firstSeq
    this.lastSeq = row.lastSeq
    this.doneAbove = new Set(row.done)
    this.released = new Set(row.released)
    this.gap = row.gap
    this.#sent = row.sent ?? row.lastSeq
    this.#durableSent = row.sent ?? 'open'
    if (!row.isDamaged) this.#seenSeq = row.firstSeq - 1
  }

  get isEmpty(): boolean {
    return this.depth + this.pendingMessages === 0
  }
  get bytes(): number {
    return this.#bytes
  }
  get share(): QueueShare | undefined {
    return this.#share
  }
  set share(share: QueueShare | undefined) {
    if (share === this.#share) return
    if (this.#share) this.#share.bytes -= this.#bytes
    if (share) share.bytes += this.#bytes
    this.#share = share
  }
  #hold(bytes: number): void {
    this.#bytes += bytes
    if (this.#share) this.#share.bytes += bytes
  }

  get tail(): Segment | undefined {
    return this.#segments.at(-1)
  }
  /** Below this nothing on the disk is needed. */
  get firstNeededSeq(): number {
    return this.#segments[0]?.firstSeq ?? this.lastSeq + 1
  }

  /** A segment found on the disk, told in ascending order before the first use. */
  noteRestored(firstSeq: number, lastSeq: number, bytes: number): void {
    if (this.#seenSeq === undefined) this.firstSeq = firstSeq
    else this.#noteHole(firstSeq - 1)
    this.#seenSeq = Math.max(this.#seenSeq ?? 0, lastSeq)
    this.lastSeq = Math.max(this.lastSeq, lastSeq)
    // A segment without bytes holds messages whose loss was reported.
    if (bytes === 0 || lastSeq < this.firstSeq || firstSeq <= (this.tail?.lastSeq ?? 0)) {
      this.deadSegments++
      return
    }
    this.#segments.push({ firstSeq, lastSeq, bytes, blob: undefined, places: undefined })
    this.#hold(bytes)
    this.depth += lastSeq - Math.max(firstSeq, this.firstSeq) + 1
  }
  /** After the last of them. @returns what is missing between them */
  finishRestoring(): readonly Hole[] {
    if (this.#seenSeq === undefined) this.firstSeq = this.lastSeq + 1
    else this.#noteHole(this.lastSeq)
    for (const seq of this.doneAbove) {
      const segment = this.#segments[this.#indexOf(seq)]
      if (seq > this.firstSeq && segment && segment.firstSeq <= seq) this.depth--
      else this.doneAbove.delete(seq)
    }
    this.#advance()
    if (this.#durableSent === 'open') this.#sent = this.lastSeq
    this.#host.counted(this.depth, this.#bytes)
    return this.#holes
  }
  #noteHole(to: number): void {
    const firstSeq = Math.max(this.#seenSeq! + 1, this.firstSeq)
    if (firstSeq > to) return
    let messages = to - firstSeq + 1
    for (const seq of this.doneAbove) if (seq >= firstSeq && seq <= to) messages--
    this.#holes.push({ firstSeq, lastSeq: to, messages })
  }

  /** A segment is durable now. With the first number of the tail it replaces that. */
  noteAppended(firstSeq: number, lastSeq: number, blob: Buffer): void {
    const tail = this.tail
    const segment: Segment =
      tail?.firstSeq === firstSeq ? tail : { firstSeq, lastSeq, bytes: 0, blob: undefined, places: undefined }
    if (segment !== tail) this.#segments.push(segment)
    const messages = lastSeq - this.lastSeq
    const bytes = blob.length - segment.bytes
    segment.lastSeq = this.lastSeq = lastSeq
    segment.bytes = blob.length
    this.depth += messages
    this.#hold(bytes)
    this.#host.cache.put(segment, blob)
    this.#host.counted(messages, bytes)
  }

  read(afterSeq: number, max: number): readonly QueueEntry[] | Promise<readonly QueueEntry[]> {
    const from = Math.max(afterSeq + 1, this.firstSeq)
    const found: QueueEntry[] = []
    for (let i = this.#indexOf(from); i < this.#segments.length && found.length < max; i++) {
      const segment = this.#segments[i]!
      const places = findPlacesInMemory(segment)
      if (places === undefined) return found.length > 0 ? found : this.#load(i, afterSeq, max)
      this.#open(segment, places, { from, max }, found)
    }
    return found
  }

  done(seq: number): void {
    if (seq < this.firstSeq || seq > this.lastSeq || this.gone) return
    if (seq > this.firstSeq) {
      const segment = this.#segments[this.#indexOf(seq)]
      if (this.doneAbove.has(seq) || segment === undefined || segment.firstSeq > seq) return
      this.doneAbove.add(seq)
    } else this.firstSeq++
    this.depth--
    this.#host.counted(-1, 0)
    this.#forget(seq)
    if (seq < this.firstSeq) this.#advance()
    this.#host.changed(this)
  }

  /** The oldest is given up; in an empty queue the message of so many bytes that was to come is. */
  dropOldest(nowMs: number, newBytes: number): void {
    const [first] = this.#segments
    const bytes = first ? Math.round(first.bytes / (first.lastSeq - first.firstSeq + 1)) : newBytes
    if (this.depth > 0) this.done(this.firstSeq)
    this.#lost(nowMs, bytes)
  }
  /** The message of so many bytes that was to come is given up. */
  dropNew(nowMs: number, newBytes: number): void {
    this.#lost(nowMs, newBytes)
  }
  #lost(nowMs: number, bytes: number): void {
    const { gap } = this
    this.gap = {
      messages: (gap?.messages ?? 0) + 1,
      bytes: (gap?.bytes ?? 0) + bytes,
      fromMs: gap?.fromMs ?? nowMs,
      toMs: nowMs,
    }
    this.#host.changed(this)
  }
  clearGap(told: Gap): void {
    if (this.gap) this.gap = subtractGap(told, this.gap)
    this.#host.changed(this)
  }

  get sentSeq(): number {
    return this.#sent === 'open' ? this.lastSeq : this.#sent
  }
  startSending(): Promise<void> | undefined {
    const isKnown = this.lastSeq <= this.sentSeq && this.pendingMessages === 0
    this.#sent = 'open'
    return this.#durableSent === 'open' || isKnown ? undefined : this.#host.releases(this)
  }
  endSending(sentSeq: number): void {
    this.#sent = sentSeq
    // Of an empty queue it is written with the next message.
    if (this.isSentDue && this.depth > 0) this.#host.changed(this)
  }
  /** Its row says something else, so it goes with the next message at the latest. */
  get isSentDue(): boolean {
    return this.#sent !== this.#durableSent
  }
  /** For the row. */
  get sent(): number | null {
    return this.#sent === 'open' ? null : this.#sent
  }
  /** @param sent of the row that was written; undefined: whether it was is not known */
  noteSent(sent: number | null | undefined): void {
    this.#durableSent = sent === undefined ? 'unknown' : (sent ?? 'open')
  }

  async release(seq: number): Promise<void> {
    if (seq < this.firstSeq || seq > this.lastSeq || this.gone || this.released.has(seq) || this.doneAbove.has(seq))
      return
    this.releasing.add(seq)
    await this.#host.releases(this)
  }
  async forgetReleases(): Promise<void> {
    if (this.released.size === 0 && this.releasing.size === 0) return
    this.released.clear()
    this.releasing.clear()
    await this.#host.releases(this)
  }
  /** What was in `releasing` when the commit was composed. */
  noteReleased(seqs: readonly number[]): void {
    for (const seq of seqs) if (this.releasing.delete(seq)) this.released.add(seq)
  }

  /** Everything is given up: the session has ended. */
  drop(): void {
    this.gone = true
    this.#host.counted(-this.depth, -this.bytes)
    for (const segment of this.#segments) this.#host.cache.drop(segment)
    this.#segments = []
    this.depth = 0
    this.share = undefined
    this.#bytes = 0
    this.firstSeq = this.lastSeq + 1
  }

  #open(
    segment: Segment,
    places: Places,
    p: { readonly from: number; readonly max: number },
    into: QueueEntry[],
  ): void {
    const { doneAbove, released } = this
    const { firstSeq, blob } = segment
    // Not kept: most are sent at once, and what is kept gets old.
    for (let i = Math.max(p.from - firstSeq, 0); i < places.length && into.length < p.max; i++) {
      const [at, seq] = [places[i]!, firstSeq + i]
      if (at === DAMAGED || (doneAbove.size > 0 && doneAbove.has(seq))) continue
      const entry = decodeEntry(blob!, at, seq)
      into.push(released.size > 0 && released.has(seq) ? { ...entry, released: true } : entry)
    }
  }

  async #load(from: number, afterSeq: number, max: number): Promise<readonly QueueEntry[]> {
    const asked = this.#listUnread(from).map((segment) => ({ segment, lastSeq: segment.lastSeq }))
    const first = asked[0]!.segment
    let blobs = await this.#host.load(this, first.firstSeq, asked.at(-1)!.segment.firstSeq)
    if (blobs === 'damaged' && asked.length > 1) {
      asked.length = 1
      blobs = await this.#host.load(this, first.firstSeq, first.firstSeq)
    }
    for (const { segment, lastSeq } of asked) {
      // While the disk was asked, the segment may have grown, come to memory or been done.
      if (this.gone || segment.lastSeq !== lastSeq || segment.blob || !this.#holds(segment)) continue
      this.#take(segment, blobs === 'damaged' ? undefined : blobs.get(segment.firstSeq))
    }
    return this.read(afterSeq, max)
  }
  /** Segments from the one at `from` on that are not in memory. */
  #listUnread(from: number): readonly Segment[] {
    const all = this.#segments
    let to = from + 1
    let { bytes } = all[from]!
    for (; to < all.length && findPlacesInMemory(all[to]!) === undefined; to++)
      if ((bytes += all[to]!.bytes) > MAX_READ_BYTES) break
    return all.slice(from, to)
  }
  #holds(segment: Segment): boolean {
    return this.#segments[this.#indexOf(segment.firstSeq)] === segment
  }
  /** @param data from the disk; undefined: there is nothing, or it cannot be read */
  #take(segment: Segment, data: unknown): void {
    const blob = data instanceof Uint8Array ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : undefined
    const places = blob && findPlaces(blob, segment.lastSeq - segment.firstSeq + 1)
    if (!places) {
      this.#giveUp(segment, [])
      return
    }
    if (places.includes(DAMAGED)) this.#giveUp(segment, places)
    // Of which that may have been the last message.
    if (!blob || !this.#holds(segment)) return
    this.#host.cache.put(segment, blob)
    segment.places = places
  }

  /**
   * Marks everything that `places` lacks as done, because an open hole would keep everything above it. Entries that
   * were done before are not lost.
   */
  #giveUp(segment: Segment, places: Places): void {
    const lost: number[] = []
    for (let seq = Math.max(segment.firstSeq, this.firstSeq); seq <= segment.lastSeq; seq++)
      if ((places[seq - segment.firstSeq] ?? DAMAGED) === DAMAGED && !this.doneAbove.has(seq)) lost.push(seq)
    if (places.length === 0) segment.places = [] // never asked for again
    if (lost.length > 0) this.#host.damaged(this, segment, lost.length)
    for (const seq of lost) this.done(seq)
  }

  #forget(seq: number): void {
    if (this.released.size > 0) this.released.delete(seq)
    if (this.releasing.size > 0) this.releasing.delete(seq)
  }

  /**
   * Moves `firstSeq` over done entries and over numbers that no segment has, and drops segments that are done
   * completely.
   */
  #advance(): void {
    let gone = 0
    let bytes = 0
    for (;;) {
      while (this.doneAbove.size > 0 && this.doneAbove.delete(this.firstSeq)) this.firstSeq++
      const first = this.#segments[gone]
      if (!first) {
        this.firstSeq = this.lastSeq + 1
        break
      }
      if (this.firstSeq < first.firstSeq) this.firstSeq = first.firstSeq
      else if (this.firstSeq > first.lastSeq) {
        bytes += first.bytes
        this.#host.cache.drop(first)
        gone++
      } else if (!this.doneAbove.has(this.firstSeq)) break
    }
    if (gone === 0) return
    this.#segments.splice(0, gone)
    this.deadSegments += gone
    this.#hold(-bytes)
    this.#host.counted(0, -bytes)
  }

  /** Index of the first segment that ends at or behind `seq`. */
  #indexOf(seq: number): number {
    let low = 0
    let high = this.#segments.length
    if (high === 0 || seq <= this.#segments[0]!.lastSeq) return 0
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#segments[middle]!.lastSeq < seq) low = middle + 1
      else high = middle
    }
    return low
  }
}
