import type { ErrorCode, MeshError } from '../agent/core/errors.ts'
import type { Cell, Family, Metrics } from '../agent/core/metrics.ts'
import type { Listener } from '../agent/model/listener.ts'

/** Counters of accepting and ending connections. */
export class ServeMetrics {
  readonly shadowDenied: Cell
  readonly #accepted: Family<'direction'>
  readonly #ended: Family<'direction' | 'code'>

  constructor(metrics: Metrics, openNow: () => number) {
    this.#accepted = metrics.counter('mesh_connections_accepted_total', 'Connections accepted.', ['direction'])
    this.#ended = metrics.counter('mesh_connections_failed_total', 'Connections that were refused or broke, by error code.', ['direction', 'code'])
    this.shadowDenied = metrics.counter('mesh_authz_shadow_denied_total', 'Connections and requests that a dry-run policy would have refused.').cell({})
    metrics.gaugeOf('mesh_connections_open', 'Connections open now.', openNow)
  }
  accepted({ direction }: Listener): void { this.#accepted.cell({ direction }).value++ }
  ended({ direction }: Listener, error: MeshError | undefined): void {
    if (error) this.#ended.cell({ direction, code: error.code satisfies ErrorCode }).value++
  }
}
