/** How many ADS streams may be open: all together, and of one identity, so that one device cannot take the places of all. */
import { MeshError } from '../../agent/core/errors.ts'
import { lease, Tallies, Tally } from '../../agent/core/lease.ts'
import type { Metrics } from '../../agent/core/metrics.ts'

export class StreamLimit {
  readonly #max: { readonly maxStreams: number; readonly maxStreamsPerIdentity: number }
  readonly #byIdentity = new Tallies<string>()
  readonly #open = new Tally()
  constructor(max: { readonly maxStreams: number; readonly maxStreamsPerIdentity: number }, metrics: Metrics) {
    this.#max = max
    metrics.gaugeOf('mesh_hub_ads_streams', 'ADS streams that are open at the hub.', () => this.#open.now)
  }

  /** Takes a place; disposing gives it back. Throws MESH_CONTROL_SLOW_DOWN when there is none. */
  enter(spiffeUri: string): Disposable {
    const own = this.#byIdentity.of(spiffeUri)
    if (this.#open.now >= this.#max.maxStreams) throw new MeshError('MESH_CONTROL_SLOW_DOWN', `the hub serves ${this.#max.maxStreams} streams already (limits.maxStreams)`)
    if (own >= this.#max.maxStreamsPerIdentity) throw new MeshError('MESH_CONTROL_SLOW_DOWN', `the identity has ${own} streams already (limits.maxStreamsPerIdentity)`)
    using places = new DisposableStack()
    places.use(lease(this.#open))
    places.use(this.#byIdentity.lease(spiffeUri))
    return places.move()
  }
}
