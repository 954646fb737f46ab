/**
 * What the relay holds of messages that devices have not sent whole, or that wait because a device does not read the
 * answers. All streams and connections of one device share one budget, as over gRPC (api/half-messages.ts).
 */
import { MeshError } from '../../core/errors.ts'
import type { Metrics } from '../../core/metrics.ts'
import { Sums } from '../api/limits/sums.ts'

export type HeldBytesOptions = {
  readonly maxBytes: number
  /** A message of this size may always come. */
  readonly maxMessageBytes: number
  readonly metrics: Metrics
  /** Somebody was refused because of the budget. */
  readonly exceeded: () => void
}

export class HeldBytes {
  readonly #maxBytes: number
  readonly #exceeded: () => void
  readonly #byHolder = new Sums()

  constructor({ maxBytes, maxMessageBytes, metrics, exceeded }: HeldBytesOptions) {
    this.#maxBytes = Math.max(maxBytes, 2 * maxMessageBytes)
    this.#exceeded = exceeded
    metrics.gaugeOf(
      'mesh_hub_relay_held_bytes',
      'What the relay of the hub holds of messages that devices have not sent whole, or whose answers they do not read.',
      () => this.#byHolder.total,
    )
  }

  /** Throws MESH_CONTROL_SLOW_DOWN when it is too much; it is counted all the same, until it is given back. */
  add(holder: string, change: number): void {
    const bytes = this.#byHolder.add(holder, change)
    if (change <= 0 || bytes <= this.#maxBytes) return
    this.#exceeded()
    throw new MeshError(
      'MESH_CONTROL_SLOW_DOWN',
      `what has come of unfinished messages takes more than ${this.#maxBytes} bytes (limits.maxHalfMessageBytes)`,
    )
  }
}
