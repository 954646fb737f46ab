/**
 * The upstream brokers of one session, in the order in which they are tried, and what each of them knows of it: they
 * are different brokers, with subscriptions and packet ids of their own.
 */
import type { Cluster } from '../../../model/cluster.ts'
import type { Version } from '../codec/packet.ts'
import type { SessionPlan } from './plan.ts'

/** What is spoken with a broker. As a bridge (mosquitto's `try_private`) it sends nothing back that came from here. */
export type Dialect = { readonly version: Version; readonly isBridge: boolean }
const DIALECTS: readonly Dialect[] = [
  { version: 5, isBridge: false },
  { version: 4, isBridge: true },
  { version: 4, isBridge: false },
]

export class Leg {
  readonly cluster: string
  /** Whose QoS 2 ids are kept of what comes from it. */
  readonly inboundName: string
  /** Filter → QoS as the broker has it; kept across connections. */
  readonly subscribed = new Map<string, string>()
  /** QoS 2 packet ids that it had no PUBCOMP for when its last connection ended. */
  unfinished: readonly number[] = []
  /** What the cluster was when it was last tried. */
  tried: Cluster | undefined
  #dialect = 0

  constructor(cluster: string, clientId: string) {
    this.cluster = cluster
    this.inboundName = `\0bridge/${cluster}/${clientId}`
  }
  get dialect(): Dialect {
    return DIALECTS[this.#dialect]!
  }
  /** It does not know this one. @param plan only what goes both ways may come back */
  speakOlder({ up, down }: SessionPlan): void {
    this.#dialect++
    if (this.dialect.isBridge && (up.length === 0 || down.length === 0)) this.#dialect++
  }
}

export class Legs {
  readonly #clientId: string
  readonly #legs = new Map<string, Leg>()
  #order: readonly string[]
  #at = 0
  #last: Leg | undefined

  constructor({ cluster, clientId, settings }: SessionPlan) {
    this.#clientId = clientId
    this.#order = [cluster, ...settings.failover]
  }
  use({ cluster, settings }: SessionPlan): void {
    this.#order = [cluster, ...settings.failover]
    this.#at = 0
    for (const name of this.#legs.keys()) if (!this.#order.includes(name)) this.#legs.delete(name)
  }
  get current(): Leg {
    const name = this.#order[this.#at]!
    const leg = this.#legs.get(name) ?? new Leg(name, this.#clientId)
    this.#legs.set(name, leg)
    return leg
  }
  get isFirst(): boolean {
    return this.#at === 0
  }
  /** @returns whether there is another one, to be tried at once; else it begins with the first again */
  failed(): boolean {
    this.#at = (this.#at + 1) % this.#order.length
    return this.#at > 0
  }
  backToFirst(): void {
    this.#at = 0
  }
  /** Whether another broker had the session since this one. */
  isReturnTo(leg: Leg): boolean {
    return this.#last !== undefined && this.#last !== leg
  }
  connected(leg: Leg): void {
    this.#last = leg
  }
}
