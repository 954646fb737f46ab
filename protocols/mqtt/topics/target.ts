/** Who has subscribed to a filter, and what a session gets of a topic, of all its subscriptions together. */
import type { StoredSubscription } from '../durability.ts'
import { NO_IDS, type Qos } from '../codec/packet.ts'
import { findBits, type Demand, joinDemands, MANY, MAX_WANTS, makeDemand } from './demand.ts'
import type { Session } from '../session/session.ts'
import type { View } from './view.ts'

/** Made by adding what matches; the subscriptions themselves are not kept, for there may be a thousand. */
export class Target implements View {
  readonly session: Session
  qos: Qos = 0
  retainAsPublished = false
  ids: readonly number[] = NO_IDS
  hasNoLocal = false
  /** Of the session as its own publisher: its No Local subscriptions do not count [MQTT-3.8.3-3]. */
  withoutLocal: Target | undefined
  /** The shared subscription that it was chosen of. */
  shared: string | undefined
  #ids: number[] | undefined
  #isEmpty = true
  /** Of all that was added. */
  #bits = 0

  constructor(session: Session) {
    this.session = session
  }

  add(one: StoredSubscription): this {
    if (one.noLocal) {
      if (!this.hasNoLocal && !this.#isEmpty) this.withoutLocal = this.copy()
      this.hasNoLocal = true
    } else if (this.hasNoLocal) (this.withoutLocal ??= new Target(this.session)).add(one)
    this.#isEmpty = false
    this.#bits |= findBits(one)
    if (one.qos > this.qos) this.qos = one.qos
    if (one.retainAsPublished) this.retainAsPublished = true
    if (one.subscriptionId !== undefined) {
      this.#ids ??= [...this.ids]
      this.#ids.push(one.subscriptionId)
      this.ids = this.#ids
    }
    return this
  }
  copy(): Target {
    const copy = new Target(this.session)
    copy.qos = this.qos
    copy.retainAsPublished = this.retainAsPublished
    copy.ids = this.ids === NO_IDS ? NO_IDS : [...this.ids]
    copy.hasNoLocal = this.hasNoLocal
    copy.withoutLocal = this.withoutLocal?.copy()
    copy.#isEmpty = this.#isEmpty
    copy.#bits = this.#bits
    return copy
  }
  /** Subscriptions with these bits, and without an identifier, change nothing. */
  has(bits: number): boolean {
    return (bits & ~this.#bits) === 0
  }
}

/** With so many a list is searched for too long. */
const MAX_LISTED = 8

/** Who gets one topic. */
export class Targets {
  readonly #all: Target[] = []
  #bySession: Map<object, Target> | undefined
  /** Of a thousand filters that match, most are one session's. */
  #last: Target | undefined

  get all(): readonly Target[] {
    return this.#all
  }
  get(session: object): Target | undefined {
    return this.#bySession ? this.#bySession.get(session) : this.#all.find((one) => one.session === session)
  }
  add(session: Session, subscription: StoredSubscription): void {
    if (this.#last?.session !== session) this.#last = this.get(session) ?? this.#make(session)
    this.#last.add(subscription)
  }
  /** Every session has all that it asks for. */
  meet(demand: Demand): boolean {
    return demand !== MANY && demand.every(({ session, bits }) => this.get(session)?.has(bits) ?? false)
  }
  #make(session: Session): Target {
    const made = new Target(session)
    this.#all.push(made)
    if (this.#bySession) this.#bySession.set(session, made)
    else if (this.#all.length > MAX_LISTED) this.#bySession = new Map(this.#all.map((one) => [one.session, one]))
    return made
  }
}

/** Of one filter. Most have one subscriber, and a map of one takes more memory than all else of them. */
export class Subscribers {
  /** The only one; undefined when there are none, or several. */
  #only: Session | undefined
  #onlySubscription: StoredSubscription | undefined
  #several: Map<Session, StoredSubscription> | undefined

  get size(): number {
    return this.#several?.size ?? (this.#only ? 1 : 0)
  }
  has(session: Session): boolean {
    return this.#several?.has(session) ?? this.#only === session
  }
  set(session: Session, subscription: StoredSubscription): void {
    if (this.#several) this.#several.set(session, subscription)
    else if (this.#only === undefined || this.#only === session) {
      this.#only = session
      this.#onlySubscription = subscription
    } else {
      this.#several = new Map([
        [this.#only, this.#onlySubscription!],
        [session, subscription],
      ])
      this.#only = this.#onlySubscription = undefined
    }
  }
  /** @returns whether it was there */
  delete(session: Session): boolean {
    if (this.#several) {
      const wasThere = this.#several.delete(session)
      if (this.#several.size === 0) this.#several = undefined
      return wasThere
    }
    if (this.#only !== session) return false
    this.#only = this.#onlySubscription = undefined
    return true
  }
  get demand(): Demand {
    if (this.#only) return makeDemand(this.#only, this.#onlySubscription!)
    if (!this.#several) return []
    if (this.#several.size > MAX_WANTS) return MANY
    let sum: Demand = []
    for (const [session, subscription] of this.#several) sum = joinDemands(sum, makeDemand(session, subscription))
    return sum
  }
  each(visit: (session: Session, subscription: StoredSubscription) => void): void {
    // Without an entry made for each, as an iterator would.
    if (this.#several) this.#several.forEach((subscription, session) => visit(session, subscription))
    else if (this.#only) visit(this.#only, this.#onlySubscription!)
  }
}
