/**
 * The record of a gap: a kept session that had no room lost its oldest messages, and whoever subscribes to
 * `$SYS/broker/gap/<client id>` is told when its client comes back, the client itself among them.
 */
import { toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import { NO_BYTES } from '../codec/packet.ts'
import type { Gap, StoredMessage } from '../durability.ts'
import { describeGap } from '../gap.ts'
import { publishInside } from '../publication.ts'
import type { BrokerState } from '../state.ts'
import type { Session } from './session.ts'

export const GAP_TOPIC = '$SYS/broker/gap/'

/** The client is connected. */
export function tellGap(state: BrokerState, { clientId, queue }: Session): void {
  const gap = queue?.gap
  if (!queue || !gap) return
  // At once: what is given up from here on is the next gap.
  queue.clearGap(gap)
  const { log } = state.ctx
  log.warn(
    { evt: 'mqtt.queue.gap', clientId, ...gap },
    'a kept session has lost its oldest messages: its queue was full',
  )
  detach(
    'mqtt',
    publishInside(state, gapMessage(clientId, gap), { from: undefined, origin: undefined }).catch((thrown: unknown) => {
      log.warn({ evt: 'mqtt.queue.gap-untold', clientId, err: toMeshError(thrown) }, 'the gap could not be told')
    }),
  )
}

function gapMessage(clientId: string, gap: Gap): StoredMessage {
  return {
    // A client id may hold what no topic name may [MQTT-3.3.2-2].
    topic: GAP_TOPIC + encodeURIComponent(clientId),
    payload: Buffer.from(JSON.stringify(describeGap({ clientId }, gap))),
    qos: 1,
    retain: false,
    properties: NO_BYTES,
    expiresAtMs: undefined,
  }
}
