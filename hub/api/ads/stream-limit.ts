/**
 * How many ADS streams may be open: all together, of one identity, and of one device, so that it cannot take the places
 * of all who share its identity.
 */
import { MeshError } from '../../../core/errors.ts'
import { takeLease, Tallies, Tally } from '../../../core/lease.ts'
import type { Metrics } from '../../../core/metrics.ts'
import { describeHolder, type Caller } from '../authenticate.ts'

type Max = { readonly maxStreams: number; readonly maxStreamsPerIdentity: number; readonly maxStreamsPerDevice: number }

export class StreamLimit {
  readonly #max: Max
  readonly #byIdentity = new Tallies<string>()
  /** A token may have many bearers: they share the places of the identity. */
  readonly #byDevice = new Tallies<string>()
  readonly #open = new Tally()
  constructor(max: Max, metrics: Metrics) {
    this.#max = max
    metrics.gaugeOf('mesh_hub_ads_streams', 'ADS streams that are open at the hub.', () => this.#open.now)
  }

  /** Takes a place; disposing gives it back. Throws MESH_CONTROL_SLOW_DOWN when there is none. */
  enter(caller: Caller): Disposable {
    const spiffeUri = caller.spiffeId.uri
    const device = caller.by === 'token' ? undefined : describeHolder(caller)
    const own = this.#byIdentity.of(spiffeUri)
    if (this.#open.now >= this.#max.maxStreams)
      throw new MeshError(
        'MESH_CONTROL_SLOW_DOWN',
        `the hub serves ${this.#max.maxStreams} streams already (limits.maxStreams)`,
      )
    if (own >= this.#max.maxStreamsPerIdentity)
      throw new MeshError(
        'MESH_CONTROL_SLOW_DOWN',
        `the identity has ${own} streams already (limits.maxStreamsPerIdentity)`,
      )
    if (device !== undefined && this.#byDevice.of(device) >= this.#max.maxStreamsPerDevice)
      throw new MeshError(
        'MESH_CONTROL_SLOW_DOWN',
        `the device has ${this.#max.maxStreamsPerDevice} streams already (limits.maxStreamsPerDevice)`,
      )
    using places = new DisposableStack()
    places.use(takeLease(this.#open))
    places.use(this.#byIdentity.lease(spiffeUri))
    if (device !== undefined) places.use(this.#byDevice.lease(device))
    return places.move()
  }
}
