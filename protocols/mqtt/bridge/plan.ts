/**
 * What the routes of the policy come to: one MQTT session per upstream cluster and client id, and what goes up and down
 * in it. Pure.
 */
import type { MqttRoute } from '../../../model/mqtt-policy.ts'
import type { Qos } from '../codec/packet.ts'
import { sharedOf } from '../topics/topics.ts'

const MAX_TOPIC_BYTES = 65_535

export type BridgeRoute = {
  /** Equal for equal routes. */
  readonly key: string
  readonly filter: string
  /** What messages are matched with: the filter without `$share/<group>/`. */
  readonly topics: string
  readonly maxQos: Qos
  readonly rename: (topic: string) => string
}
export type SessionPlan = {
  readonly cluster: string
  readonly clientId: string
  /** Name of the durable queue of what goes up. */
  readonly queueName: string
  /** Of the queue of what the upstream broker does not take. */
  readonly asideName: string
  /**
   * Whose messages are not sent back up, and whose QoS 2 ids are kept. No client can have this name: it begins with
   * U+0000 [MQTT-1.5.4-2].
   */
  readonly origin: string
  readonly up: readonly BridgeRoute[]
  readonly down: readonly BridgeRoute[]
  /** Of the queue of what goes up. */
  readonly whenFull: MqttRoute['whenFull']
  /** Equal for equal routes, in whatever order they came. */
  readonly fingerprint: string
}

/** @param node name of this agent, the beginning of the client id where the route gives none */
export function sessionPlans(routes: readonly MqttRoute[], node: string): ReadonlyMap<string, SessionPlan> {
  const groups = new Map<string, MqttRoute[]>()
  for (const route of routes) {
    const key = JSON.stringify([route.cluster, route.clientId ?? `${node}/${route.cluster}`])
    const group = groups.get(key)
    if (group) group.push(route)
    else groups.set(key, [route])
  }
  return new Map([...groups].map(([key, group]) => [key, planOf(key, group)]))
}

function planOf(key: string, routes: readonly MqttRoute[]): SessionPlan {
  const [cluster, clientId] = JSON.parse(key) as [string, string]
  const of = (direction: MqttRoute['direction']): BridgeRoute[] =>
    routes
      .filter((r) => r.direction === direction)
      .map((r) => ({
        key: keyOf(r),
        filter: r.match,
        topics: topicsOf(r.match),
        maxQos: r.maxQos,
        rename: (topic) => renamed(topic, r),
      }))
  return {
    cluster,
    clientId,
    queueName: `up/${cluster}/${clientId}`,
    asideName: `aside/${cluster}/${clientId}`,
    origin: `\0bridge/${cluster}/${clientId}`,
    up: of('up'),
    down: of('down'),
    whenFull: whenFullOf(routes.filter((r) => r.direction === 'up')),
    fingerprint: JSON.stringify(routes.map(keyOf).sort()),
  }
}

function keyOf(r: MqttRoute): string {
  return JSON.stringify([r.direction, r.match, r.maxQos, r.stripPrefix, r.addPrefix, r.whenFull])
}

function topicsOf(filter: string): string {
  const shared = sharedOf(filter)
  return shared === undefined || shared === 'invalid' ? filter : shared.filter
}

/** One queue for all of them: it refuses when one of them says so. */
function whenFullOf(up: readonly MqttRoute[]): MqttRoute['whenFull'] {
  if (up.some((route) => route.whenFull === 'refuse')) return 'refuse'
  return up.every((route) => route.whenFull === 'drop-oldest') ? 'drop-oldest' : undefined
}

/** A topic that would become empty or longer than MQTT allows [MQTT-4.7.3-1, -3] stays as it is. */
export function renamed(
  topic: string,
  { stripPrefix, addPrefix }: Pick<MqttRoute, 'stripPrefix' | 'addPrefix'>,
): string {
  const made = addPrefix + (topic.startsWith(stripPrefix) ? topic.slice(stripPrefix.length) : topic)
  return made === '' || (made.length > MAX_TOPIC_BYTES / 3 && Buffer.byteLength(made) > MAX_TOPIC_BYTES) ? topic : made
}
