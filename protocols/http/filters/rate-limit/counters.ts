/** What rate limits have found, by their stat_prefix. */
import { memoize } from '../../../../core/memoize.ts'
import type { Family, Metrics } from '../../../../core/metrics.ts'
import { BoundedNames } from '../../../bounded-names.ts'
import type { LimitFound } from './filter.ts'

class LimitCounters {
  readonly #found: Family<'prefix' | 'result'>
  readonly #names = new BoundedNames()

  constructor(metrics: Metrics) {
    this.#found = metrics.counter(
      'mesh_rate_limit_total',
      'Requests and connections that a rate limit has counted, by its stat_prefix (of a service without one its domain): ok, over (too many, and passed: filter_enforced), refused, or unknown (the service could not be asked, and it passed); behind 1,000 prefixes the others are one.',
      ['prefix', 'result'],
    )
  }
  count({ prefix, result }: LimitFound): void {
    this.#found.cell({ prefix: this.#names.bound(prefix), result }).value++
  }
}
const countersOf = memoize((metrics: Metrics) => new LimitCounters(metrics))

export function countLimits(found: readonly LimitFound[], metrics: Metrics): void {
  for (const one of found) countersOf(metrics).count(one)
}
