/**
 * SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8 to §3.11). A kept session's subscriptions are durable before they are
 * acknowledged.
 */
import { type MeshError, toMeshError } from '../../../core/errors.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import { NO_IDS, type Qos, type Subscribe, type Unsubscribe } from '../codec/packet.ts'
import type { DurableQueue, StoredMessage, StoredSubscription } from '../durability.ts'
import { estimateFilterBytes } from '../topics/filter-cost.ts'
import type { Link } from '../connection/link.ts'
import { REASON, toReason, createViolation } from '../codec/reason.ts'
import { copyRetained } from '../topics/marks.ts'
import type { HeldSubscription, Session } from './session.ts'
import { nameSessionQueue } from './sessions.ts'
import type { BrokerState } from '../state.ts'
import { filterProblem, parseSharedFilter, isTooDeep } from '../topics/topics.ts'

export type Asking = {
  readonly session: Session
  readonly link: Link
  /** By the rules of this moment. */ authorizer(): Authorizer
  readonly limits: MqttPolicy['limits']
}
/**
 * The request acts; what it changed is on its way to the disk. `tell` once it is there (at once without `durable`), in
 * the order of the requests; it throws when the connection has to end.
 */
export type Answer = {
  readonly durable: Promise<void> | undefined
  /** Filters whose last change was on the disk, and is not now. */
  readonly changes: number
  /** @returns when all that belongs to the answer is on its way to the client; undefined: it is */
  tell(failed: MeshError | undefined): Promise<void> | undefined
}

/**
 * Requests act one after the other, without waiting for the disk between them: what a client sends in one go is one
 * transaction. Only the first that needs a queue has to wait for it. Never rejects, nor throws, for what a client asks;
 * a store that fails is its SUBACK's reason.
 */
export function subscribe(state: BrokerState, packet: Subscribe, asking: Asking): Answer | Promise<Answer> {
  const { session } = asking
  const asked = new Subscribing(state, packet, asking)
  grant(state, asked)
  if (
    !session.stored ||
    session.queue !== undefined ||
    !asked.reasons.some((granted) => granted <= 2 && (granted > 0 || state.keepsQos0))
  )
    return act(state, asked)
  return queueOf(state, session).then(
    (queue) => {
      if (!session.queue) session.useQueue(queue, state.subscriptions)
      return act(state, asked)
    },
    (thrown: unknown) => ({ durable: undefined, changes: 0, tell: () => asked.tell(toMeshError(thrown)) }),
  )
}
async function queueOf({ durability }: BrokerState, session: Session): Promise<DurableQueue> {
  const name = nameSessionQueue(session.clientId)
  return durability.queue(name) ?? (await durability.createQueue(name, session))
}

/** One SUBSCRIBE until its SUBACK. A thousand may wait for one commit, so there is little of it. */
class Subscribing implements Answer {
  readonly #state: BrokerState
  readonly packet: Subscribe
  readonly asking: Asking
  /** For each of the packet's, as is `granted`. */
  readonly reasons: number[]
  /** Undefined: refused, or the packet asks for the same filter again further on. */
  readonly granted: (HeldSubscription | undefined)[]
  /** Of those with Retain Handling 1; undefined: none. */
  wasThere: Set<string> | undefined
  /** The last change of a retained message before it acted. */
  since = 0
  durable: Promise<void> | undefined
  changes = 0

  constructor(state: BrokerState, packet: Subscribe, asking: Asking) {
    this.#state = state
    this.packet = packet
    this.asking = asking
    // Arrays that grow have room for 16 more.
    this.reasons = packet.subscriptions.map(({ qos }) => limitQos(qos, asking))
    this.granted = packet.subscriptions.map(() => undefined)
  }
  tell(failed: MeshError | undefined): Promise<void> | undefined {
    return answer(this.#state, this, failed)
  }
}

function limitQos(qos: Qos, { link }: Asking): Qos {
  return Math.min(qos, link.listener.maxQos ?? 2) as Qos
}

/** Decides about each filter, as the session is now. @throws MESH_MQTT_PROTOCOL for one that is none */
function grant(state: BrokerState, asked: Subscribing): void {
  const { packet, asking, reasons, granted } = asked
  const { session, limits } = asking
  const { isBridge } = asking.link
  const subscriptionId = packet.properties.subscriptionIds?.[0]
  const places = packet.subscriptions.length > 1 ? new Map<string, number>() : undefined
  let added = 0
  let addedBytes = 0
  for (let i = 0; i < packet.subscriptions.length; i++) {
    const request = packet.subscriptions[i]!
    const { filter, retainHandling } = request
    const qos = limitQos(request.qos, asking)
    const there = session.subscriptions.get(filter)
    if (there === undefined) refuseMalformed(filter)
    const before = places?.get(filter)
    const isNew = there === undefined && before === undefined
    const bytes = isNew ? estimateFilterBytes(filter) : 0
    const isFull =
      isNew &&
      (session.subscriptions.size + added >= limits.maxSubscriptionsPerSession ||
        !state.subscriptions.room.has(session, addedBytes + bytes))
    const refused = refusalOf(filter, asking) ?? (isFull ? REASON.quotaExceeded : undefined)
    if (refused !== undefined) {
      reasons[i] = refused
      continue
    }
    if (isNew) added++
    addedBytes += bytes
    if (before !== undefined) granted[before] = undefined
    places?.set(filter, i)
    if (there && retainHandling === 1) (asked.wasThere ??= new Set()).add(filter)
    const noLocal = request.noLocal || (isBridge && !filter.startsWith('$share/'))
    const retainAsPublished = request.retainAsPublished || isBridge
    granted[i] = {
      // One text for each filter: it is found at once wherever it is looked for, and a repetition of it lives no longer.
      filter: there?.filter ?? filter,
      qos,
      noLocal,
      retainAsPublished,
      retainHandling,
      subscriptionId,
      durableBefore: undefined,
    }
  }
}

function answer(state: BrokerState, asked: Subscribing, failed: MeshError | undefined): Promise<void> | undefined {
  const { packet, asking, granted, reasons, wasThere, since } = asked
  const { session, link } = asking
  if (failed) fail(state, asked, failed)
  if (session.link !== link) return undefined
  const authorizer = asking.authorizer()
  // The rules may have changed while it was written.
  for (let i = 0; i < reasons.length; i++)
    if (reasons[i]! <= 2 && !authorizer.maySubscribe(packet.subscriptions[i]!.filter)) reasons[i] = REASON.notAuthorized
  if (!failed) tellRefused(state, session.clientId, packet, reasons)
  // MQTT 3.1 §3.8: without a way to say no, the server says yes.
  const said = link.is31 ? reasons.map((reason, i) => (reason <= 2 ? reason : packet.subscriptions[i]!.qos)) : reasons
  link.outbox.writeReasons('suback', packet.packetId, said)
  let sent: Promise<void>[] | undefined
  for (let i = 0; i < granted.length; i++) {
    const one = granted[i]
    if (!one || reasons[i]! > 2) continue
    if (one.retainHandling === 2 || (one.retainHandling === 1 && wasThere?.has(one.filter))) continue
    const rest = sendRetained(state, session, one, since)
    if (rest.length > 0) (sent ??= []).push(...rest)
  }
  return sent && Promise.all(sent).then(() => undefined)
}
/** What the store did not take is as it was before. */
function fail(state: BrokerState, { asking, granted, reasons }: Subscribing, failed: MeshError): void {
  state.ctx.log.warn(
    { evt: 'mqtt.subscribe.refused', clientId: asking.session.clientId, err: failed },
    'subscription could not be kept',
  )
  for (const one of granted) if (one) takeBack(state, asking, one)
  const reason = toReason(failed) === REASON.quotaExceeded ? REASON.quotaExceeded : REASON.unspecified
  reasons.forEach((was, i) => {
    if (was <= 2) reasons[i] = reason
  })
}

/** How many filters one log line names, and how many characters of each. */
const MAX_LISTED = 20
const MAX_LISTED_CHARS = 256
/** One line for a packet, however many filters it has. */
export function tellRefused(
  { counters, ctx }: Pick<BrokerState, 'counters' | 'ctx'>,
  clientId: string,
  packet: Subscribe,
  reasons: readonly number[],
): void {
  if (!reasons.some((reason) => reason > 2)) return
  const refused = packet.subscriptions.flatMap(({ filter }, i) =>
    reasons[i]! > 2 ? [{ filter, reason: reasons[i]! }] : [],
  )
  for (const { reason } of refused)
    counters.refusedSubscriptions[
      reason === REASON.notAuthorized ? 'not-authorized' : reason === REASON.quotaExceeded ? 'quota' : 'too-deep'
    ].value++
  const listed = refused.slice(0, MAX_LISTED)
  ctx.log.warn(
    {
      evt: 'mqtt.subscribe.denied',
      clientId,
      count: refused.length,
      filters: listed.map(({ filter, reason }) => `0x${reason.toString(16)} ${filter.slice(0, MAX_LISTED_CHARS)}`),
    },
    'subscriptions were refused: by the mqtt policy, or a limit is reached',
  )
}

/** @throws MESH_MQTT_PROTOCOL: no reason code says that a filter is none, so the packet is malformed (§4.13) */
export function refuseMalformed(filter: string): void {
  const shared = parseSharedFilter(filter)
  const problem =
    shared === 'invalid'
      ? '[MQTT-4.8.2-1] the shared subscription has no group, or no filter'
      : filterProblem(shared?.filter ?? filter)
  if (problem !== undefined) throw createViolation(REASON.malformedPacket, problem)
}

/** Reason code of §3.9.3, undefined when it is granted. */
function refusalOf(filter: string, asking: Asking): number | undefined {
  if (isTooDeep(filter, asking.limits.maxTopicLevels + (filter.startsWith('$share/') ? 2 : 0)))
    return REASON.topicFilterInvalid
  return asking.authorizer().maySubscribe(filter) ? undefined : REASON.notAuthorized
}

/** @returns the same, with what it changed on its way to the disk */
function act(state: BrokerState, asked: Subscribing): Subscribing {
  const { session, link } = asked.asking
  asked.since = state.retained.lastChange
  // The session may have ended meanwhile, or another connection have it.
  if (state.sessions.get(session.clientId) !== session || (session.link && session.link !== link)) return asked
  const may = asked.asking.authorizer()
  let changed: StoredSubscription[] | undefined
  for (const one of asked.granted) {
    // Asked again in the turn in which it acts: making a queue takes time, and the rules may have changed.
    if (!one || !may.maySubscribe(one.filter)) continue
    const before = session.subscriptions.get(one.filter)
    // The same subscription again changes no one's messages.
    if (before && isSame(before, one) && before.durableBefore === undefined && !session.isUnsure(one.filter)) continue
    if (session.stored) {
      if (before?.durableBefore === undefined) asked.changes++
      one.durableBefore = before === undefined ? 'none' : (before.durableBefore ?? before)
      if (changed) changed.push(one)
      else changed = [one]
    }
    session.subscribe(one)
    state.subscriptions.add(session, one)
  }
  if (changed) asked.durable = session.saveSubscriptions(state.durability, changed, [])
  return asked
}

function isSame(a: StoredSubscription, b: StoredSubscription): boolean {
  return (
    a.qos === b.qos &&
    a.noLocal === b.noLocal &&
    a.retainAsPublished === b.retainAsPublished &&
    a.retainHandling === b.retainHandling &&
    a.subscriptionId === b.subscriptionId
  )
}

/** To what the disk has of the filter, unless a later request has replaced it already. */
function takeBack(state: BrokerState, asking: Asking, one: HeldSubscription): void {
  const { session } = asking
  if (session.subscriptions.get(one.filter) !== one) return
  const old = one.durableBefore
  if (old === 'none') session.noteRefused([], one.filter)
  else if (old !== undefined) session.noteRefused([one.filter])
  session.unsubscribe(one.filter)
  state.subscriptions.remove(session, one.filter)
  if (
    old === undefined ||
    old === 'none' ||
    state.sessions.get(session.clientId) !== session ||
    !asking.authorizer().maySubscribe(old.filter)
  )
    return
  const again: HeldSubscription = old
  again.durableBefore = undefined
  session.subscribe(again)
  state.subscriptions.add(session, again)
}

const NONE: readonly never[] = []
/**
 * Not for shared subscriptions (§4.8.2). Through the queue where QoS 1 and 2 go through it, so packet ids and order are
 * one.
 */
function sendRetained(
  state: BrokerState,
  session: Session,
  one: StoredSubscription,
  since: number,
): readonly Promise<void>[] {
  const { filter } = one
  if (filter.startsWith('$share/')) return NONE
  if (filter.startsWith('$SYS/')) sendSys(state, session, one)
  if (state.retained.isEmpty) return NONE
  const { qos, subscriptionId } = one
  const ids = subscriptionId === undefined ? NO_IDS : [subscriptionId]
  const sent: Promise<void>[] = []
  const decided = state.retained.deliver(filter, since, (message) => {
    if (!session.mayHave(message.topic)) {
      state.counters.dropped['not-authorized'].value++
      return
    }
    const least = Math.min(qos, message.qos) as Qos
    if (least > 0 && session.queue) {
      const copy = { message: { ...message, qos: least }, subscriptionId }
      sent.push(appendRetained(state, session, session.queue, copy))
    } else session.deliver(message, least, message.retain, ids)
  })
  // What was on its way is in `sent` only once that is decided.
  return decided ? [decided.then(() => Promise.all(sent)).then(() => undefined)] : sent
}

/** Nothing of it goes to the disk, where the messages of a kept session's queue are. */
function sendSys(state: BrokerState, session: Session, { filter, qos, subscriptionId }: StoredSubscription): void {
  const ids = subscriptionId === undefined ? NO_IDS : [subscriptionId]
  state.sys?.deliver(filter, (message) => {
    const least = session.queue ? 0 : (Math.min(qos, message.qos) as Qos)
    if (session.mayHave(message.topic)) session.deliver(message, least, message.retain, ids)
  })
}

async function appendRetained(
  { durability, counters, ctx }: BrokerState,
  { clientId }: Session,
  queue: DurableQueue,
  { message, subscriptionId }: { readonly message: StoredMessage; readonly subscriptionId: number | undefined },
): Promise<void> {
  try {
    await durability.append(copyRetained(message, subscriptionId), [queue])
  } catch (thrown) {
    counters.dropped.spool.value++
    ctx.log.warn(
      { evt: 'mqtt.retained.lost', clientId, topic: message.topic, err: toMeshError(thrown) },
      'retained message could not be queued',
    )
  }
}

/**
 * When the store fails nothing is acknowledged, and the connection ends.
 * @throws MESH_MQTT_PROTOCOL for a malformed filter
 */
export function unsubscribe(state: BrokerState, { filters, packetId }: Unsubscribe, { session, link }: Asking): Answer {
  for (const filter of filters) refuseMalformed(filter)
  const gone: string[] = []
  const reasons = filters.map((filter) => {
    if (!session.unsubscribe(filter)) return REASON.noSubscriptionExisted
    state.subscriptions.remove(session, filter)
    gone.push(filter)
    return REASON.success
  })
  return {
    durable: saveGone(state, session, filters, gone),
    changes: gone.length,
    tell(failed) {
      if (failed) {
        session.noteRefused(gone)
        throw failed
      }
      if (session.link === link) link.outbox.writeReasons('unsuback', packetId, reasons)
      return undefined
    },
  }
}
/** One that is gone in memory may be on the disk still: its removal is on its way, or was refused. */
function saveGone(
  state: BrokerState,
  session: Session,
  filters: readonly string[],
  gone: string[],
): Promise<void> | undefined {
  if (!session.stored || state.sessions.get(session.clientId) !== session) return undefined
  if (gone.length > 0 || filters.some((filter) => session.isUnsure(filter)))
    return session.saveSubscriptions(state.durability, [], gone)
  return session.removing
}
