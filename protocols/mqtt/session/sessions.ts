/**
 * Sessions as a whole: finding, making, ending and expiring them, what is left of them in the store, and their wills
 * (MQTT 5.0 §3.1.2.5, §4.1). A CONNECT is short and a transaction is not, so a session is in memory alone until it
 * holds something that a crash could take.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Will } from '../codec/packet.ts'
import { toOwnMemory } from '../codec/parser.ts'
import type { StoredMessage } from '../durability.ts'
import { computeElapsedMs, computeExpiry, readMessageMs } from '../expiry.ts'
import { publishInside, retryMs } from '../publication.ts'
import { handOver } from './hand-over.ts'
import { mayPublishStill } from './reauthorize.ts'
import { NEVER_SEC, Session } from './session.ts'
import type { BrokerState } from '../state.ts'

/** Name of a session's queue in the spool. */
export const nameSessionQueue = (clientId: string): string => `session/${clientId}`

/** Runs what changes a client id's session after whatever was begun before for the same id. */
export async function withClientLock<T>(state: BrokerState, clientId: string, work: () => Promise<T>): Promise<T> {
  const before = state.clientLocks.get(clientId)
  const mine = (async () => {
    await before
    return await work()
  })()
  const done = mine.then(
    () => undefined,
    () => undefined,
  )
  state.clientLocks.set(clientId, done)
  try {
    return await mine
  } finally {
    if (state.clientLocks.get(clientId) === done) state.clientLocks.delete(clientId)
  }
}

/** What an earlier run left: subscriptions act at once, expiry and wills go on by the wall clock. */
export function restore(state: BrokerState): void {
  for (const stored of state.durability.sessions.values()) {
    const session = new Session({
      clientId: stored.clientId,
      stored: true,
      version: stored.protocolVersion,
      expirySec: stored.expirySec,
      owner: stored.owner,
      address: stored.address,
      counters: state.counters,
    })
    const queue = state.durability.queue(nameSessionQueue(stored.clientId))
    if (queue) session.useQueue(queue, state.subscriptions)
    session.disconnectedAtMs = stored.disconnectedAtMs ?? state.ctx.clock.wallMs()
    session.pendingWill = stored.pendingWill
    state.sessions.set(stored.clientId, session)
    state.shares.enter(session.share)
    for (const subscription of stored.subscriptions) {
      session.subscribe(subscription)
      state.subscriptions.add(session, subscription)
    }
    leftAlone(state, session)
    watchWill(state, session)
    watchExpiry(state, session)
  }
}

/** The session without its connection: kept until it expires, or ended. */
export function detachSession(state: BrokerState, session: Session): void {
  session.detach()
  session.disconnectedAtMs = state.ctx.clock.wallMs()
  if (session.stored && session.expirySec > 0) {
    saveLater(state, session)
    leftAlone(state, session)
    watchExpiry(state, session)
  } else endSessionLater(state, session)
}

/** Without a connection. Its QoS 2 ids keep messages from coming twice, so somebody needs it who never subscribed. */
function leftAlone({ shares, durability }: BrokerState, session: Session): void {
  shares.noteAway(session, isUsed({ durability }, session))
}
function isUsed({ durability }: Pick<BrokerState, 'durability'>, session: Session): boolean {
  return session.subscriptions.size > 0 || !session.isIdle || durability.inbound(session.clientId).size > 0
}

/** Ends a session at once to make room. No client is about to take it over. */
export function giveWay(state: BrokerState, session: Session, why: 'unused' | 'share'): void {
  state.counters.gaveWay[why].value++
  state.ctx.log.info(
    { evt: 'mqtt.session.gave-way', clientId: session.clientId, why },
    'session ended: there are as many as there may be',
  )
  const rest = removeSession(state, session)
  if (!rest) return
  detach(
    'mqtt',
    withClientLock(state, session.clientId, rest).catch((err: unknown) => {
      state.ctx.log.warn(
        { evt: 'mqtt.session.delete', clientId: session.clientId, err: toMeshError(err) },
        'session could not be deleted',
      )
    }),
  )
}

/**
 * Written without waiting: a change that is not acknowledged to anybody. Failures are logged; the next write has all of
 * it again but the subscriptions, which are not its own.
 */
export function saveLater(state: BrokerState, session: Session): void {
  if (!session.stored || !(isUsed(state, session) || state.durability.holds(session.clientId))) return
  save(state, session)
}
/**
 * The client has begun what it may have to repeat: who then finds no session throws away what was not acknowledged
 * [MQTT-3.2.2-5]. What the client does not wait for is not waited for here either.
 */
export function saveFirst(state: BrokerState, session: Session): void {
  if (session.stored && !state.durability.holds(session.clientId)) save(state, session)
}
function save(state: BrokerState, session: Session): void {
  detach(
    'mqtt',
    state.durability.saveSession(session.toStored()).catch((err: unknown) => {
      state.ctx.log.warn(
        { evt: 'mqtt.session.save', clientId: session.clientId, err: toMeshError(err) },
        'session could not be saved',
      )
    }),
  )
}

/**
 * At an orderly end, when those are gone that end with their connection, in one transaction: clients find their
 * sessions again, also those that hold nothing [MQTT-4.1.0-1].
 */
export async function saveAll({ sessions, durability }: BrokerState): Promise<void> {
  const saves: Promise<void>[] = []
  for (const session of sessions.values()) {
    if (!durability.holds(session.clientId)) saves.push(durability.saveSession(session.toStored()))
  }
  // The store tells of its failures.
  await Promise.allSettled(saves)
}

/** Ends the session for good. Its will, if it still waits, is published now (§3.1.3.2.2). */
export async function endSession(state: BrokerState, session: Session): Promise<void> {
  await removeSession(state, session)?.()
}
/** @returns what is left to be done on the disk; undefined: nothing */
function removeSession(state: BrokerState, session: Session): (() => Promise<void>) | undefined {
  // Ended before, and perhaps followed by another of the same id, whose store must stay.
  if (state.sessions.get(session.clientId) !== session) return undefined
  state.sessions.delete(session.clientId)
  state.shares.noteBack(session)
  state.shares.leave(session.share)
  const subscriptions = [...session.subscriptions.values()]
  for (const { filter } of subscriptions) state.subscriptions.remove(session, filter)
  const { pendingWill, queue } = session
  session.pendingWill = undefined
  session.end()
  if (pendingWill) fireWill(state, session, pendingWill.message)
  const handedOver = handOver(state, session, queue, subscriptions)
  if (!session.stored) return undefined
  return async () => {
    await handedOver
    await forget(state, session.clientId)
  }
}

/** Also for a forgotten session: the next session of the same id must not inherit its remains. */
export async function forget({ durability }: BrokerState, clientId: string): Promise<void> {
  if (durability.holds(clientId)) await durability.deleteSession(clientId)
}

function endSessionLater(state: BrokerState, session: Session): void {
  detach(
    'mqtt',
    withClientLock(state, session.clientId, () => endSession(state, session)).catch((err: unknown) => {
      state.ctx.log.warn(
        { evt: 'mqtt.session.delete', clientId: session.clientId, err: toMeshError(err) },
        'session could not be deleted',
      )
    }),
  )
}

/** A clock may cap what it is asked for at once (core/os/clock.ts), so long waits go in steps. */
const MAX_WAIT_MS = 24 * 3600 * 1000
function later(clock: Clock, ms: number, fire: () => void): { cancel(): void } {
  const dueMs = clock.monotonicMs() + ms
  const step = (): Timer =>
    clock.after(Math.min(MAX_WAIT_MS, Math.max(0, dueMs - clock.monotonicMs())), () => {
      if (clock.monotonicMs() < dueMs) timer = step()
      else fire()
    })
  let timer = step()
  return { cancel: () => timer.cancel() }
}

/**
 * A session without a connection ends its expiry after the disconnect. The wall clock is asked once, because the
 * disconnect may lie before a restart; one that was set, or set back, gives the session at most its whole time again.
 */
function watchExpiry(state: BrokerState, session: Session): void {
  session.expiry?.cancel()
  if (session.link || session.expirySec === NEVER_SEC) return
  const { clock } = state.ctx
  const nowMs = clock.wallMs()
  const leftMs = session.expirySec * 1000 - computeElapsedMs(session.disconnectedAtMs ?? nowMs, nowMs)
  const expire = (): void => {
    state.counters.sessionsExpired.value++
    endSessionLater(state, session)
  }
  if (leftMs <= 0) expire()
  else
    session.expiry = later(clock, leftMs, () => {
      if (!session.link) expire()
    })
}

/** @param will as CONNECT gave it; its message expiry counts from the publication, so it is added then */
export function buildWillMessage(
  { topic, payload, qos, retain, properties, messageExpirySec }: Will,
  wallMs: number,
): StoredMessage {
  return {
    topic,
    payload: toOwnMemory(payload),
    qos,
    retain,
    properties: toOwnMemory(properties),
    ...computeExpiry(messageExpirySec, wallMs),
  }
}

/** The rules may have changed since CONNECT. */
function fireWill(state: BrokerState, session: Session, message: StoredMessage): void {
  if (mayPublishStill(state, session, message.topic)) publishWill(state, session.clientId, message)
  else denyWill(state, session.clientId, message.topic)
}
export function denyWill({ counters, ctx }: BrokerState, clientId: string, topic: string): void {
  counters.dropped['not-authorized'].value++
  ctx.log.warn(
    { evt: 'mqtt.will.denied', clientId, topic },
    'will is not published: the mqtt policy does not allow it any more',
  )
}

/**
 * The connection ended without a normal DISCONNECT, and the will is still allowed: it goes out now, or after its delay,
 * whichever is allowed first by the session's end.
 */
export function leaveWill(state: BrokerState, session: Session, will: Will): void {
  const { clock } = state.ctx
  const delaySec = Math.min(will.delaySec, session.stored ? session.expirySec : 0)
  if (delaySec === 0) {
    publishWill(state, session.clientId, buildWillMessage(will, readMessageMs(clock)))
    return
  }
  const dueAtMs = clock.wallMs() + delaySec * 1000
  session.pendingWill = { message: buildWillMessage(will, readMessageMs(clock) + delaySec * 1000), dueAtMs }
  watchWill(state, session)
}

/**
 * Due at a wall time that a restart keeps; a clock that was set back makes it wait at most as long as the session is
 * kept.
 */
export function watchWill(state: BrokerState, session: Session): void {
  const { pendingWill } = session
  if (!pendingWill) return
  const { clock } = state.ctx
  const leftMs = Math.min(Math.max(0, pendingWill.dueAtMs - clock.wallMs()), session.expirySec * 1000)
  session.willDelay = later(clock, leftMs, () => {
    session.pendingWill = undefined
    fireWill(state, session, pendingWill.message)
    saveLater(state, session)
  })
}

/** [MQTT-3.1.3-9]: the client came back before the delay was over. */
export function cancelWill(session: Session): void {
  session.pendingWill = undefined
  session.willDelay?.cancel()
}

/** A will has no sender who would repeat it, so a full spool is asked again for about a minute and a half. */
const MAX_WILL_TRIES = 20
function publishWill(state: BrokerState, clientId: string, message: StoredMessage): void {
  const { counters, ctx, closed } = state
  const publish = async (): Promise<void> => {
    for (let tries = 1; ; tries++) {
      try {
        await publishInside(state, message, { from: undefined, origin: undefined })
        return
      } catch (err) {
        if (tries === MAX_WILL_TRIES || closed.aborted) throw err
        await ctx.clock.sleep(retryMs(tries, state), closed)
      }
    }
  }
  detach(
    'mqtt',
    publish().catch((thrown: unknown) => {
      if (closed.aborted) return
      counters.dropped.spool.value++
      ctx.log.warn(
        { evt: 'mqtt.will.lost', clientId, topic: message.topic, err: toMeshError(thrown) },
        'will could not be published',
      )
    }),
  )
}

export function createTakenOverError(session: Session): MeshError {
  return new MeshError('MESH_MQTT_TAKEN_OVER', `client id ${session.clientId} connected again`)
}
