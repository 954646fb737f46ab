/**
 * What the routes of the policy come to: one MQTT session per upstream cluster and client id, and what goes up and down
 * in it. Pure.
 */
import { bridge, type MqttBridge } from '../../../model/mqtt/bridge.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { isBounded, nameLane, type MqttRoute } from '../../../model/mqtt/route.ts'
import type { Qos } from '../codec/packet.ts'
import type { QueueLimits, StoredMessage, WhenFull } from '../durability.ts'
import { computeExpiry } from '../expiry.ts'
import type { LaneSparkplug } from '../sparkplug/forwarding.ts'
import { type Rename, planRewrite, withoutShare } from './rewrite.ts'

export type BridgeRoute = {
  /** Equal for equal routes. */
  readonly key: string
  readonly filter: string
  /** What messages are matched with: the filter without `$share/<group>/`. */
  readonly topics: string
  readonly maxQos: Qos
  /** Of a route that goes up: key of its lane. */
  readonly lane: string
  /** Whether what is retained goes along when the route begins. */
  readonly sendRetained: boolean
  /** The message as it is on the other side; the same object when nothing is different. */
  readonly make: (message: StoredMessage, nowMs: number) => StoredMessage
}
export type LanePlan = {
  readonly key: string
  readonly priority: number
  /** Two queues with `live-first`. */
  readonly order: MqttRoute['order']
  readonly whenFull: WhenFull | undefined
  readonly limits: QueueLimits | undefined
  /** When it carries Sparkplug. */
  readonly sparkplug: LaneSparkplug | undefined
}
export type SessionPlan = {
  readonly cluster: string
  readonly settings: MqttBridge
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
  /** Of what goes up, the highest priority first; none when nothing does. */
  readonly lanes: readonly LanePlan[]
  /** Equal for equal routes, in whatever order they came. */
  readonly fingerprint: string
}

export type BridgePolicy = Pick<MqttPolicy, 'routes' | 'bridges'>

/** @param node name of this agent, the beginning of the client id where the route gives none */
export function planSessions({ routes, bridges }: BridgePolicy, node: string): ReadonlyMap<string, SessionPlan> {
  const keyOfSession = (of: { readonly cluster: string; readonly clientId?: string | undefined }): string =>
    JSON.stringify([of.cluster, of.clientId ?? `${node}/${of.cluster}`])
  const groups = new Map<string, MqttRoute[]>()
  for (const route of routes) {
    const key = keyOfSession(route)
    const group = groups.get(key)
    if (group) group.push(route)
    else groups.set(key, [route])
  }
  return new Map(
    [...groups].map(([key, group]) => {
      const settings =
        bridges.find((one) => keyOfSession(one) === key) ?? bridge().parse({ cluster: group[0]!.cluster })
      return [key, planOf(key, group, { node, settings })]
    }),
  )
}

function planOf(
  key: string,
  routes: readonly MqttRoute[],
  { node, settings }: { readonly node: string; readonly settings: MqttBridge },
): SessionPlan {
  const [cluster, clientId] = JSON.parse(key) as [string, string]
  return {
    cluster,
    settings,
    clientId,
    queueName: `up/${cluster}/${clientId}`,
    asideName: `aside/${cluster}/${clientId}`,
    origin: `\0bridge/${cluster}/${clientId}`,
    up: routes.filter((r) => r.direction !== 'down').map((r) => upRoute(r, node)),
    down: routes.filter((r) => r.direction !== 'up').map((r) => downRoute(r, node)),
    lanes: lanesOf(routes.filter((r) => r.direction !== 'down')),
    fingerprint: JSON.stringify([settings, routes.map((r) => keyOf(r, node)).sort()]),
  }
}

function upRoute(r: MqttRoute, node: string): BridgeRoute {
  const { there } = planRewrite(r, { 'node.id': node, cluster: r.cluster })
  return { ...common(r, node), filter: r.match, topics: withoutShare(r.match), make: maker(r, there) }
}
function downRoute(r: MqttRoute, node: string): BridgeRoute {
  const { there, back, filterThere } = planRewrite(r, { 'node.id': node, cluster: r.cluster })
  return r.direction === 'both'
    ? { ...common(r, node), filter: filterThere, topics: filterThere, make: maker(r, back) }
    : { ...common(r, node), filter: r.match, topics: withoutShare(r.match), make: maker(r, there) }
}
function common(r: MqttRoute, node: string): Pick<BridgeRoute, 'key' | 'lane' | 'maxQos' | 'sendRetained'> {
  return { key: keyOf(r, node), lane: nameLane(r), maxQos: r.maxQos, sendRetained: r.sendRetained }
}

/** With the node, whose name stands in topics. */
function keyOf(r: MqttRoute, node: string): string {
  return JSON.stringify([node, Object.entries(r).sort(([a], [b]) => (a < b ? -1 : 1))])
}

function maker(r: MqttRoute, rename: Rename): BridgeRoute['make'] {
  const { maxQos, retain: how, ttlSec } = r
  // Edge Nodes publish with QoS 0 [tck-id-payloads-ndata-qos], by which what is on its way when the link breaks is lost.
  const minQos = r.sparkplug ? Math.max(r.minQos, Math.min(1, maxQos)) : r.minQos
  return (message, nowMs) => {
    const topic = rename(message.topic)
    const qos = Math.max(minQos, Math.min(message.qos, maxQos)) as Qos
    const retain = how === 'keep' ? message.retain : how === 'set'
    const expiry = ttlSec === undefined ? undefined : computeExpiry(ttlSec, nowMs)
    const isSooner = expiry !== undefined && expiry.expiresAtMs! < (message.expiresAtMs ?? Infinity)
    if (topic === message.topic && qos === message.qos && retain === message.retain && !isSooner) return message
    return { ...message, topic, qos, retain, ...(isSooner ? expiry : undefined) }
  }
}

function lanesOf(up: readonly MqttRoute[]): readonly LanePlan[] {
  const lanes = new Map<string, MqttRoute[]>()
  for (const route of up) lanes.set(nameLane(route), [...(lanes.get(nameLane(route)) ?? []), route])
  return [...lanes]
    .map(([key, routes]): LanePlan => {
      const bounded = routes.find(isBounded)
      const { sparkplug } = routes[0]!
      return {
        key,
        priority: Math.max(...routes.map((r) => r.priority)),
        order: routes.some((r) => r.order === 'live-first') ? 'live-first' : 'backlog-first',
        whenFull: whenFullOf(routes),
        limits: bounded && {
          maxMessages: bounded.maxQueuedMessages ?? Infinity,
          maxBytes: bounded.maxQueuedBytes ?? Infinity,
          minDiskFreeBytes: bounded.minDiskFreeBytes,
        },
        sparkplug: sparkplug && { ...sparkplug, filters: routes.map((r) => r.match) },
      }
    })
    .sort((a, b) => b.priority - a.priority)
}

/** One queue for all of them: it refuses when one of them says so. */
function whenFullOf(up: readonly MqttRoute[]): WhenFull | undefined {
  if (up.some((route) => route.whenFull === 'refuse')) return 'refuse'
  return up.every((route) => route.whenFull !== undefined) ? up[0]!.whenFull : undefined
}
