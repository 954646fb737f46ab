/** How many ADS streams may be open: all together, and of one identity, so that one device cannot take the places of all. */
import { MeshError } from '../../agent/core/errors.ts'
import type { Metrics } from '../../agent/core/metrics.ts'

export class StreamLimit {
  readonly #max: { readonly maxStreams: number; readonly maxStreamsPerIdentity: number }
  readonly #byIdentity = new Map<string, number>()
  #open = 0
  constructor(max: { readonly maxStreams: number; readonly maxStreamsPerIdentity: number }, metrics: Metrics) {
    this.#max = max
    metrics.gaugeOf('mesh_hub_ads_streams', 'ADS streams that are open at the hub.', () => this.#open)
  }

  /** Takes a place; disposing gives it back. Throws MESH_CONTROL_SLOW_DOWN when there is none. */
  enter(spiffeUri: string): Disposable {
    const own = this.#byIdentity.get(spiffeUri) ?? 0
    if (this.#open >= this.#max.maxStreams) throw new MeshError('MESH_CONTROL_SLOW_DOWN', `the hub serves ${this.#max.maxStreams} streams already (limits.maxStreams)`)
    if (own >= this.#max.maxStreamsPerIdentity) throw new MeshError('MESH_CONTROL_SLOW_DOWN', `the identity has ${own} streams already (limits.maxStreamsPerIdentity)`)
    this.#open++
    this.#byIdentity.set(spiffeUri, own + 1)
    return {
      [Symbol.dispose]: () => {
        this.#open--
        const left = this.#byIdentity.get(spiffeUri)! - 1
        if (left === 0) this.#byIdentity.delete(spiffeUri)
        else this.#byIdentity.set(spiffeUri, left)
      },
    }
  }
}
