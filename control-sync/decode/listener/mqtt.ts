/**
 * The network filter `meshlet.mqtt_proxy`: a TypedStruct with the schema of agent.yaml's `mqtt:` section, and
 * `transport: websocket` where that is meant.
 */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Codec } from '../../../model/listener.ts'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
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
  const { transport = 'tcp', ...policy } = struct.value
  if (transport !== 'tcp' && transport !== 'websocket' && transport !== 'auto') {
    here.in('transport').issue('must be tcp, websocket or auto')
    return refused
  }
  const parsed = createMqttPolicySchema().safeParse(policy)
  if (parsed.success) {
    const { aclFile, bridges } = parsed.data
    const named = bridges.findIndex(
      ({ credentials, httpProxy }) => credentials !== undefined || httpProxy?.credentialsFile !== undefined,
    )
    if (aclFile !== undefined)
      here.in('aclFile').issue('is a file of the machine, which only its agent.yaml may name: send `rules`')
    else if (named >= 0)
      here
        .in('bridges')
        .item(named)
        .in(bridges[named]!.credentials ? 'credentials' : 'httpProxy')
        .issue('are secrets of the machine, which only its agent.yaml may give to a broker')
    else return { kind: 'mqtt', mqtt: parsed.data, transport }
    return refused
  }
  for (const { path, message } of parsed.error.issues) {
    path
      .reduce<DecodePath>((place, key) => (typeof key === 'number' ? place.item(key) : place.in(String(key))), here)
      .issue(message)
  }
  return refused
}
