/** What all HTTP connections of one context share: counters, and the timer of their deadlines. */
import type { Context } from '../context.ts'
import { Deadlines } from '../deadlines.ts'
import { HttpMetrics } from './http-metrics.ts'
import type { HttpUpstreams } from './message.ts'
import { SourceTurns } from './server/source-turn.ts'
import { ExchangesUnderWay } from './under-way.ts'
import { getWaiting, type Waiting } from '../waiting.ts'

export type HttpRuntime = {
  readonly ctx: Context
  readonly waiting: Waiting
  readonly upstreams: HttpUpstreams
  readonly deadlines: Deadlines
  readonly metrics: HttpMetrics
  readonly turns: SourceTurns
  readonly underWay: ExchangesUnderWay
}

const runtimes = new WeakMap<HttpUpstreams, HttpRuntime>()

/** One per upstreams, which belong to one context. */
export function createRuntime(ctx: Context, upstreams: HttpUpstreams): HttpRuntime {
  const known = runtimes.get(upstreams)
  if (known) return known
  const made = {
    ctx,
    waiting: getWaiting(ctx),
    upstreams,
    deadlines: new Deadlines(ctx.clock),
    metrics: new HttpMetrics(ctx.metrics),
    turns: new SourceTurns(),
    underWay: new ExchangesUnderWay(ctx.tables),
  }
  runtimes.set(upstreams, made)
  return made
}
