/** Limits of a filter chain for connections, which count before anything is said (network local_ratelimit, connection_limit, ratelimit). */
import { once } from 'node:events'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import { Tallies } from '../../core/lease.ts'
import { memoize } from '../../core/memoize.ts'
import type { Cell, Family } from '../../core/metrics.ts'
import type { ConnectionLimit } from '../../model/http/connection-limit.ts'
import type { FilterChain } from '../../model/listener.ts'
import { BoundedNames } from '../bounded-names.ts'
import type { Codecs } from '../codecs.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../context.ts'
import { countLimits } from '../http/filters/rate-limit/counters.ts'
import { TokenBucket } from '../http/filters/rate-limit/token-bucket.ts'
import { toSignal } from '../../core/runtime/notice.ts'

type Rate = Extract<ConnectionLimit, { kind: 'rate' }>
const NOBODY_COUNTS = (): MeshError => new MeshError('MESH_RATE_LIMIT_UNAVAILABLE', 'there is nobody who could ask')

export class ConnectionLimits {
  readonly #ctx: Pick<Context, 'clock' | 'metrics'>
  /** By listener, chain and place: a push that changes what a chain does, does not forget who is there. */
  readonly #open = new Tallies<string>()
  readonly #buckets = new WeakMap<Rate, TokenBucket>()
  /** By share key and bucket; each lives as long as a limit that takes from it. */
  readonly #shared = new Map<string, WeakRef<TokenBucket>>()
  readonly #counted: Family<'prefix' | 'result'>
  readonly #names = new BoundedNames()

  constructor(ctx: Pick<Context, 'clock' | 'metrics'>) {
    this.#ctx = ctx
    this.#counted = ctx.metrics.counter(
      'mesh_connection_limit_total',
      'Connections that connection_limit has counted, by its stat_prefix: ok or refused; behind 1,000 prefixes the others are one.',
      ['prefix', 'result'],
    )
  }

  /**
   * Throws MESH_RATE_LIMITED, MESH_CONNECTION_LIMIT or why nobody could count it.
   * @returns what the connection takes until it is over
   */
  async admit(conn: Connection, { askCounter }: Pick<Codecs, 'askCounter'>): Promise<Disposable> {
    using taken = new DisposableStack()
    for (const [i, limit] of (conn.chain.limits ?? []).entries()) {
      if (limit.kind === 'rate') this.#take(limit)
      else if (limit.kind === 'service') {
        const refusal = askCounter ? await askCounter(conn, limit) : NOBODY_COUNTS()
        if (refusal) throw refusal
      } else
        taken.use(await this.#enter(limit, conn, JSON.stringify([conn.listener.name, keyOfChain(conn.chain).key, i])))
    }
    return taken.move()
  }

  #take(limit: Rate): void {
    const isAllowed = this.#bucketOf(limit).take(this.#ctx.clock.monotonicMs())
    countLimits([{ prefix: limit.statPrefix, result: isAllowed ? 'ok' : 'refused' }], this.#ctx.metrics)
    if (!isAllowed)
      throw new MeshError('MESH_RATE_LIMITED', 'more connections have come than the local rate limit lets pass')
  }
  #bucketOf(limit: Rate): TokenBucket {
    const known = this.#buckets.get(limit)
    if (known) return known
    const made = this.#findShared(limit) ?? new TokenBucket(limit.bucket, this.#ctx.clock.monotonicMs())
    this.#buckets.set(limit, made)
    if (limit.shareKey !== '') this.#shared.set(keyOf(limit), new WeakRef(made))
    return made
  }
  #findShared(limit: Rate): TokenBucket | undefined {
    if (limit.shareKey === '') return undefined
    for (const [key, bucket] of this.#shared) if (!bucket.deref()) this.#shared.delete(key)
    return this.#shared.get(keyOf(limit))?.deref()
  }

  async #enter(
    { statPrefix, max, delayMs }: Extract<ConnectionLimit, { kind: 'count' }>,
    conn: Connection,
    key: string,
  ): Promise<Disposable> {
    const cell = (result: 'ok' | 'refused'): Cell =>
      this.#counted.cell({ prefix: this.#names.bound(statPrefix), result })
    if (this.#open.of(key) < max) {
      cell('ok').value++
      return this.#open.lease(key)
    }
    cell('refused').value++
    if (delayMs > 0) await this.#wait(conn, delayMs)
    throw new MeshError('MESH_CONNECTION_LIMIT', `${max} connections are open (connection_limit ${statPrefix})`)
  }

  /** Or until the client or the agent goes. */
  async #wait({ stream, draining, aborted }: Connection, delayMs: number): Promise<void> {
    const over = new AbortController()
    const end = guard('network', ignore, () => over.abort())
    const timer = this.#ctx.clock.after(delayMs, end)
    const either = AbortSignal.any([over.signal, toSignal(draining), toSignal(aborted)])
    stream.once('close', end)
    if (!either.aborted && !stream.destroyed) await once(either, 'abort')
    timer.cancel()
    stream.off('close', end)
  }
}

/** Chains may have the same name, or none: what they take tells them apart. */
const keyOfChain = memoize(({ name, match }: FilterChain) => ({ key: JSON.stringify([name, match]) }))

function keyOf({ shareKey, bucket }: Rate): string {
  return JSON.stringify([shareKey, bucket.maxTokens, bucket.tokensPerFill, bucket.fillMs])
}

function ignore(): void {
  /* the connection is refused either way */
}
