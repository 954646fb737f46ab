/** Clients, sessions, queues and retained messages as an operator sees them: in pages, without payloads. */
import { computeElapsedMs } from '../expiry.ts'
import type { Drops, StoredMessage } from '../durability.ts'
import type { ConnectionFacts } from '../session/connection-facts.ts'
import { formatOwner } from '../session/owner.ts'
import { NEVER_SEC, type Session } from '../session/session.ts'
import type { BrokerState } from '../state.ts'
import type { ProxiedEntry } from './proxied-clients.ts'
import { FirstNames, type NamePage, type PageOf } from './first-names.ts'

export type Page<T> = { readonly total: number; readonly next: string | undefined; readonly items: readonly T[] }
export type QueueSize = { readonly messages: number; readonly bytes: number }

export type ClientItem = {
  readonly clientId: string
  readonly owner: string
  readonly address: string
  readonly listener: string
  /** Where its session is, behind a listener of mode transparent; empty: here. */
  readonly cluster: string
  readonly protocol: string
  readonly keepAliveSec: number
  readonly cleanStart: boolean
  readonly connectedSec: number
  readonly sessionExpirySec: number
  readonly subscriptions: number
  readonly inflight: number
  readonly queued: QueueSize
  readonly receivedBytes: number
  readonly sentBytes: number
}
export type SessionItem = {
  readonly clientId: string
  readonly owner: string
  readonly address: string
  readonly isConnected: boolean
  readonly isKept: boolean
  readonly disconnectedSec: number | undefined
  /** Undefined while it is connected, and for ever. */
  readonly expiresInSec: number | undefined
  readonly hasWill: boolean
  readonly queued: QueueSize
  readonly subscriptions: number
  /** Of one session that was asked for by its id. */
  readonly filters?: readonly { readonly filter: string; readonly qos: number }[]
}
export type QueueItem = QueueSize & {
  readonly name: string
  /** Messages that it gave up since its owner was told last. */
  readonly lost: number
  /** All that it gave up since the start, by reason. */
  readonly dropped: Drops
}
export type RetainedItem = {
  readonly topic: string
  readonly qos: number
  readonly bytes: number
  readonly expiresInSec: number | undefined
  /** base64, when it was asked for. */
  readonly payload?: string
}
/** `filter`: of topics. */
export type RetainedPageOf = Omit<PageOf, 'prefix'> & { readonly filter: string; readonly withPayload: boolean }

/** Pages are by client id; one that has a connection here and others to brokers has an item for each. */
export function listClients(state: BrokerState, of: PageOf): Page<ClientItem> {
  const nowMs = state.ctx.clock.monotonicMs()
  const { names, total, next } = firstOf(connectedIds(state), of)
  const items = names.flatMap((clientId) => {
    const own = clientItem(state.sessions.get(clientId), nowMs)
    const proxied = state.proxied.of(clientId).map((one) => proxiedItem(one, nowMs))
    return own ? [own, ...proxied] : proxied
  })
  return { total, next, items }
}
function* connectedIds({ sessions, proxied }: BrokerState): Generator<string> {
  for (const session of sessions.values()) if (session.link) yield session.clientId
  for (const clientId of proxied.ids()) if (!sessions.get(clientId)?.link) yield clientId
}
function clientItem(session: Session | undefined, nowMs: number): ClientItem | undefined {
  const facts = session?.connectedAs
  if (!session || !facts) return undefined
  return {
    clientId: session.clientId,
    owner: ownerOf(session),
    ...describeConnection(facts, nowMs),
    cluster: '',
    sessionExpirySec: session.expirySec,
    subscriptions: session.subscriptions.size,
    inflight: session.flow?.inflight ?? 0,
    queued: queuedOf(session),
  }
}
/** Session, subscriptions and what waits are the broker's. */
function proxiedItem({ clientId, owner, cluster, facts, sessionExpirySec }: ProxiedEntry, nowMs: number): ClientItem {
  return {
    clientId,
    owner: ownerOf({ owner }),
    ...describeConnection(facts, nowMs),
    cluster,
    sessionExpirySec,
    subscriptions: 0,
    inflight: 0,
    queued: { messages: 0, bytes: 0 },
  }
}
function describeConnection(
  { address, listener, protocol, keepAliveSec, isCleanStart, sinceMs, conn }: ConnectionFacts,
  nowMs: number,
): Omit<ClientItem, 'clientId' | 'owner' | 'cluster' | 'sessionExpirySec' | 'subscriptions' | 'inflight' | 'queued'> {
  return {
    address,
    listener,
    protocol,
    keepAliveSec,
    cleanStart: isCleanStart,
    connectedSec: seconds(nowMs - sinceMs),
    receivedBytes: conn.receivedBytes,
    sentBytes: conn.sentBytes,
  }
}

/** @param id of the one session that is asked for, with its subscriptions */
export function listSessions(state: BrokerState, of: PageOf, id?: string): Page<SessionItem> {
  const nowMs = state.ctx.clock.wallMs()
  if (id === undefined)
    return pageOf(firstOf(state.sessions.keys(), of), (clientId) => sessionItem(state.sessions.get(clientId), nowMs))
  const session = state.sessions.get(id)
  const item = sessionItem(session, nowMs)
  const filters = [...(session?.subscriptions.values() ?? [])].map(({ filter, qos }) => ({ filter, qos }))
  return { total: item ? 1 : 0, next: undefined, items: item ? [{ ...item, filters }] : [] }
}
function sessionItem(session: Session | undefined, nowMs: number): SessionItem | undefined {
  if (!session) return undefined
  const isConnected = session.link !== undefined
  const awayMs = isConnected ? undefined : computeElapsedMs(session.disconnectedAtMs ?? nowMs, nowMs)
  return {
    clientId: session.clientId,
    owner: ownerOf(session),
    address: session.address,
    isConnected,
    isKept: session.stored,
    disconnectedSec: awayMs === undefined ? undefined : seconds(awayMs),
    expiresInSec:
      awayMs === undefined || session.expirySec === NEVER_SEC
        ? undefined
        : Math.max(0, session.expirySec - seconds(awayMs)),
    hasWill: session.pendingWill !== undefined,
    queued: queuedOf(session),
    subscriptions: session.subscriptions.size,
  }
}

export function listQueues({ durability }: BrokerState, of: PageOf): Page<QueueItem> {
  return pageOf(firstOf(durability.queueNames(of.prefix), of), (name) => {
    const queue = durability.queue(name)
    return (
      queue && {
        name,
        messages: queue.depth,
        bytes: queue.bytes,
        lost: queue.gap?.messages ?? 0,
        dropped: { ...queue.drops },
      }
    )
  })
}

export function listRetained(state: BrokerState, of: RetainedPageOf): Page<RetainedItem> {
  const { after, limit, filter, withPayload } = of
  const first = new FirstNames({ after, limit, prefix: '' })
  state.retained.visitTopics(filter, (topic) => first.add(topic))
  const nowMs = state.ctx.clock.wallMs()
  return pageOf(first.page, (topic) => {
    const message = state.retained.get(topic)
    return message && retainedItem(message, nowMs, withPayload)
  })
}
function retainedItem(
  { topic, qos, payload, expiresAtMs }: StoredMessage,
  nowMs: number,
  withPayload: boolean,
): RetainedItem {
  return {
    topic,
    qos,
    bytes: payload.length,
    expiresInSec: expiresAtMs === undefined ? undefined : seconds(expiresAtMs - nowMs),
    ...(withPayload ? { payload: Buffer.from(payload).toString('base64') } : {}),
  }
}

const seconds = (ms: number): number => Math.max(0, Math.floor(ms / 1000))
const ownerOf = ({ owner }: Pick<Session, 'owner'>): string =>
  owner === undefined || owner.kind === 'anonymous' ? '' : formatOwner(owner)
function queuedOf({ queue, waitingBytes, flow }: Session): QueueSize {
  return queue ? { messages: queue.depth, bytes: queue.bytes } : { messages: flow?.waiting ?? 0, bytes: waitingBytes }
}

function firstOf(names: Iterable<string>, of: PageOf): NamePage {
  const first = new FirstNames(of)
  for (const name of names) first.add(name)
  return first.page
}
function pageOf<T>({ names, total, next }: NamePage, item: (name: string) => T | undefined): Page<T> {
  return { total, next, items: names.map(item).filter((one) => one !== undefined) }
}
