import type { ErrorCode, MeshError } from '../../core/errors.ts'
import type { Family, Metrics } from '../../core/metrics.ts'
import type { ConnectionLimit } from './connections.ts'
import type { Listener } from '../../model/listener.ts'

/** Counters of accepting and ending connections. */
export class ServeMetrics {
  readonly #accepted: Family<'direction'>
  readonly #ended: Family<'direction' | 'code'>

  readonly #limits: Family<'limit'>

  constructor(
    metrics: Metrics,
    now: { readonly open: () => number; readonly starting: () => number; readonly sources: () => number },
  ) {
    this.#accepted = metrics.counter('mesh_connections_accepted_total', 'Connections accepted.', ['direction'])
    this.#ended = metrics.counter(
      'mesh_connections_failed_total',
      'Connections that were refused or broke, by error code.',
      ['direction', 'code'],
    )
    this.#limits = metrics.counter(
      'mesh_connections_limit_met_total',
      'Connections that were closed at once because as many as permitted were open: of the listener, of the source address, in total, or of the source address while memory is short.',
      ['limit'],
    )
    metrics.gaugeOf('mesh_connections_open', 'Connections open now, from accept to end.', now.open)
    metrics.gaugeOf(
      'mesh_connections_starting',
      'Connections open now that no codec serves yet: their first bytes or their TLS handshake are awaited.',
      now.starting,
    )
    metrics.gaugeOf('mesh_connections_sources', 'Source addresses that have connections open.', now.sources)
  }
  accepted({ direction }: Listener): void {
    this.#accepted.cell({ direction }).value++
  }
  limitMet(limit: ConnectionLimit): void {
    this.#limits.cell({ limit }).value++
  }
  ended({ direction }: Listener, error: MeshError | undefined): void {
    if (error) this.#ended.cell({ direction, code: error.code satisfies ErrorCode }).value++
  }
}
