/** The MQTT rules of listeners, for sessions that have no connection to ask. */
import type { Listener } from '../model/listener.ts'
import type { MqttPolicy } from '../model/mqtt-policy.ts'
import type { Tables } from '../model/tables.ts'
import type { BridgePolicy } from '../protocols/mqtt/bridge/bridge.ts'
import { selectListeners } from '../protocols/downstream/wanted-listeners.ts'

/** Of the listener, or of all; one set for each of its chains that speaks MQTT, without repetitions. */
export function collectMqttPolicies(
  tables: Tables,
  own: readonly Listener[],
  listener: string | undefined,
): readonly MqttPolicy[] {
  const wanted = selectListeners(tables, own)
  const named = listener === undefined ? [...wanted.values()] : [wanted.get(listener) ?? tables.listeners.get(listener)]
  const found = new Set<MqttPolicy>()
  for (const one of named) for (const policy of one ? collectOfListener(one) : []) found.add(policy)
  return [...found]
}

/** Only agent.yaml names such files: a control plane knows nothing of this machine's files. */
export function collectAclFiles(own: readonly Listener[]): string[] {
  return own.flatMap(collectOfListener).flatMap(({ aclFile }) => aclFile ?? [])
}

/** One set for each chain that speaks MQTT. */
function collectOfListener({ filterChains, defaultFilterChain }: Listener): MqttPolicy[] {
  return [...filterChains, ...(defaultFilterChain ? [defaultFilterChain] : [])].flatMap(({ codec }) =>
    codec.kind === 'mqtt' ? codec.mqtt : [],
  )
}

/**
 * Routes of agent.yaml and of pushed MQTT listeners; the same route twice is one. Of two that say something of one
 * session the first counts, agent.yaml before what was pushed.
 */
export function collectBridgePolicy(own: BridgePolicy, { listeners }: Tables): BridgePolicy {
  const routes = [...own.routes]
  const bridges = [...own.bridges]
  const known = new Set(routes.map((r) => JSON.stringify(r)))
  for (const { filterChains, defaultFilterChain } of listeners.values()) {
    for (const chain of defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains) {
      if (chain.codec.kind !== 'mqtt') continue
      bridges.push(...chain.codec.mqtt.bridges)
      for (const route of chain.codec.mqtt.routes) {
        const key = JSON.stringify(route)
        if (!known.has(key)) {
          known.add(key)
          routes.push(route)
        }
      }
    }
  }
  return { routes, bridges }
}
