/**
 * The path of one message to its receivers: who gets it, what must be durable before it may be acknowledged, and
 * delivery from memory. Queues get the message with the commit. Receivers in memory get it after the commit, so a
 * refused message reaches nobody.
 */
import { computeBackoffMs } from '../../core/os/clock.ts'
import { type MeshError, toMeshError } from '../../core/errors.ts'
import { RETAINED_LIMITS } from '../../model/mqtt-policy.ts'
import type { Durability, DurableQueue, Inbound, StoredMessage } from './durability.ts'
import { type By, markCopy } from './topics/marks.ts'
import type { Place, Retained } from './topics/retained.ts'
import type { Session } from './session/session.ts'
import { forgetLast } from './shared-message.ts'
import type { BrokerState } from './state.ts'
import { chooseMember, findMark, type Plan, planDelivery, type Route } from './topics/subscriptions.ts'
import type { Target } from './topics/target.ts'

/**
 * `from` is undefined for what no client sent: wills (which No Local does not touch) and the bridge, whose `origin`
 * keeps it off the way back.
 */
export type Source = { readonly from: Session | undefined; readonly origin: string | undefined }

export function plan(state: BrokerState, message: StoredMessage, source: Source): Plan {
  const match = state.subscriptions.match(message.topic)
  if (match.filtered > 0) state.counters.dropped['not-authorized'].value += match.filtered
  if (match.plans && !state.keepsQos0) return match.plans[message.qos === 0 ? 0 : 1]
  const { from, origin } = source
  const targets: Target[] = []
  let own: Target | undefined
  for (const target of match.receivers)
    if (target.session === from && target.hasNoLocal) own = target.withoutLocal
    else targets.push(target)
  const marked: [target: Target, by: By][] = own ? [[own, 'own']] : []
  for (const group of match.groups) {
    const member = chooseMember(group, message.topic)
    const by = member && findMark(match, member)
    if (by !== undefined) marked.push([member!, by])
    else if (member) targets.push(member)
  }
  const kept = state.keepsQos0 ? 'all' : 'acknowledged'
  const routes = match.routes.filter((route) => route.origin !== origin)
  const made = planDelivery(targets, routes, message.qos, kept)
  if (marked.length === 0) return made
  const parts = marked.map(([target, by]) => mark(planDelivery([target], [], message.qos, kept), by))
  return {
    direct: [...made.direct, ...parts.flatMap(({ direct }) => direct)],
    queues: made.queues,
    routes: [...routes, ...parts.flatMap((part) => part.routes)],
  }
}
/** In its queue the copy says by what it came: of the subscriptions there not all count for it. */
function mark({ direct, queues }: Plan, by: By): Pick<Plan, 'direct' | 'routes'> {
  const make = (message: StoredMessage): StoredMessage => markCopy(message, by)
  return { direct, routes: queues.map((queue) => ({ filter: '', queue, origin: '', make })) }
}

/** @returns its bytes when its publisher should wait for a receiver (back-pressure.ts), otherwise 0 */
export function deliver(message: StoredMessage, targets: readonly Target[]): number {
  // No iterator: V8 would make two objects for each message.
  for (let i = 0; i < targets.length; i++) {
    const { session, qos, retainAsPublished, ids, shared } = targets[i]!
    session.deliver(message, qos < message.qos ? qos : message.qos, retainAsPublished && message.retain, ids, shared)
  }
  return forgetLast()
}

/** Everything of one message that has to be durable. */
export interface Commit {
  /** It came before, and those who get it are found already. */
  readonly isRepetition?: boolean
  /** Some of it is durable: then there is no way back, it has to be completed. */
  readonly begun: boolean
  /**
   * Of one thing that is to be done it is the store's own promise, which a whole transaction has in common.
   * @throws the first refusal, after all have been answered
   */
  run(): Promise<void>
}

/** The usual one: one message for one or more queues. */
class Append implements Commit {
  readonly begun = false
  readonly #durability: Durability
  readonly #message: StoredMessage
  readonly #queues: readonly DurableQueue[]
  constructor(durability: Durability, message: StoredMessage, queues: readonly DurableQueue[]) {
    this.#durability = durability
    this.#message = message
    this.#queues = queues
  }

  run(): Promise<void> {
    return this.#durability.append(this.#message, this.#queues)
  }
}

/** Of a retained message that nobody's queue gets. */
class Retain implements Commit {
  readonly begun = false
  readonly #retained: Retained
  readonly #message: StoredMessage
  readonly #place: Place
  constructor(retained: Retained, message: StoredMessage, place: Place) {
    this.#retained = retained
    this.#message = message
    this.#place = place
  }

  run(): Promise<void> {
    return this.#retained.save(this.#message, this.#place)
  }
}

/** Of QoS 2, over another connection than the one that it is being committed for. */
class Repetition implements Commit {
  readonly isRepetition = true
  readonly begun = false
  readonly #arriving: Promise<void>
  constructor(arriving: Promise<void>) {
    this.#arriving = arriving
  }

  run(): Promise<void> {
    return this.#arriving
  }
}

/** Repeating it repeats only what has failed. */
class Several implements Commit {
  #todo: (() => Promise<void>)[]
  begun = false
  constructor(todo: (() => Promise<void>)[]) {
    this.#todo = todo
  }

  run(): Promise<void> {
    const only = this.#todo[0]
    return only !== undefined && this.#todo.length === 1 ? only() : this.#runAll()
  }
  async #runAll(): Promise<void> {
    const todo = this.#todo
    const answers = await Promise.allSettled(todo.map((step) => step()))
    this.#todo = todo.filter((_, i) => answers[i]!.status === 'rejected')
    if (this.#todo.length < todo.length) this.begun = true
    const refused = answers.find((a) => a.status === 'rejected')
    if (refused) throw toMeshError(refused.reason)
  }
}

/**
 * @returns undefined when nothing has to be durable. Everything is asked for in one tick, so it lands in one
 * transaction.
 */
export function buildCommit(
  { durability, retained }: Pick<BrokerState, 'durability' | 'retained'>,
  message: StoredMessage,
  to: Plan,
  place: Place | undefined,
  inbound?: Inbound,
): Commit | undefined {
  const arriving = inbound && durability.arriving(inbound)
  if (arriving) return new Repetition(arriving)
  if (!inbound && to.routes.length === 0) {
    if (!place) return to.queues.length === 0 ? undefined : new Append(durability, message, to.queues)
    if (to.queues.length === 0) return new Retain(retained, message, place)
  }
  const todo: (() => Promise<void>)[] = []
  let { queues } = to
  if (to.routes.length > 0) {
    const same = [...queues]
    for (const other of routed(message, to.routes, same))
      todo.push(() => durability.append(other.message, other.queues))
    queues = same
  }
  if (queues.length > 0 || inbound)
    todo.push(() => (inbound ? durability.append(message, queues, inbound) : durability.append(message, queues)))
  if (place) todo.push(() => retained.save(message, place))
  return todo.length === 0 ? undefined : new Several(todo)
}

/** Routes that change nothing join the message's own append; the rest is grouped by what they make of it. */
function routed(
  message: StoredMessage,
  routes: readonly Route[],
  same: DurableQueue[],
): { readonly message: StoredMessage; readonly queues: DurableQueue[] }[] {
  const groups: { readonly message: StoredMessage; readonly queues: DurableQueue[] }[] = []
  for (const route of routes) {
    const made = route.make(message)
    if (made === message) {
      same.push(route.queue)
      continue
    }
    const group = groups.find((g) => isSame(g.message, made))
    if (group) group.queues.push(route.queue)
    else groups.push({ message: made, queues: [route.queue] })
  }
  return groups
}
/** Both were made of one message. */
function isSame(one: StoredMessage, other: StoredMessage): boolean {
  return (
    one.topic === other.topic &&
    one.qos === other.qos &&
    one.retain === other.retain &&
    one.properties === other.properties &&
    one.expiresAtMs === other.expiresAtMs
  )
}

/**
 * Publishes what comes from inside. Resolves once it is as durable as it has to be, as `deliver`.
 * @throws MESH_MQTT_QUOTA, MESH_STORAGE_FULL and other refusals of the spool when nothing of it was taken; what was
 * begun is repeated until it is done
 */
export async function publishInside(state: BrokerState, published: StoredMessage, source: Source): Promise<number> {
  const message: StoredMessage = state.upgradesQos && published.qos < 2 ? { ...published, qos: 2 } : published
  const to = plan(state, message, source)
  using place = message.retain ? placeInside(state, message) : undefined
  const commit = buildCommit(state, message, to, place)
  for (let attempt = 0; commit !== undefined; attempt++) {
    try {
      await commit.run()
      break
    } catch (thrown) {
      const err: MeshError = toMeshError(thrown)
      if (!commit.begun || state.closed.aborted) throw err
      await state.ctx.clock.sleep(retryMs(attempt, state), state.closed)
    }
  }
  return deliver(message, to.direct)
}

/**
 * No client's limits are at hand: those of the strictest listener hold. A message that may not be retained is delivered
 * all the same.
 */
function placeInside({ retained, policiesOf, counters, ctx }: BrokerState, message: StoredMessage): Place | undefined {
  const policies = policiesOf(undefined)
  const limits = policies.length > 0 ? policies.map((policy) => policy.limits) : [RETAINED_LIMITS]
  const place = retained.reserve(message, {
    maxRetainedMessages: Math.min(...limits.map((l) => l.maxRetainedMessages)),
    maxRetainedBytes: Math.min(...limits.map((l) => l.maxRetainedBytes)),
  })
  if (place) return place
  counters.dropped['retained-limit'].value++
  ctx.log.warn(
    { evt: 'mqtt.retained.full', topic: message.topic },
    'message is not retained: a limit of mqtt.limits is reached',
  )
  return undefined
}

/** Waiting for room: 50 ms to 5 s, never none. */
export function retryMs(attempt: number, { ctx }: Pick<BrokerState, 'ctx'>): number {
  return 50 + computeBackoffMs(attempt, { baseMs: 100, capMs: 5_000 }, ctx.random)
}
