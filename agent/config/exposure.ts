/**
 * What a configuration leaves open to anybody who can reach the port, or asks of rules that they cannot know. Told, not
 * refused: the node has to start.
 */
import { type MqttUsers, listUserMethods } from '../../model/mqtt/users.ts'
import { isLoopback } from '../../model/browser.ts'
import { MeshError } from '../../core/errors.ts'
import type { Codec, FilterChain, Listener } from '../../model/listener.ts'

/** More listeners of the same kind help nobody. */
const MAX_LISTED = 20

/**
 * @param listeners those in force @param own names of agent.yaml's, with whether anybody is meant to come in
 * @param users of the node's MQTT broker
 * @returns one problem per listener. Of pushed ones only those with MQTT: what others take without proof is the control
 * plane's to say.
 */
export function findExposureProblems(
  listeners: Iterable<Listener>,
  own: ReadonlyMap<string, { readonly acceptAnyone?: boolean | undefined }>,
  users: MqttUsers | undefined,
): MeshError[] {
  const found: MeshError[] = []
  for (const listener of listeners) {
    const { name, filterChains, defaultFilterChain, additional = [] } = listener
    const chains = defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains
    const user = chains.some(
      ({ codec }) =>
        codec.kind === 'mqtt' &&
        listUserMethods(users, codec.mqtt.listener).length === 0 &&
        codec.mqtt.rules.some((rule) => rule.topics.some((topic) => topic.includes('%u'))),
    )
    if (user)
      found.push(
        new MeshError(
          'MESH_MQTT_USER_UNPROVED',
          `rules of listener ${name} name the user (%u), which no client can prove there: they allow nothing by it, and deny whoever it is`,
        ),
      )
    const settings = own.get(name)
    const exposed = [listener, ...additional].find(({ address }) => !isLoopback(address))
    if (!exposed || listener.unixMode !== undefined || settings?.acceptAnyone) continue
    const open = chains.find((chain) => isOpen(chain, users) && (settings !== undefined || chain.codec.kind === 'mqtt'))
    if (open)
      found.push(
        new MeshError(
          'MESH_LISTENER_OPEN',
          `listener ${name} on ${exposed.address}:${exposed.port} takes ${WORDS[open.codec.kind]} in plain text from anybody, without any rules`,
        ),
      )
  }
  return found.slice(0, MAX_LISTED)
}

const WORDS: Readonly<Record<Codec['kind'], string>> = {
  http: 'HTTP',
  tcp: 'connections',
  mqtt: 'MQTT',
  hbone: 'tunnels',
  blocked: 'nothing',
}

function isOpen({ tls, policies, codec }: FilterChain, users: MqttUsers | undefined): boolean {
  if (tls || policies.length > 0) return false
  switch (codec.kind) {
    case 'http':
      return codec.http.filters.every((filter) => filter.kind !== 'rbac' && filter.kind !== 'blocked')
    case 'mqtt':
      return (
        codec.mqtt.rules.length === 0 && codec.mqtt.aclFile === undefined && (codec.mqtt.listener.anonymous ?? !users)
      )
    case 'tcp':
    case 'hbone':
      return true
    case 'blocked':
      return false
    default:
      return codec satisfies never
  }
}
