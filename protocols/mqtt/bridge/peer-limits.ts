/** What an upstream broker takes. */
import type { MqttBridge } from '../../../model/mqtt/bridge.ts'
import { type Connack, MAX_VAR_INT, type Qos, type Version } from '../codec/packet.ts'

/** What the peer's CONNACK allows. */
export type PeerLimits = {
  readonly receiveMaximum: number
  readonly maxPacketBytes: number
  readonly maxQos: Qos
  readonly retainAvailable: boolean
  /** Topic Alias Maximum. */
  readonly aliases: number
}
/** In flight at once towards 3.1.1, which cannot say. */
const MAX_INFLIGHT_311 = 1_000

/** Within those of our own settings. */
export function readPeerLimits(
  version: Version,
  { maxInflight, maxPacketBytes = MAX_VAR_INT + 5 }: Pick<MqttBridge, 'maxInflight' | 'maxPacketBytes'>,
  p: Connack['properties'],
): PeerLimits {
  if (version === 4)
    return {
      receiveMaximum: Math.min(maxInflight, MAX_INFLIGHT_311),
      maxPacketBytes,
      maxQos: 2,
      retainAvailable: true,
      aliases: 0,
    }
  return {
    receiveMaximum: Math.min(p.receiveMaximum ?? 65_535, maxInflight),
    maxPacketBytes: Math.min(p.maximumPacketBytes ?? MAX_VAR_INT + 5, maxPacketBytes),
    maxQos: p.maximumQos === 0 ? 0 : p.maximumQos === 1 ? 1 : 2,
    retainAvailable: p.retainAvailable !== 0,
    aliases: p.topicAliasMaximum ?? 0,
  }
}
