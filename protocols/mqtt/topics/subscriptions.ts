/**
 * Finds who gets a message: sessions, shared groups and bridge routes, by filter. The answer for a topic is cached
 * until a subscription changes. A session gets a message once, however many of its filters match, with the highest QoS
 * and all their identifiers (MQTT 5.0 §3.3.4).
 */
import type { DurableQueue, StoredMessage, StoredSubscription } from '../durability.ts'
import type { Qos } from '../codec/packet.ts'
import { type Demand, MANY } from './demand.ts'
import { FilterQuota } from './filter-quota.ts'
import { estimateFilterBytes } from './filter-cost.ts'
import { Group } from '../session/groups.ts'
import { TopicTree } from './topic-tree.ts'
import { parseSharedFilter } from './topics.ts'
import type { Session } from '../session/session.ts'
import { Subscribers, Target, Targets } from './target.ts'
import type { By } from './marks.ts'
import type { View } from './view.ts'

export type Route = {
  readonly filter: string
  readonly queue: DurableQueue
  readonly origin: string
  /** The message as it goes that way; the same object when nothing is different. */
  make(message: StoredMessage): StoredMessage
}

/** `plans` by the message's QoS; undefined when they differ from message to message (groups, routes, No Local). */
export type Match = {
  /** All whose subscriptions match. */
  readonly targets: Targets
  /** Those of them that may have the topic, and how many may not. */
  readonly receivers: readonly Target[]
  readonly filtered: number
  readonly groups: readonly Group[]
  readonly routes: readonly Route[]
  readonly plans: readonly [Plan, Plan] | undefined
  /** What it takes in memory, beside the topic. */
  readonly bytes: number
}
/** Who gets one message how: from memory, through a queue, through the queue of a bridge route. */
export type Plan = {
  readonly direct: readonly Target[]
  readonly queues: readonly DurableQueue[]
  readonly routes: readonly Route[]
}

/** Who gets what one filter matches. Most have neither groups nor routes, and empty maps take more than all the rest. */
class Entry extends Subscribers {
  groups: Map<string, Group> | undefined
  routes: Set<Route> | undefined

  get isBare(): boolean {
    return this.size + this.#others === 0
  }
  get #others(): number {
    return (this.groups?.size ?? 0) + (this.routes?.size ?? 0)
  }
  /** A group and a route get a message of their own. */
  override get demand(): Demand {
    return this.#others > 0 ? MANY : super.demand
  }
}

const MAX_REMEMBERED_TOPICS = 4096
/** A topic may be long, and may have ten thousand receivers. */
const MAX_REMEMBERED_BYTES = 4 * 1024 * 1024
const MAX_SEEN_CHARS = 512 * 1024
const MATCH_BYTES = 64
const TARGET_BYTES = 256
const ID_BYTES = 8

const NONE: readonly never[] = []
const NOBODY: Plan = { direct: NONE, queues: NONE, routes: NONE }
/** One object for all topics without receivers: a client that invents topics fills the cache with them. */
const NO_MATCH: Match = {
  targets: new Targets(),
  receivers: NONE,
  filtered: 0,
  groups: NONE,
  routes: NONE,
  plans: [NOBODY, NOBODY],
  bytes: MATCH_BYTES,
}

export class Subscriptions {
  readonly #tree = new TopicTree<Entry>((entry) => entry.demand)
  #remembered = new Map<string, Match>()
  /**
   * Topics that came once. A match is cached from the second message on, because it costs more than a topic that never
   * comes again is worth.
   */
  #seen = new Set<string>()
  #seenChars = 0
  #rememberedBytes = 0
  readonly room: FilterQuota
  /** Those of sessions, and of them those in groups. */
  size = 0
  sharedSize = 0
  /** Filters that begin with `$SYS`. */
  #sysFilters = 0

  constructor(maxBytes: number, isMemoryFull = (): boolean => false) {
    this.room = new FilterQuota(maxBytes, isMemoryFull)
  }

  add(session: Session, subscription: StoredSubscription): void {
    const shared = parts(subscription.filter)
    const entry = this.#entry(shared.filter)
    if (shared.group === undefined) {
      if (!entry.has(session)) this.#count(session, subscription.filter, 1)
      entry.set(session, subscription)
    } else {
      const groups = (entry.groups ??= new Map())
      const known = groups.get(shared.group)
      const group = known ?? new Group(subscription.filter)
      if (group.join(session, subscription)) {
        this.#count(session, subscription.filter, 1)
        this.sharedSize++
      }
      // Cached matches refer to the group itself, so they see its new member.
      if (known) return
      groups.set(shared.group, group)
    }
    this.#forgetFor(shared.filter)
  }
  remove(session: Session, subscribed: string): void {
    const { filter, group: name } = parts(subscribed)
    const entry = this.#tree.get(filter)
    if (!entry) return
    const group = name === undefined ? undefined : entry.groups?.get(name)
    if (name === undefined ? entry.delete(session) : group?.leave(session)) {
      this.#count(session, subscribed, -1)
      if (name !== undefined) this.sharedSize--
    }
    if (name !== undefined) {
      if (!group || group.size > 0) return
      entry.groups!.delete(name)
    }
    this.#tidy(filter, entry)
  }
  /** The next member of a shared subscription for one more message. */
  chooseMember(subscribed: string, topic: string): Target | undefined {
    const { filter, group: name } = parts(subscribed)
    const group = name === undefined ? undefined : this.#tree.get(filter)?.groups?.get(name)
    return group && chooseMember(group, topic)
  }
  #count(session: Session, subscribed: string, by: 1 | -1): void {
    this.size += by
    this.room.change(session, by * estimateFilterBytes(subscribed))
  }
  /** Whether a subscription may match `$SYS/…`. */
  get hasSysFilters(): boolean {
    return this.#sysFilters > 0
  }
  addRoute(route: Route): void {
    const entry = this.#entry(route.filter)
    ;(entry.routes ??= new Set()).add(route)
    this.#forgetFor(route.filter)
  }
  removeRoute(route: Route): void {
    const entry = this.#tree.get(route.filter)
    entry?.routes?.delete(route)
    if (entry) this.#tidy(route.filter, entry)
  }
  /** Drops cached matches after a session got a queue or its rules changed: they refer to the old ones. */
  forget(): void {
    if (this.#remembered.size > 0) this.#remembered = new Map()
    this.#rememberedBytes = 0
  }
  /** A filter without wildcards is one topic, and says nothing of others. */
  #forgetFor(filter: string): void {
    this.#tree.noteChange(filter)
    if (this.#remembered.size === 0) return
    if (filter.includes('+') || filter.includes('#')) {
      this.forget()
      return
    }
    const known = this.#remembered.get(filter)
    if (!known) return
    this.#remembered.delete(filter)
    this.#rememberedBytes -= filter.length + known.bytes
  }

  match(topic: string): Match {
    const known = this.#remembered.get(topic)
    if (known !== undefined) return known
    const made = this.#search(topic)
    if (made !== NO_MATCH && !this.#isKnown(topic)) return made
    const bytes = topic.length + made.bytes
    if (this.#remembered.size >= MAX_REMEMBERED_TOPICS || this.#rememberedBytes + bytes > MAX_REMEMBERED_BYTES)
      this.forget()
    this.#remembered.set(topic, made)
    this.#rememberedBytes += bytes
    return made
  }

  #isKnown(topic: string): boolean {
    if (this.#seen.delete(topic)) return true
    if (this.#seen.size >= MAX_REMEMBERED_TOPICS || this.#seenChars > MAX_SEEN_CHARS) {
      this.#seen = new Set()
      this.#seenChars = 0
    }
    this.#seen.add(topic)
    this.#seenChars += topic.length
    return false
  }

  /**
   * What the session's subscriptions say of a topic; undefined when none matches. Found once for all sessions, so that
   * one with a thousand filters costs no more than others.
   *
   * @param by `alone`: those in no group, and where there are none those in groups. `own`: the session has published it,
   *   and its No Local subscriptions do not count [MQTT-3.8.3-3]
   */
  findView(session: Session, topic: string, by: By = 'alone'): View | undefined {
    const { targets, groups } = this.match(topic)
    const alone = targets.get(session)
    if (by === 'own') return alone?.hasNoLocal ? alone.withoutLocal : alone
    if (by === 'alone' && alone) return alone
    let all: Target | undefined
    for (const group of groups) {
      const shared = by === 'alone' || by === group.filter ? group.get(session) : undefined
      if (shared) (all ??= new Target(session)).add(shared)
    }
    return all
  }
  #search(topic: string): Match {
    const targets = new Targets()
    const groups: Group[] = []
    const routes: Route[] = []
    const note = (session: Session, subscription: StoredSubscription): void => {
      targets.add(session, subscription)
    }
    const visit = (entry: Entry): void => {
      entry.each(note)
      if (entry.groups) groups.push(...entry.groups.values())
      if (entry.routes) routes.push(...entry.routes)
    }
    this.#tree.visitFilters(topic, visit, (demand) => targets.meet(demand))
    const { all } = targets
    if (all.length + groups.length + routes.length === 0) return NO_MATCH
    const receivers = all.every(({ session }) => session.mayHave(topic))
      ? all
      : all.filter(({ session }) => session.mayHave(topic))
    const simple = groups.length === 0 && routes.length === 0 && !receivers.some((t) => t.hasNoLocal)
    return {
      targets,
      receivers,
      filtered: all.length - receivers.length,
      groups,
      routes,
      plans: simple ? [planDelivery(receivers, NONE, 0), planDelivery(receivers, NONE, 1)] : undefined,
      bytes: MATCH_BYTES + groups.length * TARGET_BYTES + bytesOf(all),
    }
  }
  #entry(filter: string): Entry {
    const known = this.#tree.get(filter)
    if (known) return known
    const made = new Entry()
    this.#tree.set(filter, made)
    if (filter.startsWith('$SYS')) this.#sysFilters++
    return made
  }
  #tidy(filter: string, entry: Entry): void {
    if (entry.isBare && this.#tree.get(filter) === entry) {
      this.#tree.delete(filter)
      if (filter.startsWith('$SYS')) this.#sysFilters--
    }
    this.#forgetFor(filter)
  }
}

function bytesOf(targets: readonly Target[]): number {
  let bytes = targets.length * TARGET_BYTES
  for (const { ids } of targets) bytes += ids.length * ID_BYTES
  return bytes
}

/** The filter was checked when it was subscribed; an invalid shared one cannot come here and would match nothing. */
function parts(subscribed: string): { readonly group?: string; readonly filter: string } {
  const shared = parseSharedFilter(subscribed)
  return shared === undefined || shared === 'invalid' ? { filter: subscribed } : shared
}

/**
 * A session that is kept gets QoS 1 and 2 through its queue, all else goes from memory.
 *
 * @param kept `all`: QoS 0 goes through it, too, while its client is away, and then behind what came so
 */
export function planDelivery(
  targets: readonly Target[],
  routes: readonly Route[],
  qos: Qos,
  kept: 'acknowledged' | 'all' = 'acknowledged',
): Plan {
  if (qos === 0 && kept === 'acknowledged') return { direct: targets, queues: NONE, routes }
  const isQueued = ({ session, qos: granted }: Target): boolean =>
    session.queue !== undefined && (Math.min(granted, qos) > 0 || (kept === 'all' && session.isBehind))
  return {
    direct: targets.filter((t) => !isQueued(t)),
    queues: targets.filter(isQueued).map(({ session }) => session.queue!),
    routes,
  }
}

/** Who of the group gets the next message. */
export function chooseMember(group: Group, topic: string): Target | undefined {
  const next = group.next(topic)
  if (!next) return undefined
  const target = new Target(next.session).add(next.subscription)
  target.shared = group.filter
  return target
}

/** By which shared subscription a copy comes that has to say so: its member has others that match. */
export function findMark(
  { targets, groups }: Pick<Match, 'targets' | 'groups'>,
  { session, shared }: Target,
): By | undefined {
  const isOnly = !targets.get(session) && !groups.some((one) => one.filter !== shared && one.get(session))
  return isOnly ? undefined : (shared as By | undefined)
}
