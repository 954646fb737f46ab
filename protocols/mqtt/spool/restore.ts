/**
 * What an earlier run left in the file, page by page. Messages in queues stay on the disk until somebody reads them. A
 * row that cannot be understood is told to `damaged` and left out; it never stops the start.
 */
import type { Row, SqlValue, Statement, Storage } from '../../../core/storage/storage.ts'
import type { Gap, StoredMessage, StoredSession, StoredSubscription } from '../durability.ts'
import { SpoolQueue, type QueueHost } from './queue.ts'
import { rowKey } from './row-key.ts'
import { ROWS_PER_PAGE, SQL } from './schema.ts'
import { decodeOne } from './segment.ts'
import { sessionOf, subscriptionOf } from './session-text.ts'
import { decodeSet } from './sets.ts'

export type Restored = {
  readonly queues: readonly SpoolQueue[]
  /** Highest id among the blobs that queues share; 0 = there are none. */
  readonly lastShared: number
  /** By rowKey. */
  readonly inbound: ReadonlyMap<string, Set<number>>
  readonly sessions: readonly StoredSession[]
  readonly retained: readonly StoredMessage[]
  /** Queue ids of segments whose queue is not there. */
  readonly orphans: ReadonlySet<number>
  /** For rows of an earlier version, which had client ids of any length. */
  readonly renamed: readonly Statement[]
}

type Damaged = (what: 'session' | 'subscription' | 'retained', key: string) => void

/** Rejects with MESH_STORAGE_FAILED. */
export async function restoreSpool(storage: Storage, host: QueueHost, damaged: Damaged): Promise<Restored> {
  const renamed: Statement[] = []
  const queues = await restoreQueues(storage, host)
  const orphans = await restoreSegments(storage, queues)
  const inbound = await restoreInbound(storage, renamed)
  const subscriptions = await restoreSubscriptions(storage, renamed, damaged)
  const sessions = await restoreSessions(storage, subscriptions, damaged)
  const retained = await restoreRetained(storage, damaged)
  const [shared] = await storage.query({ sql: SQL.lastShared })
  const lastShared = Number(shared?.['id'] ?? 0)
  return { lastShared, queues: [...queues.values()], inbound, sessions, retained, orphans, renamed }
}

async function restoreQueues(storage: Storage, host: QueueHost): Promise<ReadonlyMap<number, SpoolQueue>> {
  const queues = new Map<number, SpoolQueue>()
  for await (const row of rowsOf(storage, SQL.queues, [0], (last) => [last['id']!])) {
    const [id, firstSeq] = [Number(row['id']), Number(row['first_seq'])]
    const queue = new SpoolQueue(host, {
      id,
      name: String(row['name']),
      firstSeq,
      lastSeq: Number(row['last_seq']),
      done: decodeSet(bytesOf(row['done']), firstSeq),
      released: decodeSet(bytesOf(row['released']), firstSeq),
      gap: gapOf(row['gap']),
    })
    queues.set(id, queue)
  }
  return queues
}

/** @returns queue ids of segments whose queue is not there */
async function restoreSegments(
  storage: Storage,
  queues: ReadonlyMap<number, SpoolQueue>,
): Promise<ReadonlySet<number>> {
  const orphans = new Set<number>()
  for await (const row of rowsOf(storage, SQL.segments, [0, 0], (last) => [last['queue_id']!, last['first_seq']!])) {
    const queue = queues.get(Number(row['queue_id']))
    if (queue) queue.restored(Number(row['first_seq']), Number(row['last_seq']), Number(row['bytes']))
    else orphans.add(Number(row['queue_id']))
  }
  for (const queue of queues.values()) queue.restoredAll()
  return orphans
}

async function restoreInbound(storage: Storage, renamed: Statement[]): Promise<ReadonlyMap<string, Set<number>>> {
  const inbound = new Map<string, Set<number>>()
  for await (const row of rowsOf(storage, SQL.inbound, ['', 0], (last) => [last['client_id']!, last['packet_id']!])) {
    const [name, packetId] = [String(row['client_id']), Number(row['packet_id'])]
    const key = rowKey(name)
    if (key !== name)
      renamed.push({ sql: SQL.addInbound, params: [key, packetId] }, { sql: SQL.dropInbound, params: [name, packetId] })
    inbound.set(key, (inbound.get(key) ?? new Set<number>()).add(packetId))
  }
  return inbound
}

type Subscriptions = ReadonlyMap<string, readonly StoredSubscription[]>

/** @returns by rowKey */
async function restoreSubscriptions(storage: Storage, renamed: Statement[], damaged: Damaged): Promise<Subscriptions> {
  const subscriptions = new Map<string, StoredSubscription[]>()
  const keyOf = (last: Row): SqlValue[] => [last['client_id']!, last['filter']!]
  for await (const row of rowsOf(storage, SQL.subscriptions, ['', ''], keyOf)) {
    const [name, filter, id] = [String(row['client_id']), String(row['filter']), row['subscription_id']]
    const key = rowKey(name)
    if (key !== name)
      renamed.push(
        { sql: SQL.putSubscription, params: [key, filter, Number(row['options']), id ?? null] },
        { sql: SQL.dropSubscription, params: [name, filter] },
      )
    const subscription = subscriptionOf(filter, Number(row['options']), id ? Number(id) : undefined)
    const all = subscriptions.get(key)
    if (!subscription) damaged('subscription', name)
    else if (all) all.push(subscription)
    else subscriptions.set(key, [subscription])
  }
  return subscriptions
}

async function restoreSessions(
  storage: Storage,
  subscriptions: Subscriptions,
  damaged: Damaged,
): Promise<StoredSession[]> {
  const sessions: StoredSession[] = []
  for await (const row of rowsOf(storage, SQL.sessions, [''], (last) => [last['client_id']!])) {
    const clientId = String(row['client_id'])
    try {
      sessions.push({ ...sessionOf(String(row['body'])), subscriptions: subscriptions.get(rowKey(clientId)) ?? [] })
    } catch {
      damaged('session', clientId)
    }
  }
  return sessions
}

async function restoreRetained(storage: Storage, damaged: Damaged): Promise<StoredMessage[]> {
  const retained: StoredMessage[] = []
  for await (const row of rowsOf(storage, SQL.retained, [''], (last) => [last['topic']!])) {
    const message = decodeOne(bytesOf(row['message']))
    if (message) retained.push(message)
    else damaged('retained', String(row['topic']))
  }
  return retained
}

/** @param keyOf the parameters that ask for what comes after a row */
async function* rowsOf(
  storage: Storage,
  sql: string,
  first: readonly SqlValue[],
  keyOf: (last: Row) => readonly SqlValue[],
): AsyncGenerator<Row> {
  for (let key = first; ;) {
    const rows = await storage.query({ sql, params: [...key, ROWS_PER_PAGE] })
    yield* rows
    const last = rows.at(-1)
    if (!last || rows.length < ROWS_PER_PAGE) return
    key = keyOf(last)
  }
}

/** Undefined also for what cannot be understood: it was counted and logged when it came about. */
function gapOf(value: SqlValue | undefined): Gap | undefined {
  if (typeof value !== 'string') return undefined
  try {
    return JSON.parse(value) as Gap
  } catch {
    return undefined
  }
}

function bytesOf(value: SqlValue | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(0)
}
