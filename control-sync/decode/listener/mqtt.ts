/**
 * The network filter `meshlet.mqtt_proxy`: a TypedStruct with the schema of agent.yaml's `mqtt:` section, and of a
 * listener's `transport`, `mode`, `cluster` and `sendProxyProtocol`.
 */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Codec } from '../../../model/listener.ts'
import {
  createMqttFilterWaySchema,
  createMqttPolicySchema,
  findEngineSetting,
  type MqttPolicy,
} from '../../../model/mqtt-policy.ts'
import { unpackStruct } from '../fields/any.ts'
import type { DecodePath } from '../fields/decode-path.ts'

export const MQTT_FILTER = 'meshlet.mqtt_proxy'

export function decodeMqttCodec(at: DecodePath, any: Any | undefined): Codec {
  const refused: Codec = { kind: 'blocked', reason: 'the mqtt policy cannot be used' }
  const struct = unpackStruct(at, any)
  if (!struct) {
    at.issue(`${MQTT_FILTER} needs an xds.type.v3.TypedStruct`)
    return refused
  }
  const here = at.in('value')
  const { transport, mode, cluster, forwardCredentials, sendProxyProtocol, ...policy } = struct.value
  const asked = createMqttFilterWaySchema().safeParse({
    transport,
    mode,
    cluster,
    forwardCredentials,
    sendProxyProtocol,
  })
  const parsed = createMqttPolicySchema().safeParse(policy)
  if (parsed.success && asked.success) {
    if (refuseOfMachine(here, parsed.data)) return refused
    const engineSetting = asked.data.mode === 'transparent' ? findEngineSetting(parsed.data.listener) : undefined
    if (engineSetting !== undefined) {
      here.in('listener').in(engineSetting).issue('goes with mode `engine`: the broker behind has the session')
      return refused
    }
    return {
      kind: 'mqtt',
      mqtt: parsed.data,
      transport: asked.data.transport,
      ...(asked.data.cluster !== undefined && {
        proxy: {
          cluster: asked.data.cluster,
          forwardCredentials: false,
          ...(asked.data.sendProxyProtocol && { sendProxyProtocol: asked.data.sendProxyProtocol }),
        },
      }),
    }
  }
  for (const { path, message } of [...(asked.error?.issues ?? []), ...(parsed.error?.issues ?? [])]) {
    path
      .reduce<DecodePath>((place, key) => (typeof key === 'number' ? place.item(key) : place.in(String(key))), here)
      .issue(message)
  }
  return refused
}

/** @returns whether something of it only agent.yaml may say */
function refuseOfMachine(here: DecodePath, { aclFile, bridges }: MqttPolicy): boolean {
  const named = bridges.findIndex(
    ({ credentials, psk, httpProxy }) =>
      credentials !== undefined || psk !== undefined || httpProxy?.credentialsFile !== undefined,
  )
  if (aclFile !== undefined)
    here.in('aclFile').issue('is a file of the machine, which only its agent.yaml may name: send `rules`')
  else if (named >= 0)
    here
      .in('bridges')
      .item(named)
      .in((['credentials', 'psk'] as const).find((name) => bridges[named]![name]) ?? 'httpProxy')
      .issue('are secrets of the machine, which only its agent.yaml may give to a broker')
  return aclFile !== undefined || named >= 0
}
