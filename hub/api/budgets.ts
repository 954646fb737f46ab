/**
 * What one device, or the bearers of one token, may have of the hub: certificates per hour and names that they
 * subscribe to. One that asks in a loop, by mistake or on purpose, takes nothing from the others.
 */
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Metrics } from '../../core/metrics.ts'
import { describeHolder, type Caller } from './authenticate.ts'
import { Buckets } from './limits/buckets.ts'
import { Sums } from './limits/sums.ts'

export type BudgetLimits = {
  readonly maxCertificatesPerHour: number
  readonly maxJoinsPerHour: number
  readonly maxSubscribedBytes: number
  readonly maxReportsPerMinute: number
}

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

export class Budgets {
  readonly #limits: BudgetLimits
  readonly #certificates: Buckets
  readonly #reports: Buckets
  readonly #subscribed = new Sums()
  readonly #exceeded

  constructor(p: { readonly limits: BudgetLimits; readonly clock: Clock; readonly metrics: Metrics }) {
    this.#limits = p.limits
    this.#certificates = new Buckets(HOUR_MS, p.clock)
    this.#reports = new Buckets(MINUTE_MS, p.clock)
    this.#exceeded = p.metrics.counter(
      'mesh_hub_budget_exceeded_total',
      'Requests that the hub refused because a device or token had used up its budget.',
      ['budget'],
    )
  }

  /** Counts what was refused elsewhere because of a budget. */
  exceeded(budget: 'half-messages' | 'relay-streams'): void {
    this.#exceeded.cell({ budget }).value++
  }

  /** Takes one certificate. Throws MESH_CONTROL_SLOW_DOWN. */
  certificate(caller: Caller): void {
    const [perHour, setting] =
      caller.by === 'token'
        ? [this.#limits.maxJoinsPerHour, 'limits.maxJoinsPerHour']
        : [this.#limits.maxCertificatesPerHour, 'limits.maxCertificatesPerHour']
    if (this.#certificates.take(describeHolder(caller), perHour)) return
    this.#exceeded.cell({ budget: 'certificates' }).value++
    throw new MeshError(
      'MESH_CONTROL_SLOW_DOWN',
      `${perHour} certificates an hour are the most for one ${caller.by === 'token' ? 'token' : 'device'} (${setting})`,
    )
  }

  /** Takes one report. Throws MESH_CONTROL_SLOW_DOWN. */
  report(holder: string): void {
    const perMinute = this.#limits.maxReportsPerMinute
    if (this.#reports.take(holder, perMinute)) return
    this.#exceeded.cell({ budget: 'reports' }).value++
    throw new MeshError(
      'MESH_CONTROL_SLOW_DOWN',
      `${perMinute} reports a minute are the most for one device (limits.maxReportsPerMinute)`,
    )
  }

  /** What the names of one stream take, all types together; disposing gives it back. */
  subscription(caller: Caller): Disposable & { set(bytes: number): void } {
    const holder = describeHolder(caller)
    let own = 0
    const put = (bytes: number): void => {
      this.#subscribed.add(holder, bytes - own)
      own = bytes
    }
    return {
      set: (bytes) => {
        put(bytes)
        if (this.#subscribed.of(holder) <= this.#limits.maxSubscribedBytes) return
        this.#exceeded.cell({ budget: 'names' }).value++
        throw new MeshError(
          'MESH_CONTROL_SLOW_DOWN',
          `the names that one device subscribes to take more than ${this.#limits.maxSubscribedBytes} bytes (limits.maxSubscribedBytes)`,
        )
      },
      [Symbol.dispose]: () => put(0),
    }
  }
}
