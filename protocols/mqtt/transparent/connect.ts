/**
 * CONNECT as the broker gets it, and CONNACK as the client does. Both pass as they came unless something of them has to
 * be different: who the client is, and sizes that this node would have to hold.
 */
import { MeshError } from '../../../core/errors.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { encode } from '../codec/encode.ts'
import type { Connack, Connect, Properties } from '../codec/packet.ts'
import type { Admitted } from '../connection/connect.ts'
import type { Connecting } from '../connection/connecting.ts'

type Limits = Pick<MqttPolicy['limits'], 'maxPacketBytes' | 'maxTopicAliases'>
export type Known = {
  readonly limits: Limits
  readonly admitted: Pick<Admitted, 'clientId' | 'assigned' | 'keepAliveSec' | 'proof'>
  /** This node has proved the user, and the broker is not to see by what. */
  readonly isProvedHere: boolean
}

/** Between CONNECT and CONNACK. */
export type Asked = {
  readonly connect: Connect
  readonly connecting: Connecting
  readonly bytes: Buffer
  /** AUTH packets are between client and broker (MQTT 5.0 §4.12). */
  readonly isEnhanced: boolean
}

/** @returns the packet that the broker gets; the same one when nothing is different */
export function rewriteConnect(connect: Connect, { limits, admitted, isProvedHere }: Known): Connect {
  let changed = connect
  // One that we assigned, so that policies and the broker speak of the same client.
  if (admitted.clientId !== connect.clientId) changed = { ...changed, clientId: admitted.clientId }
  if (admitted.keepAliveSec !== connect.keepAliveSec) changed = { ...changed, keepAliveSec: admitted.keepAliveSec }
  if (isProvedHere && hasCredentials(connect))
    // Never a name that was only said: the broker may believe it.
    changed = { ...changed, username: admitted.proof.user?.name, password: undefined }
  if (connect.version === 4) return changed
  const properties = boundedProperties(connect.properties, limits)
  const { authenticationMethod, authenticationData: _, ...others } = properties
  if (isProvedHere && authenticationMethod !== undefined) return { ...changed, properties: others }
  return properties === connect.properties ? changed : { ...changed, properties }
}

function hasCredentials({ username, password, properties }: Connect): boolean {
  return username !== undefined || password !== undefined || properties.authenticationMethod !== undefined
}

/** What the receiver's side of this node holds: the largest packet, and topics behind aliases. */
function boundedProperties(properties: Properties, { maxPacketBytes, maxTopicAliases }: Limits): Properties {
  const isLarge = (properties.maximumPacketBytes ?? Infinity) > maxPacketBytes
  const hasMany = (properties.topicAliasMaximum ?? 0) > maxTopicAliases
  if (!isLarge && !hasMany) return properties
  return {
    ...properties,
    ...(isLarge && { maximumPacketBytes: maxPacketBytes }),
    ...(hasMany && { topicAliasMaximum: maxTopicAliases }),
  }
}

/** @returns the packet that the client gets; the same one when nothing is different */
export function rewriteConnack(connack: Connack, connect: Connect, known: Known): Connack {
  const { admitted, limits, isProvedHere } = known
  if (connect.version === 4 || connack.reason !== 0) return connack
  let properties = boundedProperties(connack.properties, limits)
  if (admitted.assigned && properties.assignedClientId === undefined)
    properties = { ...properties, assignedClientId: admitted.clientId }
  if (admitted.keepAliveSec !== connect.keepAliveSec && properties.serverKeepAliveSec === undefined)
    properties = { ...properties, serverKeepAliveSec: admitted.keepAliveSec }
  const { authenticationMethod } = connect.properties
  const { serverData } = admitted.proof
  // [MQTT-4.12.0-5]
  if (isProvedHere && authenticationMethod !== undefined)
    properties = { ...properties, authenticationMethod, ...(serverData && { authenticationData: serverData }) }
  return properties === connack.properties ? connack : { ...connack, properties }
}

/** @throws MESH_MQTT_PACKET_TOO_LARGE where the client takes no such packet [MQTT-3.1.2-24] */
export function encodeConnack(connack: Connack, { version, properties }: Connect): Buffer {
  const bytes = encode(connack, version)
  const { maximumPacketBytes = Infinity } = properties
  if (bytes.length > maximumPacketBytes)
    throw new MeshError(
      'MESH_MQTT_PACKET_TOO_LARGE',
      `the client takes no packet above ${maximumPacketBytes} bytes, and its CONNACK is larger [MQTT-3.1.2-24]`,
    )
  return bytes
}
