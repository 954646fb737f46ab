/**
 * Items on their way to one collector: gathered, sent in one request after the other, and offered again, after growing
 * pauses, where the collector does not take them. Meanwhile they lie on disk, or wait in memory where there is none.
 */
import { toMeshError } from '../../../core/errors.ts'
import { detach, guard } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { Cell } from '../../../core/metrics.ts'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Collector } from '../../../model/access-log/collector.ts'
import type { Batch, BatchStore, StoredBatch } from './batch-store.ts'

/** `full`: there was no room in memory. `refused`: by the collector. */
export type ItemCounters = { readonly sent: Cell; readonly full: Cell; readonly refused: Cell; readonly disk: Cell }

export type QueueOptions = {
  readonly clock: Clock
  readonly log: Log
  readonly counters: ItemCounters
  readonly collector: Collector
  readonly store: BatchStore | undefined
  /** The key of the collector in the store. */
  readonly key: string
  readonly wrap: (items: readonly Buffer[]) => Buffer
  /** Rejects where it may be offered again. */
  readonly offer: (body: Buffer) => Promise<'sent' | 'refused'>
}

/** Of one collector, in memory. */
export const MAX_WAITING_ITEMS = 2_048
export const MAX_WAITING_BYTES = 2 * 1024 * 1024
/** Sent in one request, and at once where so many wait. */
const MAX_BATCH_ITEMS = 256
const MAX_BATCH_BYTES = 512 * 1024
const FLUSH_MS = 5_000
const MAX_PAUSE_MS = 60_000

export class CollectorQueue {
  readonly #o: QueueOptions
  #waiting: Buffer[] = []
  #waitingBytes = 0
  /** Was not taken, and found no room on disk. */
  #again: Batch | undefined
  #timer: Timer | undefined
  /** On its way, and not on disk. */
  #inFlight: Batch | undefined
  #isSending = false
  #isOver = false
  /** Undefined: it took what it was offered last. */
  #pauseMs: number | undefined

  constructor(options: QueueOptions) {
    this.#o = options
  }

  get cluster(): string {
    return this.#o.collector.cluster
  }
  get isIdle(): boolean {
    return (
      this.#waiting.length === 0 && this.#again === undefined && !this.#isSending && !this.#o.store?.has(this.#o.key)
    )
  }

  add(item: Buffer): void {
    const { full } = this.#o.counters
    if (item.length > MAX_BATCH_BYTES) {
      full.value++
      return
    }
    while (this.#waiting.length >= MAX_WAITING_ITEMS || this.#waitingBytes + item.length > MAX_WAITING_BYTES) {
      this.#waitingBytes -= this.#waiting.shift()!.length
      full.value++
    }
    this.#waiting.push(item)
    this.#waitingBytes += item.length
    if (this.#isSending) return
    if (!this.#isBatchFull) this.#arm()
    else if (this.#pauseMs === undefined) this.#flush()
    else if (this.#o.store) detach('process', this.#storeWaiting())
  }

  /** Puts what waits on disk, as far as there is one; the rest is lost. */
  async end(): Promise<void> {
    this.#isOver = true
    this.#timer?.cancel()
    for (const batch of new Set([this.#again, this.#inFlight])) if (batch) await this.#store(batch)
    while (this.#waiting.length > 0) await this.#store(this.#takeBatch())
    const { counters, store } = this.#o
    counters[store ? 'disk' : 'full'].value += this.#again?.items ?? 0
    this.#again = undefined
  }

  get #isBatchFull(): boolean {
    const bytes = Math.min(this.#o.collector.batchBytes ?? MAX_BATCH_BYTES, MAX_BATCH_BYTES)
    return this.#waiting.length >= MAX_BATCH_ITEMS || this.#waitingBytes >= bytes
  }

  #arm(): void {
    if (this.#isOver) return
    this.#timer ??= this.#o.clock.after(
      this.#pauseMs ?? this.#o.collector.flushMs ?? FLUSH_MS,
      guard(
        'process',
        () => {},
        () => this.#flush(),
      ),
    )
  }

  #flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#isOver || this.#isSending) return
    this.#isSending = true
    detach('process', this.#sendAll())
  }

  async #sendAll(): Promise<void> {
    try {
      for (;;) {
        const { store, key } = this.#o
        const stored = store?.has(key) ? await store.findOldest(key) : undefined
        if (this.#isOver) return
        const batch = stored ?? this.#again ?? (this.#waiting.length > 0 ? this.#takeBatch() : undefined)
        if (!batch) return
        if (!(await this.#send(batch, stored))) return
        // What comes while it takes them waits for company, as before.
        if (!stored && !this.#isBatchFull && !this.#o.store?.has(this.#o.key)) return
      }
    } finally {
      this.#isSending = false
      if (!this.isIdle) this.#arm()
    }
  }

  /** @returns false: it may be offered again, later */
  async #send(batch: Batch, stored: StoredBatch | undefined): Promise<boolean> {
    const { counters, offer, store, log, collector } = this.#o
    if (!stored) this.#inFlight = batch
    try {
      const verdict = await offer(batch.body)
      counters[verdict].value += batch.items
      this.#pauseMs = undefined
      if (stored) await store!.remove(stored)
      else if (batch === this.#again) this.#again = undefined
      return true
    } catch (thrown) {
      this.#pauseMs = Math.min((this.#pauseMs ?? FLUSH_MS) * 2, MAX_PAUSE_MS)
      const err = toMeshError(thrown)
      log.warn(
        { evt: 'telemetry.export', cluster: collector.cluster, err },
        'a collector does not take what it is sent',
      )
      // Else `end` has seen to it.
      if (!stored && !this.#isOver) await this.#store(batch)
      return false
    } finally {
      this.#inFlight = undefined
    }
  }

  async #storeWaiting(): Promise<void> {
    this.#isSending = true
    try {
      while (this.#isBatchFull) await this.#store(this.#takeBatch())
    } finally {
      this.#isSending = false
      this.#arm()
    }
  }

  /** Where there is no room for it one batch waits here, and others are lost. */
  async #store(batch: Batch): Promise<void> {
    const { store, key, counters } = this.#o
    if (await store?.put(key, batch)) {
      if (batch === this.#again) this.#again = undefined
      return
    }
    if (store && this.#again && batch !== this.#again) counters.disk.value += batch.items
    else if (this.#again && batch !== this.#again) counters.full.value += batch.items
    else this.#again = batch
  }

  #takeBatch(): Batch {
    let bytes = 0
    let count = 0
    while (count < this.#waiting.length && count < MAX_BATCH_ITEMS) {
      bytes += this.#waiting[count]!.length
      if (count > 0 && bytes > MAX_BATCH_BYTES) {
        bytes -= this.#waiting[count]!.length
        break
      }
      count++
    }
    const items = this.#waiting.splice(0, count)
    this.#waitingBytes -= bytes
    return { items: items.length, body: this.#o.wrap(items) }
  }
}
