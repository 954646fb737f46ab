/**
 * A link that fails again and again leaves connections that the hub takes for silent ones, for half an hour: of one device
 * the newest few count, and the oldest ends for one more. (Refusing the newest would lock the device out.)
 */
import { MeshError } from '../../core/errors.ts'
import type { Metrics } from '../../core/metrics.ts'

const MAX_SESSIONS = 4

type Session = { end(reason: MeshError): void }

export class NewestSessions {
  /** By device, the oldest first. */
  readonly #byDevice = new Map<string, Session[]>()
  readonly #superseded

  constructor(metrics: Metrics) {
    this.#superseded = metrics.counter(
      'mesh_hub_relay_superseded_total',
      `Connections to the relay that the hub ended because their device had opened ${MAX_SESSIONS} newer ones.`,
    )
  }

  enter(device: string, session: Session): void {
    const own = [...(this.#byDevice.get(device) ?? []), session]
    this.#byDevice.set(device, own)
    if (own.length <= MAX_SESSIONS) return
    this.#superseded.cell({}).value++
    own.shift()!.end(new MeshError('MESH_CONTROL_SLOW_DOWN', `the device has opened ${MAX_SESSIONS} newer connections`))
  }
  leave(device: string, session: Session): void {
    const left = (this.#byDevice.get(device) ?? []).filter((one) => one !== session)
    if (left.length > 0) this.#byDevice.set(device, left)
    else this.#byDevice.delete(device)
  }
}
