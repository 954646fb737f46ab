/** Actions of an operator on clients, sessions, queues and retained messages. Each is logged. */
import { MeshError } from '../../../core/errors.ts'
import { TimeSlice } from '../../../core/os/time-slice.ts'
import { NO_BYTES } from '../codec/packet.ts'
import { nameSessionQueue, endSession, withClientLock } from '../session/sessions.ts'
import type { BrokerState } from '../state.ts'

/** Deleted together: so many in one transaction. */
const RETAINED_AT_ONCE = 500

const createKicked = (clientId: string): MeshError =>
  new MeshError('MESH_MQTT_KICKED', `client ${clientId} was disconnected by hand`)

/** DISCONNECT 0x98; the session is kept as after any disconnect. @returns whether there was a connection */
export function kick(state: BrokerState, clientId: string): boolean {
  const { sessions, proxied, ctx } = state
  const link = sessions.get(clientId)?.link
  const found = [...(link ? [link] : []), ...proxied.of(clientId)]
  if (found.length === 0) return false
  ctx.log.info({ evt: 'mqtt.kick', clientId }, 'client disconnected by hand')
  for (const one of found) one.close(createKicked(clientId))
  return true
}

/** The session with its subscriptions and all that waits for it, and its connection. @returns whether there was one */
export async function purgeSession(state: BrokerState, clientId: string): Promise<boolean> {
  state.sessions.get(clientId)?.link?.close(createKicked(clientId))
  return withClientLock(state, clientId, async () => {
    const session = state.sessions.get(clientId)
    if (!session) return state.durability.queue(nameSessionQueue(clientId)) !== undefined
    state.ctx.log.info({ evt: 'mqtt.purge', clientId, messages: session.queue?.depth ?? 0 }, 'session ended by hand')
    await endSession(state, session)
    return true
  })
}

/**
 * What waits in the queue now; what has left for its receiver is completed. @returns how many messages, undefined when
 * there is no such queue
 */
export async function purgeQueue({ durability, ctx }: BrokerState, name: string): Promise<number | undefined> {
  const queue = durability.queue(name)
  if (!queue) return undefined
  const slice = new TimeSlice(ctx.clock)
  const { lastSeq, depth } = queue
  for (let seq = queue.firstSeq; seq <= lastSeq; seq++) {
    queue.done(seq)
    if (slice.due) await slice.yield()
  }
  ctx.log.info({ evt: 'mqtt.purge', queue: name, messages: depth }, 'queue emptied by hand')
  return depth
}

/** Durable when it resolves; subscribers are not told. @returns how many there were */
export async function purgeRetained(state: BrokerState, filter: string): Promise<number> {
  const { retained, ctx } = state
  const topics: string[] = []
  retained.visitTopics(filter, (topic) => topics.push(topic))
  for (let from = 0; from < topics.length; from += RETAINED_AT_ONCE)
    await Promise.all(topics.slice(from, from + RETAINED_AT_ONCE).map((topic) => deleteRetained(state, topic)))
  ctx.log.info({ evt: 'mqtt.purge', filter, messages: topics.length }, 'retained messages deleted by hand')
  return topics.length
}
async function deleteRetained({ retained }: BrokerState, topic: string): Promise<void> {
  const nothing = {
    topic,
    payload: NO_BYTES,
    qos: 0,
    retain: true,
    properties: NO_BYTES,
    expiresAtMs: undefined,
  } as const
  // Deleting needs no room, so there is always a place.
  using place = retained.reserve(nothing, { maxRetainedMessages: 0, maxRetainedBytes: 0 })!
  await retained.save(nothing, place)
}
