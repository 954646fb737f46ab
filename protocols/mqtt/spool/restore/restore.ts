/**
 * Reads what an earlier run left in the file, page by page. Messages in queues stay on the disk until they are read. A
 * damaged row is reported to `losses` and skipped; it never stops the start.
 */
import type { Row, SqlValue, Statement, Storage } from '../../../../core/storage/storage.ts'
import type { Gap, SessionHead, StoredMessage, StoredSession, StoredSubscription } from '../../durability.ts'
import type { Losses } from './losses.ts'
import { SpoolQueue, type QueueHost } from '../queue.ts'
import { toRowKey } from '../row-key.ts'
import { decodeSet, buildInboundRow, buildSubscriptionRow, computeQueueSum } from '../rows.ts'
import { readRows, type Restoring } from './read-rows.ts'
import { restoreSegments } from './segments.ts'
import { SQL } from '../schema.ts'
import { decodeOne } from '../segment.ts'
import { decodeSession, decodeSubscription } from '../session-text.ts'
import { isWhole } from '../sums.ts'

export type Restored = {
  readonly queues: readonly SpoolQueue[]
  /** Highest id among the blobs that queues share; 0 = there are none. */
  readonly lastShared: number
  /** By row key. */
  readonly inbound: ReadonlyMap<string, Set<number>>
  readonly sessions: readonly StoredSession[]
  readonly damagedSessions: ReadonlySet<string>
  /** Each with its row. */
  readonly retained: readonly (readonly [id: number, message: StoredMessage])[]
  /** For rows of an earlier version, which had client ids of any length, and for what is damaged. */
  readonly repairs: readonly Statement[]
  /** Queues whose row is to be written again. */
  readonly damagedQueues: readonly SpoolQueue[]
}
/** Rejects with MESH_STORAGE_FAILED or MESH_STORAGE_DAMAGED. */
export async function restoreSpool(storage: Storage, host: QueueHost, losses: Losses): Promise<Restored> {
  const r: Restoring = { storage, losses, repairs: [], damagedSessions: new Set() }
  const { queues, damaged } = await restoreQueues(r, host)
  await restoreSegments(r, queues, damaged.length === 0)
  const inbound = await restoreInbound(r)
  const subscriptions = await restoreSubscriptions(r)
  const sessions = await restoreSessions(r, subscriptions)
  const retained = await restoreRetained(r)
  const [shared] = await storage.query({ sql: SQL.lastShared })
  return {
    queues: [...queues.values()],
    damagedQueues: damaged,
    lastShared: Number(shared?.['id'] ?? 0),
    inbound,
    sessions,
    damagedSessions: r.damagedSessions,
    retained,
    repairs: r.repairs,
  }
}

async function restoreQueues(
  { storage, losses }: Restoring,
  host: QueueHost,
): Promise<{ readonly queues: ReadonlyMap<number, SpoolQueue>; readonly damaged: readonly SpoolQueue[] }> {
  const queues = new Map<number, SpoolQueue>()
  const damaged: SpoolQueue[] = []
  for await (const row of readRows(storage, SQL.queues, [0], (last) => [last['id']!])) {
    const [id, name, firstSeq] = [Number(row['id']), String(row['name']), Number(row['first_seq'])]
    const [lastSeq, done, released] = [Number(row['last_seq']), bytesOf(row['done']), bytesOf(row['released'])]
    const [sum, sent] = [row['sum'] ?? null, row['sent'] ?? null]
    const values = [id, name, firstSeq, lastSeq, done, released, row['gap'] ?? null]
    const isDamaged = sum !== null && Number(sum) !== computeQueueSum(values, sent)
    const numbers = isDamaged
      ? { firstSeq: 1, lastSeq: 0, done: [], released: [], isDamaged }
      : {
          firstSeq,
          lastSeq,
          done: decodeSet(done, firstSeq),
          released: decodeSet(released, firstSeq),
          sent: sent === null ? undefined : Number(sent),
        }
    const queue = new SpoolQueue(host, { id, name, gap: isDamaged ? undefined : gapOf(row['gap']), ...numbers })
    queues.set(id, queue)
    if (!isDamaged) continue
    damaged.push(queue)
    losses.reportRow('queue', name)
  }
  return { queues, damaged }
}

async function restoreInbound({ storage, losses, repairs }: Restoring): Promise<ReadonlyMap<string, Set<number>>> {
  const inbound = new Map<string, Set<number>>()
  for await (const row of readRows(storage, SQL.inbound, ['', 0], (last) => [last['client_id']!, last['packet_id']!])) {
    const [name, packetId] = [String(row['client_id']), Number(row['packet_id'])]
    if (!isWhole(row['sum'], name, packetId)) {
      losses.reportRow('inbound', name)
      repairs.push({ sql: SQL.dropInbound, params: [name, packetId] })
      continue
    }
    const key = toRowKey(name)
    if (key !== name) repairs.push(buildInboundRow(key, packetId), { sql: SQL.dropInbound, params: [name, packetId] })
    inbound.set(key, (inbound.get(key) ?? new Set<number>()).add(packetId))
  }
  return inbound
}

type Subscriptions = ReadonlyMap<string, readonly StoredSubscription[]>

/** @returns by row key */
async function restoreSubscriptions({ storage, losses, repairs }: Restoring): Promise<Subscriptions> {
  const subscriptions = new Map<string, StoredSubscription[]>()
  const keyOf = (last: Row): SqlValue[] => [last['client_id']!, last['filter']!]
  for await (const row of readRows(storage, SQL.subscriptions, ['', ''], keyOf)) {
    const [name, filter, options] = [String(row['client_id']), String(row['filter']), Number(row['options'])]
    const id = row['subscription_id'] ? Number(row['subscription_id']) : null
    const key = toRowKey(name)
    if (key !== name)
      repairs.push(buildSubscriptionRow(key, filter, options, id), {
        sql: SQL.dropSubscription,
        params: [name, filter],
      })
    const whole = isWhole(row['sum'], name, filter, options, row['subscription_id'] ?? null)
    const subscription = whole ? decodeSubscription(filter, options, id ?? undefined) : undefined
    const all = subscriptions.get(key)
    if (!subscription) losses.reportRow('subscription', name)
    else if (all) all.push(subscription)
    else subscriptions.set(key, [subscription])
  }
  return subscriptions
}

async function restoreSessions(
  { storage, losses, damagedSessions }: Restoring,
  subscriptions: Subscriptions,
): Promise<StoredSession[]> {
  const sessions: StoredSession[] = []
  for await (const row of readRows(storage, SQL.sessions, [''], (last) => [last['client_id']!])) {
    const clientId = String(row['client_id'])
    const head = isWhole(row['sum'], clientId, String(row['body'])) ? headOf(String(row['body'])) : undefined
    if (head) sessions.push({ ...head, subscriptions: subscriptions.get(toRowKey(clientId)) ?? [] })
    else {
      damagedSessions.add(clientId)
      losses.reportRow('session', clientId)
    }
  }
  return sessions
}

async function restoreRetained({ storage, losses, repairs }: Restoring): Promise<Restored['retained']> {
  const retained = new Map<string, readonly [id: number, message: StoredMessage]>()
  const drop = (id: number): void => {
    repairs.push({ sql: SQL.dropRetained, params: [id] })
  }
  for await (const row of readRows(storage, SQL.retained, [-Number.MAX_SAFE_INTEGER], (last) => [last['id']!])) {
    const [id, topic, message] = [Number(row['id']), String(row['topic']), decodeOne(bytesOf(row['message']))]
    if (message?.topic !== topic) {
      losses.reportRow('retained', topic)
      drop(id)
      continue
    }
    const before = retained.get(topic)
    if (before) drop(before[0])
    retained.set(topic, [id, message])
  }
  return [...retained.values()]
}

function headOf(body: string): SessionHead | undefined {
  try {
    return decodeSession(body)
  } catch {
    return undefined
  }
}

/** Undefined also for what cannot be understood: it was counted and logged when it came about. */
function gapOf(value: SqlValue | undefined): Gap | undefined {
  if (typeof value !== 'string') return undefined
  try {
    // Without bytes in files of an earlier version.
    const gap = JSON.parse(value) as Omit<Gap, 'bytes'> & Partial<Gap>
    return { ...gap, bytes: gap.bytes ?? 0 }
  } catch {
    return undefined
  }
}

function bytesOf(value: SqlValue | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(0)
}
