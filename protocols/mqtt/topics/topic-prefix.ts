/**
 * Clients of a listener with a topic prefix (mosquitto's mount_point) see and reach only what is below it: what they
 * say gets the prefix before rules are asked, and what they are sent loses it.
 */
import type { Connect, Subscribe, Unsubscribe } from '../codec/packet.ts'
import { createViolation, REASON } from '../codec/reason.ts'
import { filterProblem, parseSharedFilter } from './topics.ts'

/** What the broker itself tells a client. */
const OF_BROKER = '$SYS/'

/** A topic's length has two bytes (MQTT 5.0 §1.5.4). */
const MAX_TOPIC_BYTES = 65_535

/** Throws MESH_MQTT_PROTOCOL: no packet could carry it. */
export function addPrefixToTopic(topic: string, prefix: string): string {
  const whole = prefix + topic
  if (whole.length * 3 > MAX_TOPIC_BYTES && Buffer.byteLength(whole) > MAX_TOPIC_BYTES)
    throw createViolation(
      REASON.topicNameInvalid,
      `the topic has more than ${MAX_TOPIC_BYTES} bytes with the prefix of its listener (mqtt.topicPrefix)`,
    )
  return whole
}
export function addPrefixToWill(connect: Connect, prefix: string | undefined): Connect {
  const { will } = connect
  return will && prefix !== undefined
    ? { ...connect, will: { ...will, topic: addPrefixToTopic(will.topic, prefix) } }
    : connect
}
export function addPrefixToSubscribe(packet: Subscribe, prefix: string | undefined): Subscribe {
  if (prefix === undefined) return packet
  const subscriptions = packet.subscriptions.map((one) => ({ ...one, filter: addToFilter(one.filter, prefix) }))
  return { ...packet, subscriptions }
}
export function addPrefixToUnsubscribe(packet: Unsubscribe, prefix: string | undefined): Unsubscribe {
  return prefix === undefined ? packet : { ...packet, filters: packet.filters.map((one) => addToFilter(one, prefix)) }
}

/** A malformed one stays what it is, and is refused for that. */
function addToFilter(filter: string, prefix: string): string {
  const shared = parseSharedFilter(filter)
  if (shared === 'invalid' || filterProblem(shared?.filter ?? filter) !== undefined) return filter
  return shared ? `$share/${shared.group}/${prefix}${shared.filter}` : prefix + filter
}

/** Undefined: its session got it by a subscription of another listener, and its clients here may not see it. */
export function stripPrefix<M extends { readonly topic: string }>(message: M, prefix: string): M | undefined {
  const { topic } = message
  if (topic.startsWith(OF_BROKER)) return message
  return topic.startsWith(prefix) && topic.length > prefix.length
    ? { ...message, topic: topic.slice(prefix.length) }
    : undefined
}
