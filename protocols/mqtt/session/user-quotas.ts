/**
 * mqtt.quotas: what one user may have and send. Whose share something is says owner.ts: a user's, else a certificate's,
 * else an address's.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { takeLease, type Lease, Tallies, Tally } from '../../../core/lease.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Quota } from '../../../model/mqtt/quota.ts'
import type { Client } from '../authorization/authorizer.ts'
import { isAbout } from '../authorization/rule-authorizer.ts'

export type { Quota } from '../../../model/mqtt/quota.ts'
const KINDS = ['connections', 'sessions', 'message-rate', 'byte-rate'] as const
type Kind = (typeof KINDS)[number]

/** What would keep a connection unread for longer: its client would think that it is dead. */
export const MAX_WAIT_MS = 10_000

export function findQuota(quotas: readonly Quota[], client: Client): Quota | undefined {
  return quotas.find((one) => isAbout(one, client))
}

export class UserQuotas implements Disposable {
  readonly #clock: Clock
  readonly #met: Readonly<Record<Kind, { value: number }>>
  readonly #connections = new Tallies<string>()
  readonly #rates = new Map<string, Rate>()

  constructor({ clock, metrics }: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#clock = clock
    const met = metrics.counter(
      'mesh_mqtt_quota_met_total',
      'Times that a user, certificate or address had as much as mqtt.quotas gives it.',
      ['quota'],
    )
    this.#met = met.cells(KINDS)
  }

  countMet(kind: Kind): void {
    this.#met[kind].value++
  }

  /**
   * @param p.ending of its connections that this one takes the place of
   * @throws MESH_MQTT_QUOTA
   */
  connect(share: string, p: { readonly quota: Quota | undefined; readonly ending: number }): Lease {
    const max = p.quota?.maxConnections
    if (max !== undefined && this.#connections.of(share) - p.ending >= max) {
      this.countMet('connections')
      throw new MeshError('MESH_MQTT_QUOTA', `${max} connections belong to ${share} (mqtt.quotas[].maxConnections)`)
    }
    return this.#connections.lease(share)
  }

  /** Shared by all connections of the share; to be disposed of when the connection is over. */
  enterRate(share: string): SharedRate {
    const rate = this.#rates.get(share) ?? new Rate(this.#clock, () => this.#rates.delete(share))
    this.#rates.set(share, rate)
    return new SharedRate(rate, (kind) => this.countMet(kind))
  }
  /** Those of which something is remembered. */
  get rates(): number {
    return this.#rates.size
  }
  [Symbol.dispose](): void {
    for (const rate of this.#rates.values()) rate[Symbol.dispose]()
  }
}

export class SharedRate implements Disposable {
  readonly #met: (kind: Kind) => void
  #rate: Rate | undefined
  readonly #lease: Lease

  constructor(rate: Rate, met: (kind: Kind) => void) {
    this.#met = met
    this.#rate = rate
    this.#lease = rate.enter()
  }

  /** @returns how long nothing more is to be read; undefined: it is not to be taken, and nothing is owed for it */
  charge(bytes: number, { maxBytesPerSec, maxMessagesPerSec }: Quota): number | undefined {
    if (!this.#rate) return 0
    const messages = maxMessagesPerSec === undefined ? undefined : this.#rate.messages.at(maxMessagesPerSec)
    const all = maxBytesPerSec === undefined ? undefined : this.#rate.bytes.at(maxBytesPerSec)
    const [messagesMs, bytesMs] = [messages?.waitMs(1) ?? 0, all?.waitMs(bytes) ?? 0]
    if (messagesMs > 0) this.#met('message-rate')
    if (bytesMs > 0) this.#met('byte-rate')
    if (Math.max(messagesMs, bytesMs) > MAX_WAIT_MS) return undefined
    messages?.take(1)
    all?.take(bytes)
    return Math.max(messagesMs, bytesMs)
  }
  [Symbol.dispose](): void {
    this.#rate = undefined
    this.#lease[Symbol.dispose]()
  }
}

/** What a share has sent of late. Kept after its last connection until it would be full again: who comes back owes it. */
class Rate implements Disposable {
  readonly messages: Bucket
  readonly bytes: Bucket
  readonly #clock: Clock
  readonly #forget: () => void
  readonly #connections = new Tally(() => this.#owes())
  #timer: Timer | undefined

  constructor(clock: Clock, forget: () => void) {
    this.#clock = clock
    this.#forget = forget
    this.messages = new Bucket(clock)
    this.bytes = new Bucket(clock)
  }
  enter(): Lease {
    this.#timer?.cancel()
    this.#timer = undefined
    return takeLease(this.#connections)
  }
  #owes(): void {
    const fullMs = Math.max(this.messages.fullMs, this.bytes.fullMs)
    if (fullMs === 0) this.#forget()
    else this.#timer = this.#clock.after(fullMs, this.#forget)
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }
}

/** A second's worth at once, then as much as comes in; what was taken may be more than there is. */
class Bucket {
  readonly #clock: Clock
  #perSec = 0
  #level = 0
  #atMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }
  /** As it is now, at this rate. */
  at(perSec: number): this {
    const nowMs = this.#clock.monotonicMs()
    // Of another quota, or none so far: a new one begins full, with what is owed.
    if (perSec !== this.#perSec) this.#level = this.#perSec === 0 ? perSec : Math.min(perSec, this.#level)
    this.#level = Math.min(perSec, this.#level + ((nowMs - this.#atMs) * perSec) / 1000)
    this.#perSec = perSec
    this.#atMs = nowMs
    return this
  }
  /** @returns milliseconds until there is something again after so much was taken; 0 = there is */
  waitMs(count: number): number {
    const left = this.#level - count
    return left < 0 ? Math.ceil((-left * 1000) / this.#perSec) : 0
  }
  take(count: number): void {
    this.#level -= count
  }
  get fullMs(): number {
    if (this.#perSec === 0) return 0
    const missing = this.#perSec - this.#level - ((this.#clock.monotonicMs() - this.#atMs) * this.#perSec) / 1000
    return missing <= 0 ? 0 : Math.ceil((missing * 1000) / this.#perSec)
  }
}
