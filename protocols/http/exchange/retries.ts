/**
 * The retries of one exchange: how many there were, which hosts were tried, and the place that a retry takes in the
 * cluster's breaker or budget. Most exchanges need none.
 */
import type { Endpoint } from '../../../model/cluster.ts'
import type { Connection } from '../../connection.ts'
import type { RequestHead } from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import type { ForwardPlan } from './planning/plan.ts'
import type { ExchangeRecord } from './record.ts'
import type { ReplayBuffer } from './replay-buffer.ts'
import { decideRetry, retryBackoffMs, type TryOutcome } from './retry.ts'

/** `fresh`: at once, on a connection that does not come from the pool. */
export type NextTry =
  | { readonly kind: 'none' }
  | { readonly kind: 'fresh' }
  | { readonly kind: 'after'; readonly backoffMs: number }

/** The exchange. */
type Tried = {
  readonly request: Pick<RequestHead, 'method' | 'header'>
  readonly body: Pick<ReplayBuffer, 'replayable'>
}

const NONE: NextTry = { kind: 'none' }
const FRESH: NextTry = { kind: 'fresh' }

export class Retries {
  readonly #rt: HttpRuntime
  readonly #conn: Connection
  readonly #record: ExchangeRecord
  #retries = 0
  #freshRetries = 0
  /** Of the retry under way, until its answer has begun. */
  #lease: Disposable | undefined
  #tried: Endpoint[] | undefined

  constructor(rt: HttpRuntime, conn: Connection, record: ExchangeRecord) {
    this.#rt = rt
    this.#conn = conn
    this.#record = record
  }

  /** Hosts that the next attempt is to avoid. */
  get tried(): readonly Endpoint[] | undefined {
    return this.#tried
  }
  addTried(endpoint: Endpoint): void {
    ;(this.#tried ??= []).push(endpoint)
  }

  /** Decides what follows an attempt that ended so, and counts it. */
  next({ retry, cluster, retriesUnsafe }: ForwardPlan, outcome: TryOutcome, { request, body }: Tried): NextTry {
    const { metrics, upstreams, ctx } = this.#rt
    const mayRepeat = retriesUnsafe ?? ctx.retriesUnsafe ?? false
    const decision = decideRetry(
      retry,
      outcome,
      {
        method: request.method,
        hasIdempotencyKey: request.header('idempotency-key') !== undefined,
        replayable: body.replayable,
        mayRepeat,
      },
      { retries: this.#retries, freshRetries: this.#freshRetries },
    )
    if (typeof decision === 'object') {
      if (decision.stop === 'not-safe') metrics.retries.heldBack.value++
      if (decision.stop === 'limit') this.#record.retryFlag = 'URX'
      return NONE
    }
    this.release()
    if (decision === 'retry-fresh') {
      metrics.retries.sent.value++
      this.#freshRetries++
      return FRESH
    }
    this.#lease = upstreams.takeRetry(cluster)
    if (!this.#lease) {
      metrics.retries.budget.value++
      this.#record.retryFlag = 'UO'
      return NONE
    }
    metrics.retries.sent.value++
    const backoffMs = retry ? retryBackoffMs(retry, this.#retries, ctx.random) : 0
    this.#retries++
    ctx.log.debug(
      { evt: 'http.retry', conn: this.#conn.id, cluster: cluster.name, tries: this.#record.tries, backoffMs },
      'request is tried again',
    )
    return { kind: 'after', backoffMs }
  }

  /** The retry under way has its answer, or the exchange is over. */
  release(): void {
    this.#lease?.[Symbol.dispose]()
    this.#lease = undefined
  }
}
