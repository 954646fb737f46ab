/** What an earlier run left in the file. Message bodies stay on disk until somebody reads them. */
import type { Storage } from '../../../agent/core/storage.ts'
import type { StoredMessage, StoredSession } from '../durability.ts'
import { SpoolQueue, type QueueHost } from './queue.ts'
import { SQL } from './schema.ts'
import { decodeSegment } from './segment.ts'
import { sessionOf } from './session-text.ts'
import { decodeDone } from './writer.ts'

export type Restored = {
  readonly queues: readonly SpoolQueue[]
  readonly inbound: ReadonlyMap<string, Set<number>>
  readonly sessions: readonly StoredSession[]
  readonly retained: readonly StoredMessage[]
}

export async function restoreSpool(storage: Storage, host: QueueHost): Promise<Restored> {
  const [queueRows, sizes, releasedRows, inboundRows, sessionRows, retainedRows] = await Promise.all(
    [SQL.queues, SQL.segmentSizes, SQL.released, SQL.inbound, SQL.sessions, SQL.retained].map((sql) => storage.query({ sql })))
  const queues = new Map<number, SpoolQueue>()
  for (const row of queueRows!) {
    const firstSeq = Number(row['first_seq'])
    queues.set(Number(row['id']), new SpoolQueue(host, {
      id: Number(row['id']), name: String(row['name']), firstSeq, lastSeq: Number(row['last_seq']), doneAbove: decodeDone(row['done'] as Uint8Array, firstSeq),
    }))
  }
  for (const row of sizes!) queues.get(Number(row['queue_id']))?.restored(Number(row['first_seq']), Number(row['last_seq']), Number(row['bytes']))
  for (const row of releasedRows!) {
    const queue = queues.get(Number(row['queue_id']))
    queue?.released.add(Number(row['seq']))
    if (queue) queue.hadReleased = true
  }
  const inbound = new Map<string, Set<number>>()
  for (const row of inboundRows!) {
    const clientId = String(row['client_id'])
    const ids = inbound.get(clientId) ?? new Set<number>()
    inbound.set(clientId, ids.add(Number(row['packet_id'])))
  }
  return {
    queues: [...queues.values()], inbound,
    sessions: sessionRows!.map((row) => sessionOf(String(row['body']))),
    retained: retainedRows!.flatMap((row) => decodeSegment(row['message'] as Uint8Array, 1) ?? []),
  }
}
