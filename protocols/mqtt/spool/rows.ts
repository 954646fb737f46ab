/** The statements that write rows, each with its checksum. */
import type { SqlValue, Statement } from '../../../core/storage/storage.ts'
import { detach, doNothing } from '../../../core/defects/guard.ts'
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
  const { filter, subscriptionId = null } = one
  const options = encodeSubscriptionOptions(one)
  return [filter, options, subscriptionId, computeRowSum(name, filter, options, subscriptionId)]
}
export function buildSubscriptionRow(name: string, filter: string, options: number, id: number | null): Statement {
  return { sql: SQL.putSubscription, params: [name, filter, options, id, computeRowSum(name, filter, options, id)] }
}

/** Which row each topic's retained message has, from before it is on the disk until it is not any more. */
export class RetainedRows {
  readonly #ids = new Map<string, number>()
  /** Of topics whose row was never on the disk, how many messages are on their way. */
  readonly #coming = new Map<string, number>()
  /** Topics whose row is going; who puts them anew meanwhile has the same row. */
  readonly #going = new Map<string, object>()
  /** Of rows that the disk refused: the next topics have them, in case something is there nevertheless. */
  readonly #free: number[] = []
  #lastId = 0
  /** New topics of the transaction that was asked last. */
  #last: { readonly saved: Promise<void>; readonly topics: string[] } | undefined

  noteRestored(topic: string, id: number): void {
    this.#ids.set(topic, id)
    this.#lastId = Math.max(this.#lastId, id)
  }
  /** @returns whether the row is new: then `settle` is to be told once whether it is on the disk */
  put(topic: string): { readonly id: number; readonly isNew: boolean } {
    if (this.#going.size > 0) this.#going.delete(topic)
    const known = this.#ids.get(topic)
    const id = known ?? this.#free.pop() ?? ++this.#lastId
    if (known !== undefined && !this.#coming.has(topic)) return { id, isNew: false }
    this.#ids.set(topic, id)
    this.#coming.set(topic, (this.#coming.get(topic) ?? 0) + 1)
    return { id, isNew: true }
  }
  /** A thousand new topics have one promise, and hold nothing else until they are on the disk. */
  settleWith(topic: string, saved: Promise<void>): void {
    if (this.#last?.saved !== saved) {
      const topics: string[] = []
      this.#last = { saved, topics }
      const settle = (how: 'saved' | 'refused'): void => topics.forEach((one) => this.settle(one, how))
      const told = saved.then(
        () => settle('saved'),
        () => settle('refused'),
      )
      detach('storage', told)
    }
    this.#last.topics.push(topic)
  }
  settle(topic: string, how: 'saved' | 'refused'): void {
    const coming = this.#coming.get(topic)
    if (coming === undefined) return
    if (how === 'refused' && coming > 1) {
      this.#coming.set(topic, coming - 1)
      return
    }
    this.#coming.delete(topic)
    if (how === 'saved') return
    this.#free.push(this.#ids.get(topic)!)
    this.#ids.delete(topic)
  }
  /** @returns `gone` to be called once it is durable; a row that could not be deleted is there still */
  drop(topic: string): { readonly statements: readonly Statement[]; readonly gone: () => void } {
    const id = this.#ids.get(topic)
    if (id === undefined) return { statements: [], gone: doNothing }
    const mark = {}
    this.#going.set(topic, mark)
    const gone = (): void => {
      if (this.#going.get(topic) !== mark) return
      this.#going.delete(topic)
      this.#coming.delete(topic)
      this.#ids.delete(topic)
    }
    return { statements: [{ sql: SQL.dropRetained, params: [id] }], gone }
  }
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
