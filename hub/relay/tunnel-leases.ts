/** How many connections to ports of devices there may be at once. */
import { MeshError } from '../../core/errors.ts'
import type { Metrics } from '../../core/metrics.ts'

export type TunnelLimits = { readonly maxTunnels: number; readonly maxTunnelsPerDevice: number }

export class TunnelLeases {
  readonly #limits: TunnelLimits
  readonly #byDevice = new Map<string, number>()
  readonly #outcomes
  #all = 0

  constructor({ limits, metrics }: { readonly limits: TunnelLimits; readonly metrics: Metrics }) {
    this.#limits = limits
    this.#outcomes = metrics.counter(
      'mesh_hub_tunnels_total',
      'Connections to ports of devices that were asked for and are over, by how they ended: ok, or a code.',
      ['outcome'],
    )
    metrics.gaugeOf('mesh_hub_tunnels', 'Connections to ports of devices that are open.', () => this.#all)
  }

  /** Throws MESH_CONNECT_LIMIT. */
  take(device: string): Disposable {
    const { maxTunnels, maxTunnelsPerDevice } = this.#limits
    const own = this.#byDevice.get(device) ?? 0
    if (this.#all >= maxTunnels) throw this.#refuse(`${maxTunnels} connections are open already (limits.maxTunnels)`)
    if (own >= maxTunnelsPerDevice)
      throw this.#refuse(`${device} has ${own} connections already (limits.maxTunnelsPerDevice)`)
    this.#all++
    this.#byDevice.set(device, own + 1)
    return { [Symbol.dispose]: () => this.#release(device) }
  }
  count(outcome: string): void {
    this.#outcomes.cell({ outcome }).value++
  }

  #release(device: string): void {
    this.#all--
    const left = (this.#byDevice.get(device) ?? 1) - 1
    if (left > 0) this.#byDevice.set(device, left)
    else this.#byDevice.delete(device)
  }
  #refuse(why: string): MeshError {
    this.count('MESH_CONNECT_LIMIT')
    return new MeshError('MESH_CONNECT_LIMIT', why)
  }
}
