/**
 * The upstream brokers of one session, in the order in which they are tried, and what each of them knows of it: they
 * are different brokers, with subscriptions and packet ids of their own.
 */
import type { Cluster } from '../../../model/cluster.ts'
import type { Version } from '../codec/packet.ts'
import { KeepAlive } from '../../../core/relay/keep-alive.ts'
import type { SessionPlan } from './plan.ts'

/** What is spoken with a broker. As a bridge (mosquitto's `try_private`) it sends nothing back that came from here. */
export type Dialect = { readonly version: Version; readonly isBridge: boolean }
const DIALECTS: readonly Dialect[] = [
  { version: 5, isBridge: false },
  { version: 4, isBridge: true },
  { version: 4, isBridge: false },
]

/** In a row, without a good connection in between. */
const MAX_REDIRECTS = 3

export class Leg {
  readonly cluster: string
  /** Whose QoS 2 ids are kept of what comes from it. */
  readonly inboundName: string
  /** Filter → QoS as the broker has it; kept across connections. */
  readonly subscribed = new Map<string, string>()
  /** QoS 2 that came and is on its way to the disk, perhaps from an earlier connection: whether it was taken. */
  readonly offered = new Map<number, Promise<boolean>>()
  /** QoS 2 packet ids that it had no PUBCOMP for when its last connection ended. */
  unfinished: readonly number[] = []
  /** What the cluster was when it was last tried. */
  tried: Cluster | undefined
  readonly keepAlive = new KeepAlive()
  #dialect = 0

  constructor(cluster: string, plan: SessionPlan) {
    const { clientId, settings } = plan
    this.cluster = cluster
    this.inboundName = `\0bridge/${cluster}/${clientId}`
    if (settings.protocol === '3.1.1') this.speakOlder(plan)
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
  #plan: SessionPlan
  #legs = new Map<string, Leg>()
  /** Where the broker has sent us. */
  #redirect: string | undefined
  /** Since a connection that was a good one. */
  #redirects = 0
  #at = 0
  #last: Leg | undefined

  constructor(plan: SessionPlan) {
    this.#plan = plan
  }
  use(plan: SessionPlan): void {
    const { protocol } = this.#plan.settings
    this.#plan = plan
    this.returnToFirst()
    if (plan.settings.protocol !== protocol) this.#legs = new Map()
    const known = new Set([...this.#order, ...Object.values(plan.settings.serverReferences)])
    for (const name of this.#legs.keys()) if (!known.has(name)) this.#legs.delete(name)
  }
  get #order(): readonly string[] {
    return [this.#plan.cluster, ...this.#plan.settings.failover]
  }
  get current(): Leg {
    const name = this.#redirect ?? this.#order[this.#at]!
    const leg = this.#legs.get(name) ?? new Leg(name, this.#plan)
    this.#legs.set(name, leg)
    return leg
  }
  /** Where the first one has sent us is its place, too: going back would be to be sent away again. */
  get isFirst(): boolean {
    return this.#at === 0
  }
  /** @returns whether there is another one, to be tried at once; else it begins with the first again */
  advance(): boolean {
    if (this.#redirect !== undefined) {
      this.returnToFirst()
      return false
    }
    this.#at = (this.#at + 1) % this.#order.length
    return this.#at > 0
  }
  /**
   * The broker names others (MQTT 5.0 §4.11).
   * @param references separated by spaces; the first that the settings know counts
   * @returns whether that one is next. Brokers that send a client back and forth are left for the usual order
   */
  redirect(references: string): boolean {
    const { serverReferences } = this.#plan.settings
    const found = references.split(' ').find((one) => Object.hasOwn(serverReferences, one))
    if (found === undefined || this.#redirects >= MAX_REDIRECTS) return false
    this.#redirects++
    this.#redirect = serverReferences[found]
    return true
  }
  /** The connection that has ended was a good one. */
  noteSettled(): void {
    this.#redirects = 0
  }
  returnToFirst(): void {
    this.#redirect = undefined
    this.#at = 0
  }
  /** Whether another broker had the session since this one. */
  isReturnTo(leg: Leg): boolean {
    return this.#last !== undefined && this.#last !== leg
  }
  noteConnected(leg: Leg): void {
    this.#last = leg
  }
}
