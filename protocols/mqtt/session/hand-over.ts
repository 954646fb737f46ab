/**
 * What a member of a shared subscription had not acknowledged when its session ended goes to another one (MQTT 5.0
 * §4.8.2). QoS 2 does not: its delivery may have begun, and then nobody else may have it.
 */
import { toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { DurableQueue, QueueEntry, StoredMessage, StoredSubscription } from '../durability.ts'
import type { BrokerState } from '../state.ts'
import { markCopy, readMark } from '../topics/marks.ts'
import { findMark } from '../topics/subscriptions.ts'
import { matches, parseSharedFilter } from '../topics/topics.ts'
import type { Session } from './session.ts'

const READ_AT_ONCE = 64

/**
 * The session has left its groups, and its queue is still there.
 *
 * @param subscriptions those that it had
 * @returns undefined when nothing is to be handed over
 */
export function handOver(
  state: BrokerState,
  session: Session,
  queue: DurableQueue | undefined,
  subscriptions: readonly StoredSubscription[],
): Promise<void> | undefined {
  const fromMemory = session.takeShared()
  for (const { message, shared } of fromMemory) detach('mqtt', giveTo(state, session, message, shared))
  const shared = subscriptions.filter(({ filter }) => filter.startsWith('$share/'))
  if (!queue || shared.length === 0) return undefined
  return fromQueue(state, session, queue, subscriptions)
}

async function fromQueue(
  state: BrokerState,
  session: Session,
  queue: DurableQueue,
  subscriptions: readonly StoredSubscription[],
): Promise<void> {
  // What is still being written was given to this member, and its sender is told that it is taken.
  await state.durability.settle()
  let cursor = 0
  try {
    for (;;) {
      const entries = await queue.read(cursor, READ_AT_ONCE)
      const last = entries.at(-1)
      if (!last) return
      cursor = last.seq
      await Promise.all(
        entries.flatMap((entry) => {
          const filter = groupOf(entry, subscriptions)
          return filter === undefined
            ? []
            : [giveTo(state, session, readMark(entry.message)?.message ?? entry.message, filter)]
        }),
      )
    }
  } catch (thrown) {
    state.ctx.log.warn(
      { evt: 'mqtt.shared.lost', clientId: session.clientId, err: toMeshError(thrown) },
      'not all messages of a member that ended could be given to others',
    )
  }
}

/**
 * The group that an entry came by. Where it does not say so, a topic that the session had subscribed alone, too, came by
 * that.
 */
function groupOf({ message, released }: QueueEntry, subscriptions: readonly StoredSubscription[]): string | undefined {
  const found = findGroup(message, subscriptions)
  return found && !released && Math.min(message.qos, found.qos) === 1 ? found.filter : undefined
}
function findGroup(
  message: StoredMessage,
  subscriptions: readonly StoredSubscription[],
): StoredSubscription | undefined {
  const copy = readMark(message)
  // What is retained comes by no shared subscription (§4.8.2).
  if (copy) return subscriptions.find(({ filter }) => filter === copy.by)
  let found: StoredSubscription | undefined
  for (const one of subscriptions) {
    const shared = parseSharedFilter(one.filter)
    const filter = typeof shared === 'object' ? shared.filter : one.filter
    if (!matches(filter, message.topic)) continue
    if (shared === undefined) return undefined
    found ??= one
  }
  return found
}

async function giveTo(state: BrokerState, from: Session, message: StoredMessage, filter: string): Promise<void> {
  const { counters, subscriptions, durability, ctx } = state
  const member = subscriptions.chooseMember(filter, message.topic)
  if (!member) {
    counters.dropped['no-member'].value++
    return
  }
  const { session, qos, retainAsPublished, ids } = member
  counters.handedOver.value++
  if (qos === 0 || !session.queue) {
    const least = qos < message.qos ? qos : message.qos
    session.deliver(message, least, retainAsPublished && message.retain, ids, filter)
    return
  }
  try {
    const by = findMark(subscriptions.match(message.topic), member)
    await durability.append(by === undefined ? message : markCopy(message, by), [session.queue])
  } catch (thrown) {
    counters.dropped.spool.value++
    ctx.log.warn(
      { evt: 'mqtt.shared.lost', clientId: from.clientId, topic: message.topic, err: toMeshError(thrown) },
      'a message of a member that ended could not be given to another',
    )
  }
}
