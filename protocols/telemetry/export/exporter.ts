/**
 * Sends spans and entries of access logs to collectors through clusters of the mesh. Each collector has a queue of its
 * own; what waits is bounded in memory and on disk, and what is lost is counted.
 */
import { createHash } from 'node:crypto'
import type { Current } from '../../../core/current.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import { memoize } from '../../../core/memoize.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Collector, ExportOutput, Signal } from '../../../model/access-log/collector.ts'
import type { Tables } from '../../../model/tables.ts'
import { BatchStores, type BatchStoreOptions } from './batch-store.ts'
import { encodeRequest, type Sender } from './envelope.ts'
import { sendBatch, type Post } from './offer.ts'
import { CollectorQueue, type ItemCounters } from './queue.ts'

export type ExporterOptions = {
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly tables: Current<Tables>
  readonly sender: () => Sender
  /** Undefined: what waits is in memory alone. */
  readonly disk?: Omit<BatchStoreOptions, 'log' | 'metrics' | 'onLost'> | undefined
}

/** Those of earlier configurations count until they are empty. */
const MAX_COLLECTORS = 16

/** The same settings in another configuration are the same collector. Headers may be secret, so that it is a digest. */
const identify = memoize((collector: Collector) => ({
  key: createHash('sha256').update(JSON.stringify(collector)).digest('base64url'),
}))

export class Exporter implements ExportOutput, AsyncDisposable {
  readonly #o: ExporterOptions
  readonly #counters: Readonly<Record<Signal, ItemCounters>>
  readonly #queues = new Map<string, CollectorQueue>()
  readonly #stores: BatchStores | undefined
  #post: Post | undefined

  constructor(options: ExporterOptions) {
    const { metrics, log, disk } = options
    this.#o = options
    this.#counters = { spans: countSpans(metrics), logs: countLogs(metrics) }
    const onLost = (signal: Signal, items: number): void => {
      this.#counters[signal].disk.value += items
    }
    this.#stores = disk && disk.maxBytes > 0 ? new BatchStores({ ...disk, log, metrics, onLost }) : undefined
    if (this.#stores) detach('process', this.#stores.load())
  }

  /** Until then items wait. */
  connect(post: Post): void {
    this.#post = post
  }

  send(collector: Collector, signal: Signal, item: Buffer): void {
    const { key } = identify(collector)
    let queue = this.#queues.get(key)
    if (!queue) {
      for (const [known, one] of this.#queues) if (one.isIdle) this.#queues.delete(known)
      if (this.#queues.size >= MAX_COLLECTORS) this.#endUnreachable()
      if (this.#queues.size >= MAX_COLLECTORS) {
        this.#counters[signal].full.value++
        return
      }
      queue = this.#createQueue(key, collector, signal)
      this.#queues.set(key, queue)
    }
    queue.add(item)
  }

  /** Those whose clusters are gone would wait for ever; should they come back, what is on disk is sent. */
  #endUnreachable(): void {
    const tables = this.#o.tables.get()
    for (const [key, queue] of this.#queues) {
      if (tables.cluster(queue.cluster)) continue
      this.#queues.delete(key)
      detach('process', queue.end())
    }
  }

  #createQueue(key: string, collector: Collector, signal: Signal): CollectorQueue {
    const { clock, log, sender } = this.#o
    return new CollectorQueue({
      clock,
      log,
      collector,
      key,
      counters: this.#counters[signal],
      store: this.#stores?.open(signal),
      wrap: (items) => encodeRequest(collector, items, sender()),
      offer: (body) => this.#offer(collector, body),
    })
  }

  async #offer(collector: Collector, body: Buffer): Promise<'sent' | 'refused'> {
    if (!this.#post) throw new Error('not connected yet')
    const cluster = this.#o.tables.get().cluster(collector.cluster)
    if (!cluster) throw new Error(`there is no cluster ${collector.cluster}`)
    return await sendBatch(this.#post, cluster, collector, body)
  }

  /** What waits is put on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    const queues = [...this.#queues.values()]
    this.#queues.clear()
    for (const queue of queues) await queue.end()
    await this.#stores?.[Symbol.asyncDispose]()
  }
}

function countSpans(metrics: Metrics): ItemCounters {
  const dropped = metrics.counter(
    'mesh_tracing_spans_dropped_total',
    'Spans that no collector got: there was no room for them in memory or on disk while none was reached, or it refused them.',
    ['reason'],
  )
  const sent = metrics.counter('mesh_tracing_spans_sent_total', 'Spans that a collector has taken.').cell({})
  return { sent, ...dropped.cells(['full', 'refused', 'disk']) }
}

function countLogs(metrics: Metrics): ItemCounters {
  const dropped = metrics.counter(
    'mesh_access_log_entries_dropped_total',
    'Entries of access logs that no collector got: there was no room for them in memory or on disk while none was reached, or it refused them.',
    ['reason'],
  )
  const sent = metrics
    .counter('mesh_access_log_entries_sent_total', 'Entries of access logs that a collector has taken.')
    .cell({})
  return { sent, ...dropped.cells(['full', 'refused', 'disk']) }
}
