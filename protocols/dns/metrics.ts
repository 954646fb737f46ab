import type { ErrorCode } from '../../core/errors.ts'
import type { Family, Metrics } from '../../core/metrics.ts'
import type { Cache } from './resolver/cache.ts'
import { formatRcode } from './codec/wire.ts'

/** Where an answer came from. `refused`: nothing was looked up. */
export type Source = 'table' | 'cache' | 'stale' | 'forwarded' | 'failed' | 'refused'
export type TryResult = 'answered' | 'timeout' | 'unreachable' | 'loop' | 'cancelled'

export class DnsMetrics {
  readonly #queries: Family<'source' | 'rcode'>
  readonly #refused: Family<'code'>
  readonly #tries: Family<'over' | 'result'>
  readonly #stores: Family<'result'>

  constructor(metrics: Metrics, cache: Cache, openConnections: () => number) {
    this.#queries = metrics.counter(
      'mesh_dns_queries_total',
      'DNS queries answered, by where the answer came from and its code.',
      ['source', 'rcode'],
    )
    this.#refused = metrics.counter(
      'mesh_dns_refused_total',
      'DNS messages and connections that were dropped or refused, by error code.',
      ['code'],
    )
    this.#tries = metrics.counter(
      'mesh_dns_upstream_tries_total',
      'Queries sent to upstream resolvers, by how they ended.',
      ['over', 'result'],
    )
    this.#stores = metrics.counter(
      'mesh_dns_stores_total',
      'Times the answers of upstream resolvers were written to disk, or could not be.',
      ['result'],
    )
    metrics.gaugeOf('mesh_dns_cache_entries', 'Answers in the DNS cache.', () => cache.size)
    metrics.gaugeOf('mesh_dns_cache_bytes', 'Memory that the DNS cache takes, roughly.', () => cache.bytes)
    metrics.gaugeOf('mesh_dns_tcp_connections', 'DNS connections open now.', openConnections)
  }
  answered(source: Source, rcode: number): void {
    this.#queries.cell({ source, rcode: formatRcode(rcode) }).value++
  }
  refused(code: ErrorCode): void {
    this.#refused.cell({ code }).value++
  }
  tried(over: 'udp' | 'tcp', result: TryResult): void {
    this.#tries.cell({ over, result }).value++
  }
  stored(result: 'saved' | 'failed'): void {
    this.#stores.cell({ result }).value++
  }
}
