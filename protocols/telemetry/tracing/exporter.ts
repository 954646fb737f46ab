/**
 * Sends spans to collectors through clusters of the mesh, several at once. What a collector does not take is kept and
 * offered again, as far as there is room; then the oldest go, and are counted.
 */
import type { Current } from '../../../core/current.ts'
import { detach, guard } from '../../../core/defects/guard.ts'
import { memoize } from '../../../core/memoize.ts'
import type { Cell, Metrics } from '../../../core/metrics.ts'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import { toMeshError } from '../../../core/errors.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { Tables } from '../../../model/tables.ts'
import type { FinishedSpan, SpanOutput, TracingProvider } from '../../../model/http/tracing.ts'
import { encodeOtlpSpans, encodeZipkin } from './encode.ts'

export type Post = (
  cluster: Cluster,
  request: {
    readonly authority: string
    readonly path: string
    /** Flat, lower-case names. */
    readonly headers: readonly string[]
    readonly body: Buffer
    readonly speaks: 'http1' | 'http2'
  },
) => Promise<{ readonly status: number; readonly grpcStatus: string | undefined }>

export type ExporterOptions = {
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly tables: Current<Tables>
  /** Of spans whose provider names no service. */
  readonly serviceName: string
}

/** Of one collector; a span takes about 2 KiB. */
export const MAX_WAITING_SPANS = 2_048
/** Sent in one piece, and at once where so many wait. */
const MAX_BATCH = 256
const FLUSH_MS = 5_000
const MAX_PAUSE_MS = 60_000
/** Providers that spans go to; those of earlier configurations count until they are empty. */
const MAX_COLLECTORS = 8

const OTLP_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

/** The same settings in another configuration are the same collector. */
const identify = memoize((provider: TracingProvider) => ({ key: JSON.stringify(provider) }))

type Counters = { readonly sent: Cell; readonly full: Cell; readonly refused: Cell }

export class SpanExporter implements SpanOutput, Disposable {
  readonly #o: ExporterOptions
  readonly #counters: Counters
  readonly #collectors = new Map<string, Collector>()
  #post: Post | undefined

  constructor(options: ExporterOptions) {
    this.#o = options
    const dropped = options.metrics.counter(
      'mesh_tracing_spans_dropped_total',
      'Spans that no collector got: there was no room for them while none was reached, or it refused them.',
      ['reason'],
    )
    this.#counters = {
      sent: options.metrics.counter('mesh_tracing_spans_sent_total', 'Spans that a collector has taken.').cell({}),
      full: dropped.cell({ reason: 'full' }),
      refused: dropped.cell({ reason: 'refused' }),
    }
  }

  /** Until then spans wait. */
  connect(post: Post): void {
    this.#post = post
  }

  report(provider: TracingProvider, span: FinishedSpan): void {
    const { key } = identify(provider)
    let collector = this.#collectors.get(key)
    if (!collector) {
      for (const [known, one] of this.#collectors) if (one.isIdle) this.#collectors.delete(known)
      if (this.#collectors.size >= MAX_COLLECTORS) {
        this.#counters.full.value++
        return
      }
      collector = new Collector(provider, this.#o, this.#counters, (cluster, request) =>
        this.#post ? this.#post(cluster, request) : Promise.reject(new Error('not connected yet')),
      )
      this.#collectors.set(key, collector)
    }
    collector.add(span)
  }

  [Symbol.dispose](): void {
    for (const collector of this.#collectors.values()) collector.end()
    this.#collectors.clear()
  }
}

class Collector {
  readonly #provider: TracingProvider
  readonly #o: ExporterOptions
  readonly #counters: Counters
  readonly #post: Post
  #waiting: FinishedSpan[] = []
  #timer: Timer | undefined
  #isSending = false
  #isOver = false
  #pauseMs = FLUSH_MS

  constructor(provider: TracingProvider, options: ExporterOptions, counters: Counters, post: Post) {
    this.#provider = provider
    this.#o = options
    this.#counters = counters
    this.#post = post
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && !this.#isSending
  }

  add(span: FinishedSpan): void {
    if (this.#waiting.length >= MAX_WAITING_SPANS) {
      this.#waiting.shift()
      this.#counters.full.value++
    }
    this.#waiting.push(span)
    if (this.#isSending) return
    if (this.#waiting.length === MAX_BATCH && this.#pauseMs === FLUSH_MS) this.#flush()
    else this.#arm()
  }

  end(): void {
    this.#isOver = true
    this.#timer?.cancel()
  }

  #arm(): void {
    this.#timer ??= this.#o.clock.after(
      this.#pauseMs,
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
    if (this.#isOver || this.#isSending || this.#waiting.length === 0) return
    this.#isSending = true
    detach('process', this.#send(this.#waiting.splice(0, MAX_BATCH)))
  }

  async #send(spans: readonly FinishedSpan[]): Promise<void> {
    try {
      const verdict = await this.#offer(spans)
      this.#counters[verdict].value += spans.length
      this.#pauseMs = FLUSH_MS
    } catch (thrown) {
      this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS)
      this.#takeBack(spans)
      const { cluster } = this.#provider
      this.#o.log.warn({ evt: 'tracing.export', cluster, err: toMeshError(thrown) }, 'spans wait for their collector')
    } finally {
      this.#isSending = false
      if (!this.#isOver && this.#waiting.length > 0) this.#arm()
    }
  }

  /** In front of what has come since. */
  #takeBack(spans: readonly FinishedSpan[]): void {
    const all = [...spans, ...this.#waiting]
    const over = Math.max(0, all.length - MAX_WAITING_SPANS)
    this.#counters.full.value += over
    this.#waiting = all.slice(over)
  }

  /** Rejects where it may be offered again. */
  async #offer(spans: readonly FinishedSpan[]): Promise<'sent' | 'refused'> {
    const provider = this.#provider
    const cluster = this.#o.tables.get().cluster(provider.cluster)
    if (!cluster) throw new Error(`there is no cluster ${provider.cluster}`)
    const isOtlp = provider.kind === 'otlp'
    const { status, grpcStatus } = await this.#post(
      cluster,
      isOtlp ? this.#otlp(spans, provider) : this.#zipkin(spans, provider),
    )
    if (isOtlp && status === 200) {
      if (grpcStatus === '0') return 'sent'
      if (grpcStatus !== undefined && !MAY_COME_AGAIN.has(grpcStatus)) return 'refused'
    } else if (!isOtlp && status < 300) return 'sent'
    else if (status >= 400 && status < 500 && status !== 408 && status !== 429) return 'refused'
    throw new Error(
      `the collector answered with ${status}${isOtlp ? ` and gRPC status ${grpcStatus ?? '(none)'}` : ''}`,
    )
  }

  #otlp(spans: readonly FinishedSpan[], p: Extract<TracingProvider, { kind: 'otlp' }>): Parameters<Post>[1] {
    return {
      authority: p.authority,
      path: OTLP_PATH,
      headers: ['content-type', 'application/grpc', 'te', 'trailers', ...p.headers],
      body: encodeOtlpSpans(spans, p.serviceName || this.#o.serviceName),
      speaks: 'http2',
    }
  }

  #zipkin(spans: readonly FinishedSpan[], p: Extract<TracingProvider, { kind: 'zipkin' }>): Parameters<Post>[1] {
    const body = encodeZipkin(spans, this.#o.serviceName)
    return { authority: p.host, path: p.path, headers: ['content-type', 'application/json'], body, speaks: 'http1' }
  }
}

/** OTLP §"Failures": codes of gRPC that may be tried again. */
const MAY_COME_AGAIN: ReadonlySet<string> = new Set(['1', '4', '8', '10', '11', '14', '15'])
