/** Messages of the broker itself, which are not stored. */
import { toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Qos } from '../codec/packet.ts'
import type { StoredMessage } from '../durability.ts'
import { forgetLast } from '../shared-message.ts'
import type { BrokerState } from '../state.ts'
import { chooseMember } from '../topics/subscriptions.ts'

/** A message to a kept session's queue would go to the disk, so that gets it with QoS 0. */
export function publishSys({ subscriptions, durability, ctx }: BrokerState, message: StoredMessage): void {
  const { receivers, groups, routes } = subscriptions.match(message.topic)
  const members = groups.map((group) => chooseMember(group, message.topic)).filter((one) => one !== undefined)
  for (const { session, qos, retainAsPublished, ids } of [...receivers, ...members])
    session.deliver(
      message,
      session.queue ? 0 : (Math.min(qos, message.qos) as Qos),
      retainAsPublished && message.retain,
      ids,
    )
  forgetLast()
  // A bridge route matches these topics.
  for (const route of routes)
    detach(
      'mqtt',
      durability.append(route.make(message), [route.queue]).catch((thrown: unknown) => {
        ctx.log.debug({ evt: 'mqtt.sys.unsent', topic: message.topic, err: toMeshError(thrown) }, 'no room upstream')
      }),
    )
}
