/** The statements that write rows, each with its checksum. */
import type { SqlValue, Statement } from '../../../core/storage/storage.ts'
import type { StoredSubscription } from '../durability.ts'
import type { SpoolQueue } from './queue.ts'
import { SQL } from './schema.ts'
import { encodeSubscriptionOptions } from './session-text.ts'
import { computeRowSum } from './sums.ts'

type Place = readonly [queueId: number, firstSeq: number, lastSeq: number]
const NO_BYTES = new Uint8Array(0)

export function buildNewQueueRow(id: number, name: string): Statement {
  return {
    sql: SQL.addQueue,
    params: [id, name, NO_BYTES, NO_BYTES, computeRowSum(id, name, 1, 0, NO_BYTES, NO_BYTES, null)],
  }
}
/** @param released with what becomes released by this transaction */
export function buildQueueRow(queue: SpoolQueue, released: Iterable<number>): Statement {
  const { id, name, firstSeq, lastSeq, doneAbove, gap, sent } = queue
  const values = [
    id,
    name,
    firstSeq,
    lastSeq,
    encodeSet(doneAbove, firstSeq),
    encodeSet(released, firstSeq),
    gap ? JSON.stringify(gap) : null,
  ]
  return { sql: SQL.putQueue, params: [...values, computeQueueSum(values, sent), sent] }
}
/** Rows of an earlier version have no `sent`, and no place for it in their sum. */
export const computeQueueSum = (values: readonly SqlValue[], sent: SqlValue): number =>
  computeRowSum(...values, ...(sent === null ? [] : [sent]))
export function buildSegmentRow(place: Place, blob: Uint8Array): Statement {
  return { sql: SQL.putSegment, params: [...place, blob, computeRowSum(...place, null)] }
}
/** Of messages whose loss was told. */
export const buildLostRow = (place: Place): Statement => buildSegmentRow(place, NO_BYTES)
export function buildSharedSegmentRow(place: Place, sharedId: number): Statement {
  return { sql: SQL.putSharedSegment, params: [...place, sharedId, computeRowSum(...place, sharedId)] }
}
/** @param name the session's row key, or a bridge's name */
export function buildInboundRow(name: string, packetId: number): Statement {
  return { sql: SQL.addInbound, params: [name, packetId, computeRowSum(name, packetId)] }
}
export function buildSessionRow(clientId: string, body: string): Statement {
  return { sql: SQL.putSession, params: [clientId, body, computeRowSum(clientId, body)] }
}
/** @returns what SQL.putSubscriptions takes of each, as JSON */
export function listSubscriptionValues(name: string, one: StoredSubscription): readonly SqlValue[] {
  const values = [one.filter, encodeSubscriptionOptions(one), one.subscriptionId ?? null]
  return [...values, computeRowSum(name, ...values)]
}
export function buildSubscriptionRow(name: string, filter: string, options: number, id: number | null): Statement {
  return { sql: SQL.putSubscription, params: [name, filter, options, id, computeRowSum(name, filter, options, id)] }
}

/*
 * Sets of sequence numbers in a queue's row: distances from its first open one, 4 bytes each. Receivers' windows bound
 * their number.
 */
export function encodeSet(seqs: Iterable<number>, firstSeq: number): Uint8Array {
  const offsets: number[] = []
  for (const seq of seqs) if (seq >= firstSeq) offsets.push(seq - firstSeq)
  if (offsets.length === 0) return NO_BYTES
  const out = Buffer.allocUnsafeSlow(offsets.length * 4)
  for (const [i, offset] of offsets.entries()) out.writeUInt32LE(offset, i * 4)
  return out
}

/** A cut number at the end is left out. */
export function decodeSet(data: Uint8Array, firstSeq: number): number[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length: bytes.length >> 2 }, (_, i) => firstSeq + bytes.readUInt32LE(i * 4))
}
