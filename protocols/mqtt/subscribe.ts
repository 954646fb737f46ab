/** SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8 to §3.11). A kept session's subscriptions are durable before they are acknowledged. */
import { toMeshError } from '../../agent/core/errors.ts'
import type { MqttPolicy } from '../../agent/model/mqtt-policy.ts'
import type { Authorizer } from './authorization.ts'
import type { Qos, Subscribe, SubscriptionRequest, Unsubscribe } from './codec/packet.ts'
import { NO_PROPERTIES } from './codec/properties.ts'
import type { StoredMessage, StoredSubscription } from './durability.ts'
import type { Link } from './link.ts'
import { REASON, reasonOf } from './reason.ts'
import { retainedCopy } from './retained.ts'
import type { Session } from './session.ts'
import { queueName } from './sessions.ts'
import type { BrokerState } from './state.ts'
import { filterProblem, sharedOf } from './topics.ts'

export type Asking = { readonly session: Session; readonly link: Link; readonly authorizer: Authorizer; readonly limits: MqttPolicy['limits'] }

/** Never rejects for what a client asks; a store that fails is its SUBACK's reason. */
export async function subscribe(state: BrokerState, packet: Subscribe, asking: Asking): Promise<void> {
  const { session, link } = asking
  const subscriptionId = packet.properties.subscriptionIds?.[0]
  const granted: StoredSubscription[] = []
  const reasons = packet.subscriptions.map((request) => {
    const refused = refusalOf(request, granted, asking)
    if (refused !== undefined) return refused
    const { filter, qos, noLocal, retainAsPublished, retainHandling } = request
    granted.push({ filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionId })
    return qos
  })
  const before = new Map(granted.map(({ filter }) => [filter, session.subscriptions.get(filter)]))
  try {
    await enter(state, session, granted)
  } catch (thrown) {
    const err = toMeshError(thrown)
    state.ctx.log.warn({ evt: 'mqtt.subscribe.refused', clientId: session.clientId, err }, 'subscription could not be kept')
    for (const [filter, old] of before) leave(state, session, filter, old)
    const reason = reasonOf(err) === REASON.quotaExceeded ? REASON.quotaExceeded : REASON.unspecified
    reasons.forEach((was, i) => { if (was <= 2) reasons[i] = reason })
    granted.length = 0
  }
  if (session.link !== link) return
  link.outbox.packet({ type: 'suback', packetId: packet.packetId, reasons: link.version === 5 ? reasons : reasons.map((r) => (r > 2 ? 0x80 : r)), properties: NO_PROPERTIES })
  for (const one of granted) {
    if (one.retainHandling === 0 || (one.retainHandling === 1 && before.get(one.filter) === undefined)) sendRetained(state, session, one)
  }
}

/** Reason code of §3.9.3, undefined when it is granted. */
function refusalOf({ filter }: SubscriptionRequest, granted: readonly StoredSubscription[], { session, authorizer, limits }: Asking): number | undefined {
  const shared = sharedOf(filter)
  if (shared === 'invalid' || filterProblem(shared?.filter ?? filter, limits.maxTopicLevels) !== undefined) return REASON.topicFilterInvalid
  if (!authorizer.maySubscribe(filter)) return REASON.notAuthorized
  const isNew = !session.subscriptions.has(filter) && !granted.some((g) => g.filter === filter)
  const added = granted.filter((g) => !session.subscriptions.has(g.filter)).length
  return isNew && session.subscriptions.size + added >= limits.maxSubscriptionsPerSession ? REASON.quotaExceeded : undefined
}

async function enter(state: BrokerState, session: Session, granted: readonly StoredSubscription[]): Promise<void> {
  if (session.stored && session.queue === undefined && granted.some(({ qos }) => qos > 0)) {
    const name = queueName(session.clientId)
    session.useQueue(state.durability.queue(name) ?? await state.durability.createQueue(name))
  }
  // The session may have ended meanwhile.
  if (granted.length === 0 || state.sessions.get(session.clientId) !== session) return
  for (const one of granted) {
    session.subscribe(one)
    state.subscriptions.add(session, one)
  }
  if (session.stored) await state.durability.saveSession(session.toStored())
}

function leave(state: BrokerState, session: Session, filter: string, old: StoredSubscription | undefined): void {
  session.unsubscribe(filter)
  state.subscriptions.remove(session, filter)
  if (!old || state.sessions.get(session.clientId) !== session) return
  session.subscribe(old)
  state.subscriptions.add(session, old)
}

/** Not for shared subscriptions (§4.8.2). Through the queue where QoS 1 and 2 go through it, so packet ids and order are one. */
function sendRetained(state: BrokerState, session: Session, { filter, qos, subscriptionId }: StoredSubscription): void {
  if (filter.startsWith('$share/')) return
  const ids = subscriptionId === undefined ? [] : [subscriptionId]
  for (const message of state.retained.find(filter)) {
    const least = Math.min(qos, message.qos) as Qos
    if (least > 0 && session.queue) appendRetained(state, session, { ...message, qos: least })
    else session.deliver(message, least, true, ids)
  }
}

function appendRetained(state: BrokerState, session: Session, message: StoredMessage): void {
  state.durability.append(retainedCopy(message), [session.queue!]).catch((err: unknown) => {
    state.counters.dropped.spool.value++
    state.ctx.log.warn({ evt: 'mqtt.retained.lost', clientId: session.clientId, topic: message.topic, err: toMeshError(err) }, 'retained message could not be queued')
  })
}

/** Rejects when the store fails: then nothing is acknowledged and the connection ends. */
export async function unsubscribe(state: BrokerState, { filters, packetId }: Unsubscribe, { session, link }: Asking): Promise<void> {
  const reasons = filters.map((filter) => {
    if (!session.unsubscribe(filter)) return REASON.noSubscriptionExisted
    state.subscriptions.remove(session, filter)
    return REASON.success
  })
  if (session.stored && state.sessions.get(session.clientId) === session) await state.durability.saveSession(session.toStored())
  if (session.link === link) link.outbox.packet({ type: 'unsuback', packetId, reasons, properties: NO_PROPERTIES })
}
