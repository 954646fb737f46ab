/**
 * Whether a bridge is connected, as mosquitto's tell it: `1` and `0`, retained, on one topic. The upstream broker says
 * `0` itself when the connection breaks, by way of the will.
 */
import { detach } from '../../../core/defects/guard.ts'
import { toMeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import { NO_BYTES, publishFlags, RETAIN, type Will } from '../codec/packet.ts'
import type { Outbox } from '../codec/outbox.ts'
import type { LocalBroker, StoredMessage } from '../durability.ts'
import type { PeerLimits } from './peer-limits.ts'
import type { SessionPlan } from './plan.ts'

export type LinkState = '0' | '1'
const NO_IDS: readonly number[] = []

const topicOf = ({ clientId, settings }: SessionPlan): string =>
  settings.notificationTopic ?? `$SYS/broker/connection/${clientId}/state`
const isToldTo = (side: 'local' | 'remote', { settings: { notifications } }: SessionPlan): boolean =>
  notifications === side || notifications === 'both'

export function buildWill(plan: SessionPlan): Will | undefined {
  if (!isToldTo('remote', plan)) return undefined
  return {
    topic: topicOf(plan),
    payload: Buffer.from('0'),
    qos: 1,
    retain: true,
    properties: NO_BYTES,
    delaySec: 0,
    messageExpirySec: undefined,
  }
}

/** Sent with QoS 0: if the connection breaks before it arrives, the will corrects it. */
export function tellUpstream(outbox: Outbox, plan: SessionPlan, state: LinkState, peer: PeerLimits): void {
  if (!isToldTo('remote', plan)) return
  const message = { topic: topicOf(plan), payload: Buffer.from(state), properties: NO_BYTES }
  if (outbox.publishBytes(message, 0, undefined, NO_IDS) > peer.maxPacketBytes) return
  outbox.publish(message, publishFlags(0, peer.retainAvailable ? RETAIN : 0), 0, undefined, NO_IDS)
}

export function tellLocally(
  to: { readonly broker: LocalBroker; readonly log: Log },
  plan: SessionPlan,
  state: LinkState,
): void {
  if (!isToldTo('local', plan)) return
  const message: StoredMessage = {
    topic: topicOf(plan),
    payload: Buffer.from(state),
    qos: 1,
    retain: true,
    properties: NO_BYTES,
    expiresAtMs: undefined,
  }
  detach(
    'bridge',
    to.broker.publish(message, plan.origin).catch((thrown: unknown) => {
      to.log.warn({ evt: 'mqtt.bridge.untold', err: toMeshError(thrown) }, 'the state of the bridge could not be told')
    }),
  )
}
