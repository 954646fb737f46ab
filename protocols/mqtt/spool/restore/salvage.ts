/**
 * Copies what can be read of a damaged spool into a new one. A row's shape tells what it is, and its checksum whether
 * it is whole. A row without a checksum is checked by its content.
 */
import type { Clock } from '../../../../core/os/clock.ts'
import { salvageRows, type Salvaged, type SalvagedRow } from '../../../../core/storage/salvage.ts'
import type { SqlValue, Statement, Storage } from '../../../../core/storage/storage.ts'
import { buildInboundRow } from '../rows.ts'
import { SEGMENT_ID } from '../schema.ts'
import { countIn, decodeOne, decodeSegment, encodeOne } from '../segment.ts'
import { decodeSession, decodeSubscription } from '../session-text.ts'
import { isWhole, computeRowSum } from '../sums.ts'

export type SalvageReport = Salvaged & {
  sessions: number
  subscriptions: number
  queues: number
  messages: number
  retained: number
}

/** Per transaction. */
const MAX_BATCH_BYTES = 1024 * 1024
const MAX_BATCH_STATEMENTS = 1_000
/** Of a page that was split or moved there may be an older copy: the newer row counts where that shows. */
const PUT = {
  queue:
    'INSERT INTO queue (id, name, first_seq, last_seq, done, released, gap, sum, sent) VALUES (? | 0, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET first_seq = excluded.first_seq, last_seq = excluded.last_seq, done = excluded.done, released = excluded.released, gap = excluded.gap, sum = excluded.sum, sent = excluded.sent WHERE excluded.sum IS NOT NULL AND (excluded.first_seq, excluded.last_seq) > (first_seq, last_seq)',
  segment: `INSERT INTO segment (id, last_seq, data, sum) VALUES (${SEGMENT_ID}, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq, data = excluded.data, shared_id = NULL, sum = excluded.sum WHERE excluded.last_seq > last_seq`,
  shared: 'INSERT OR IGNORE INTO shared (id, data) VALUES (? | 0, ?)',
  sharedSegment: `INSERT OR IGNORE INTO segment (id, last_seq, data, shared_id, sum) VALUES (${SEGMENT_ID}, ?, x'', ? | 0, ?)`,
  session: 'INSERT OR IGNORE INTO session (client_id, body, sum) VALUES (?, ?, ?)',
  subscription:
    'INSERT OR IGNORE INTO subscription (client_id, filter, options, subscription_id, sum) VALUES (?, ?, ? | 0, ? | 0, ?)',
  retained: 'INSERT OR IGNORE INTO retained (id, topic, message) VALUES (? | 0, ?, ?)',
} as const

const SEQ_BITS = 44n
const MAX_SEQ = (1n << SEQ_BITS) - 1n

/** Rejects with what the new spool says. */
export async function salvageSpool(from: string, storage: Storage, clock: Clock): Promise<SalvageReport> {
  const salvage = new Salvage(storage)
  const rows = salvageRows(from, clock)
  for (let next = await rows.next(); ; next = await rows.next()) {
    if (next.done) {
      await salvage.flush()
      return { ...salvage.report, ...next.value }
    }
    await salvage.take(next.value)
  }
}

class Salvage {
  readonly report: SalvageReport = {
    pages: 0,
    damagedPages: 0,
    sessions: 0,
    subscriptions: 0,
    queues: 0,
    messages: 0,
    retained: 0,
  }
  readonly #storage: Storage
  /** Rows of before each had a number: theirs come before all others. */
  #unnumbered = 0
  #batch: Statement[] = []
  #bytes = 0

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async take({ rowid, values }: SalvagedRow): Promise<void> {
    for (const statement of rowid === undefined ? this.#withoutRowid(values) : this.#withRowid(rowid, values)) {
      this.#batch.push(statement)
      for (const value of Object.values(statement.params ?? []))
        if (value instanceof Uint8Array) this.#bytes += value.length
    }
    if (this.#bytes >= MAX_BATCH_BYTES || this.#batch.length >= MAX_BATCH_STATEMENTS) await this.flush()
  }
  async flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = []
    this.#bytes = 0
    if (batch.length > 0) await this.#storage.commit(batch)
  }

  #withRowid(rowid: bigint, [id, a, b, c, d, e, f, sum, sent]: readonly SqlValue[]): readonly Statement[] {
    if (id === null && typeof a === 'string' && b instanceof Uint8Array && c === undefined)
      return this.#retained(Number(rowid), a, b)
    if (id !== null || rowid < 1n) return []
    if (typeof a === 'string' && isInt(b) && isInt(c) && d instanceof Uint8Array && e instanceof Uint8Array) {
      const gap = typeof f === 'string' ? f : null
      this.report.queues++
      // A damaged one is better than none: which messages there are, the segments say.
      return [{ sql: PUT.queue, params: [Number(rowid), a, b, c, d, e, gap, sum ?? null, isInt(sent) ? sent : null] }]
    }
    if (a instanceof Uint8Array && b === undefined)
      return (decodeSegment(a, 1, countIn(a)) ?? decodeSegment(a, 1, 1))
        ? [{ sql: PUT.shared, params: [Number(rowid), a] }]
        : []
    return isInt(a) && b instanceof Uint8Array ? this.#segment(rowid, a, b, [c ?? null, d]) : []
  }

  /** What of it is missing is told when the spool is restored. */
  #segment(
    rowid: bigint,
    lastSeq: number,
    data: Uint8Array,
    [shared, sum]: readonly [SqlValue, SqlValue | undefined],
  ): readonly Statement[] {
    const [queue, firstSeq] = [Number(rowid >> SEQ_BITS), Number(rowid & MAX_SEQ)]
    const messages = lastSeq - firstSeq + 1
    if (messages < 1 || !isWhole(sum, queue, firstSeq, lastSeq, shared)) return []
    if (isInt(shared)) {
      this.report.messages += messages
      return [{ sql: PUT.sharedSegment, params: [queue, firstSeq, lastSeq, shared, sum ?? null] }]
    }
    if (data.length === 0) return [{ sql: PUT.segment, params: [queue, firstSeq, lastSeq, data, sum ?? null] }]
    const entries = decodeSegment(data, firstSeq, lastSeq)
    if (!entries) return []
    const found = entries.filter((entry) => entry !== undefined)
    this.report.messages += found.length
    if (found.length === messages)
      return [
        { sql: PUT.segment, params: [queue, firstSeq, lastSeq, data, computeRowSum(queue, firstSeq, lastSeq, null)] },
      ]
    // Each that is whole for itself: what is between them is a hole.
    return found.map(({ seq, message }) => ({
      sql: PUT.segment,
      params: [queue, seq, seq, encodeOne(message), computeRowSum(queue, seq, seq, null)],
    }))
  }

  #withoutRowid([key, a, b, c, d]: readonly SqlValue[]): readonly Statement[] {
    if (typeof key !== 'string' || a === undefined) return []
    if (typeof a === 'string') {
      if (c !== undefined) return isInt(b) ? this.#subscription(key, a, b, [c, d]) : []
      if (!isWhole(b, key, a) || !isSession(a)) return []
      this.report.sessions++
      return [{ sql: PUT.session, params: [key, a, b ?? null] }]
    }
    if (isInt(a)) return a >= 1 && a <= 65_535 && isWhole(b, key, a) ? [buildInboundRow(key, a)] : []
    return b === undefined && a instanceof Uint8Array ? this.#retained(-++this.#unnumbered, key, a) : []
  }
  #retained(id: number, topic: string, message: Uint8Array): readonly Statement[] {
    if (decodeOne(message)?.topic !== topic) return []
    this.report.retained++
    return [{ sql: PUT.retained, params: [id, topic, message] }]
  }
  #subscription(
    name: string,
    filter: string,
    options: number,
    [id, sum]: readonly [SqlValue, SqlValue | undefined],
  ): readonly Statement[] {
    if (!isWhole(sum, name, filter, options, id) || !decodeSubscription(filter, options, undefined)) return []
    this.report.subscriptions++
    return [{ sql: PUT.subscription, params: [name, filter, options, isInt(id) ? id : null, sum ?? null] }]
  }
}

const isInt = (value: SqlValue | undefined): value is number => typeof value === 'number' && Number.isSafeInteger(value)

function isSession(text: string): boolean {
  try {
    return typeof decodeSession(text).clientId === 'string'
  } catch {
    return false
  }
}
