/** Sessions as a whole: finding, making, ending and expiring them, what is left of them in the store, and their wills (MQTT 5.0 §3.1.2.5, §4.1). */
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import type { Will } from './codec/packet.ts'
import { owned } from './codec/parser.ts'
import type { StoredMessage } from './durability.ts'
import { publishInside } from './publication.ts'
import { NEVER_SEC, Session } from './session.ts'
import type { BrokerState } from './state.ts'

/** Name of a session's queue in the spool. */
export const queueName = (clientId: string): string => `session/${clientId}`

/** Runs what changes a client id's session after whatever was begun before for the same id. */
export async function inTurn<T>(state: BrokerState, clientId: string, work: () => Promise<T>): Promise<T> {
  const before = state.turns.get(clientId)
  const mine = (async () => { await before; return await work() })()
  const done = mine.then(() => undefined, () => undefined)
  state.turns.set(clientId, done)
  try {
    return await mine
  } finally {
    if (state.turns.get(clientId) === done) state.turns.delete(clientId)
  }
}

/** What an earlier run left: subscriptions act at once, expiry and wills go on by the wall clock. */
export function restore(state: BrokerState): void {
  for (const stored of state.durability.sessions.values()) {
    const session = new Session({ clientId: stored.clientId, stored: true, version: stored.protocolVersion, expirySec: stored.expirySec, counters: state.counters })
    const queue = state.durability.queue(queueName(stored.clientId))
    if (queue) session.useQueue(queue)
    session.disconnectedAtMs = stored.disconnectedAtMs ?? state.ctx.clock.wallMs()
    session.pendingWill = stored.pendingWill
    state.sessions.set(stored.clientId, session)
    for (const subscription of stored.subscriptions) {
      session.subscribe(subscription)
      state.subscriptions.add(session, subscription)
    }
    watchWill(state, session)
    watchExpiry(state, session)
  }
}

/** Written without waiting: a change that is not acknowledged to anybody. Failures are logged; the next write has the whole session again. */
export function saveLater(state: BrokerState, session: Session): void {
  if (!session.stored) return
  state.durability.saveSession(session.toStored()).catch((err: unknown) => {
    state.ctx.log.warn({ evt: 'mqtt.session.save', clientId: session.clientId, err: toMeshError(err) }, 'session could not be saved')
  })
}

/** Ends the session for good. Its will, if it still waits, is published now (§3.1.3.2.2). */
export async function endSession(state: BrokerState, session: Session): Promise<void> {
  // Ended before, and perhaps followed by another of the same id, whose store must stay.
  if (state.sessions.get(session.clientId) !== session) return
  state.sessions.delete(session.clientId)
  for (const filter of session.subscriptions.keys()) state.subscriptions.remove(session, filter)
  const { pendingWill } = session
  session.pendingWill = undefined
  session.end()
  if (pendingWill) publishWill(state, session.clientId, pendingWill.message)
  if (!session.stored) return
  await state.durability.deleteSession(session.clientId)
  if (state.durability.queue(queueName(session.clientId))) await state.durability.deleteQueue(queueName(session.clientId))
}

export function endSessionLater(state: BrokerState, session: Session): void {
  inTurn(state, session.clientId, () => endSession(state, session)).catch((err: unknown) => {
    state.ctx.log.warn({ evt: 'mqtt.session.delete', clientId: session.clientId, err: toMeshError(err) }, 'session could not be deleted')
  })
}

/** The longest wait that a clock is asked for at once; also the longest that a clock that was set back can make a session too old. */
const MAX_WAIT_MS = 24 * 3600 * 1000

/** A session without a connection ends its expiry after the disconnect. A clock that was set back gives it at most the whole time again. */
export function watchExpiry(state: BrokerState, session: Session): void {
  session.expiry?.cancel()
  if (session.link || session.expirySec === NEVER_SEC) return
  const { clock } = state.ctx
  const wholeMs = session.expirySec * 1000
  const sinceMs = Math.max(0, clock.wallMs() - (session.disconnectedAtMs ?? clock.wallMs()))
  const leftMs = wholeMs - sinceMs
  if (leftMs <= 0) { endSessionLater(state, session); return }
  session.expiry = clock.after(Math.min(leftMs, MAX_WAIT_MS), () => { if (!state.closed.aborted && !session.link) watchExpiry(state, session) })
}

/** @param will as CONNECT gave it; its message expiry counts from the publication, so it is added then */
export function willMessage({ topic, payload, qos, retain, properties, messageExpirySec }: Will, wallMs: number): StoredMessage {
  return { topic, payload: owned(payload), qos, retain, properties: owned(properties), expiresAtMs: messageExpirySec === undefined ? undefined : wallMs + messageExpirySec * 1000 }
}

/** The connection ended without a normal DISCONNECT: the will goes out now, or after its delay, whichever is allowed first by the session's end. */
export function leaveWill(state: BrokerState, session: Session, will: Will): void {
  const { clock } = state.ctx
  const delaySec = Math.min(will.delaySec, session.stored ? session.expirySec : 0)
  if (delaySec === 0) { publishWill(state, session.clientId, willMessage(will, clock.wallMs())); return }
  const dueAtMs = clock.wallMs() + delaySec * 1000
  session.pendingWill = { message: willMessage(will, dueAtMs), dueAtMs }
  watchWill(state, session)
}

export function watchWill(state: BrokerState, session: Session): void {
  const { pendingWill } = session
  if (!pendingWill) return
  const { clock } = state.ctx
  const leftMs = Math.max(0, pendingWill.dueAtMs - clock.wallMs())
  session.willDelay = clock.after(Math.min(leftMs, MAX_WAIT_MS), () => {
    if (session.pendingWill !== pendingWill || state.closed.aborted) return
    if (clock.wallMs() < pendingWill.dueAtMs) { watchWill(state, session); return }
    session.pendingWill = undefined
    publishWill(state, session.clientId, pendingWill.message)
    saveLater(state, session)
  })
}

/** [MQTT-3.1.3-9]: the client came back before the delay was over. */
export function cancelWill(session: Session): void {
  session.pendingWill = undefined
  session.willDelay?.cancel()
}

function publishWill(state: BrokerState, clientId: string, message: StoredMessage): void {
  publishInside(state, message, { from: undefined, origin: undefined }, message.retain ? 'retain' : 'do not retain').catch((thrown: unknown) => {
    if (state.closed.aborted) return
    state.counters.dropped.spool.value++
    state.ctx.log.warn({ evt: 'mqtt.will.lost', clientId, topic: message.topic, err: toMeshError(thrown) }, 'will could not be published')
  })
}

export function takenOver(session: Session): MeshError {
  return new MeshError('MESH_MQTT_TAKEN_OVER', `client id ${session.clientId} connected again`)
}
