/**
 * Who gets a message: sessions, shared groups and bridge routes by filter, with the answer for a topic remembered until
 * a subscription changes. One session gets a message once, whatever number of its filters match, with the highest QoS
 * and all their identifiers (MQTT 5.0 §3.3.4).
 */
import type { DurableQueue, StoredMessage, StoredSubscription } from '../durability.ts'
import type { Qos } from '../codec/packet.ts'
import { FilterQuota } from './filter-quota.ts'
import { costOf } from './filter-cost.ts'
import { TopicTree } from './topic-tree.ts'
import { sharedOf } from './topics.ts'
import type { Session } from '../session/session.ts'
import { viewOf, type View } from './view.ts'

export type Route = {
  readonly filter: string
  readonly queue: DurableQueue
  readonly origin: string
  /** The message as it goes that way; the same object when nothing is different. */
  make(message: StoredMessage): StoredMessage
}

export type Target = View & {
  readonly session: Session
  readonly subscriptions: readonly StoredSubscription[]
  readonly hasNoLocal: boolean
}
/** `order`: the members in turn; `next` counts on. */
export type Group = { readonly members: Map<Session, StoredSubscription>; readonly order: Session[]; next: number }
/** `plans` by the message's QoS; undefined when they differ from message to message (groups, routes, No Local). */
export type Match = {
  readonly bySession: ReadonlyMap<Session, readonly StoredSubscription[]>
  readonly targets: readonly Target[]
  /** Sessions with such a subscription for which the topic is not. */
  readonly filtered: number
  readonly groups: readonly Group[]
  readonly routes: readonly Route[]
  readonly plans: readonly [Plan, Plan] | undefined
}
/** Who gets one message how: from memory, through a queue, through the queue of a bridge route. */
export type Plan = {
  readonly direct: readonly Target[]
  readonly queues: readonly DurableQueue[]
  readonly routes: readonly Route[]
}

type Entry = {
  readonly sessions: Map<Session, StoredSubscription>
  readonly groups: Map<string, Group>
  readonly routes: Set<Route>
}

const MAX_REMEMBERED_TOPICS = 4096
/** A topic may be long, and may have ten thousand receivers. */
const MAX_REMEMBERED_BYTES = 4 * 1024 * 1024
const TARGET_BYTES = 128

export class Subscriptions {
  readonly #tree = new TopicTree<Entry>()
  readonly #remembered = new Map<string, Match>()
  #rememberedBytes = 0
  readonly room: FilterQuota

  constructor(maxBytes: number) {
    this.room = new FilterQuota(maxBytes)
  }

  add(session: Session, subscription: StoredSubscription): void {
    const shared = parts(subscription.filter)
    const entry = this.#entry(shared.filter)
    if (shared.group === undefined) {
      if (!entry.sessions.has(session)) this.room.change(session, costOf(subscription.filter))
      entry.sessions.set(session, subscription)
    } else {
      const group: Group = entry.groups.get(shared.group) ?? { members: new Map(), order: [], next: 0 }
      if (!group.members.has(session)) {
        this.room.change(session, costOf(subscription.filter))
        group.order.push(session)
      }
      group.members.set(session, subscription)
      entry.groups.set(shared.group, group)
    }
    this.forget()
  }
  remove(session: Session, subscribed: string): void {
    const { filter, group: name } = parts(subscribed)
    const entry = this.#tree.get(filter)
    if (!entry) return
    const group = name === undefined ? undefined : entry.groups.get(name)
    if ((name === undefined ? entry.sessions : group?.members)?.delete(session))
      this.room.change(session, -costOf(subscribed))
    if (name !== undefined && group) {
      const at = group.order.indexOf(session)
      if (at >= 0) group.order.splice(at, 1)
      if (group.members.size === 0) entry.groups.delete(name)
    }
    this.#tidy(filter, entry)
  }
  addRoute(route: Route): void {
    this.#entry(route.filter).routes.add(route)
    this.forget()
  }
  removeRoute(route: Route): void {
    const entry = this.#tree.get(route.filter)
    entry?.routes.delete(route)
    if (entry) this.#tidy(route.filter, entry)
  }
  /** A session's queue came or went: what is remembered speaks of the old one. */
  forget(): void {
    this.#remembered.clear()
    this.#rememberedBytes = 0
  }

  match(topic: string): Match {
    const known = this.#remembered.get(topic)
    if (known !== undefined) return known
    const made = this.#search(topic)
    const bytes = topic.length + (1 + made.targets.length + made.groups.length) * TARGET_BYTES
    if (this.#remembered.size >= MAX_REMEMBERED_TOPICS || this.#rememberedBytes + bytes > MAX_REMEMBERED_BYTES)
      this.forget()
    this.#remembered.set(topic, made)
    this.#rememberedBytes += bytes
    return made
  }

  /**
   * The session's subscriptions that match, those in groups too. Found once for all sessions, so that one with a
   * thousand filters costs no more than others.
   */
  of(session: Session, topic: string): readonly StoredSubscription[] {
    const { bySession, groups } = this.match(topic)
    const own = bySession.get(session) ?? []
    const shared = groups.flatMap(({ members }) => members.get(session) ?? [])
    return shared.length === 0 ? own : [...own, ...shared]
  }

  #search(topic: string): Match {
    const bySession = new Map<Session, StoredSubscription[]>()
    const groups: Group[] = []
    const routes: Route[] = []
    this.#tree.ofTopic(topic, (entry) => {
      for (const [session, subscription] of entry.sessions) {
        const all = bySession.get(session)
        if (all) all.push(subscription)
        else bySession.set(session, [subscription])
      }
      groups.push(...entry.groups.values())
      routes.push(...entry.routes)
    })
    const targets: Target[] = []
    for (const [session, subscriptions] of bySession)
      if (session.mayHave(topic)) targets.push(target(session, subscriptions))
    const simple = groups.length === 0 && routes.length === 0 && !targets.some((t) => t.hasNoLocal)
    return {
      bySession,
      targets,
      filtered: bySession.size - targets.length,
      groups,
      routes,
      plans: simple ? [planOf(targets, [], 0), planOf(targets, [], 1)] : undefined,
    }
  }
  #entry(filter: string): Entry {
    const known = this.#tree.get(filter)
    if (known) return known
    const made: Entry = { sessions: new Map(), groups: new Map(), routes: new Set() }
    this.#tree.set(filter, made)
    return made
  }
  #tidy(filter: string, entry: Entry): void {
    if (entry.sessions.size === 0 && entry.groups.size === 0 && entry.routes.size === 0) this.#tree.delete(filter)
    this.forget()
  }
}

/** The filter was checked when it was subscribed; an invalid shared one cannot come here and would match nothing. */
function parts(subscribed: string): { readonly group?: string; readonly filter: string } {
  const shared = sharedOf(subscribed)
  return shared === undefined || shared === 'invalid' ? { filter: subscribed } : shared
}

export function target(session: Session, subscriptions: readonly StoredSubscription[]): Target {
  return { ...viewOf(subscriptions), session, subscriptions, hasNoLocal: subscriptions.some((one) => one.noLocal) }
}

/** A session that is kept gets QoS 1 and 2 through its queue, all else goes from memory. */
export function planOf(targets: readonly Target[], routes: readonly Route[], qos: Qos): Plan {
  if (qos === 0) return { direct: targets, queues: [], routes }
  const isQueued = ({ session, qos: granted }: Target): boolean => granted > 0 && session.queue !== undefined
  return {
    direct: targets.filter((t) => !isQueued(t)),
    queues: targets.filter(isQueued).map(({ session }) => session.queue!),
    routes,
  }
}

/** The same target as its own session sees it as publisher: No Local subscriptions do not count [MQTT-3.8.3-3]. */
export function withoutLocal(of: Target): Target | undefined {
  const rest = of.subscriptions.filter((one) => !one.noLocal)
  return rest.length === 0 ? undefined : target(of.session, rest)
}

/** The next member in turn that may have the topic, one that is connected before one that is not (§4.8.2). */
export function memberOf(group: Group, topic: string): Target | undefined {
  const { members, order } = group
  const start = group.next++
  let kept: Session | undefined
  for (let i = 0; i < order.length; i++) {
    const session = order[(start + i) % order.length]!
    if (!session.mayHave(topic)) continue
    if (session.link !== undefined) return target(session, [members.get(session)!])
    if (session.stored) kept ??= session
  }
  return kept && target(kept, [members.get(kept)!])
}
