/**
 * What can be read of a damaged spool goes into a new one. Each row is asked what it is by its shape, and whether it is
 * whole by its checksum, or by what it says where it has none.
 */
import type { Clock } from '../../../core/os/clock.ts'
import { salvageRows, type Salvaged, type SalvagedRow } from '../../../core/storage/salvage.ts'
import type { SqlValue, Statement, Storage } from '../../../core/storage/storage.ts'
import { SEGMENT_ID, SQL } from './schema.ts'
import { decodeOne, decodeSegment } from './segment.ts'
import { sessionOf, subscriptionOf } from './session-text.ts'

export type SalvageReport = Salvaged & {
  sessions: number
  subscriptions: number
  queues: number
  messages: number
  retained: number
  /** Messages in segments that were found and are not whole. */
  lostMessages: number
}

/** Per transaction. */
const MAX_BATCH_BYTES = 1024 * 1024
const MAX_BATCH_STATEMENTS = 1_000
/** Of a page that was split or moved there may be an older copy: the newer row counts where that shows. */
const PUT = {
  queue:
    'INSERT INTO queue (id, name, first_seq, last_seq, done, released, gap) VALUES (? | 0, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET first_seq = max(first_seq, excluded.first_seq), last_seq = max(last_seq, excluded.last_seq)',
  segment: `INSERT INTO segment (id, last_seq, data) VALUES (${SEGMENT_ID}, ?, ?) ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq, data = excluded.data, shared_id = NULL WHERE excluded.last_seq > last_seq`,
  shared: 'INSERT OR IGNORE INTO shared (id, data) VALUES (? | 0, ?)',
  sharedSegment: `INSERT OR IGNORE INTO segment (id, last_seq, data, shared_id) VALUES (${SEGMENT_ID}, ?, x'', ? | 0)`,
  session: 'INSERT OR IGNORE INTO session (client_id, body) VALUES (?, ?)',
  subscription:
    'INSERT OR IGNORE INTO subscription (client_id, filter, options, subscription_id) VALUES (?, ?, ? | 0, ? | 0)',
  retained: 'INSERT OR IGNORE INTO retained (topic, message) VALUES (?, ?)',
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
    lostMessages: 0,
  }
  readonly #storage: Storage
  #batch: Statement[] = []
  #bytes = 0

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async take({ rowid, values }: SalvagedRow): Promise<void> {
    const statement = rowid === undefined ? this.#withoutRowid(values) : this.#withRowid(rowid, values)
    if (!statement) return
    this.#batch.push(statement)
    for (const value of Object.values(statement.params ?? []))
      if (value instanceof Uint8Array) this.#bytes += value.length
    if (this.#bytes >= MAX_BATCH_BYTES || this.#batch.length >= MAX_BATCH_STATEMENTS) await this.flush()
  }
  async flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = []
    this.#bytes = 0
    if (batch.length > 0) await this.#storage.commit(batch)
  }

  #withRowid(rowid: bigint, [id, a, b, c, d, e, f]: readonly SqlValue[]): Statement | undefined {
    if (id !== null || rowid < 1n) return undefined
    if (typeof a === 'string' && isInt(b) && isInt(c) && d instanceof Uint8Array && e instanceof Uint8Array) {
      this.report.queues++
      return { sql: PUT.queue, params: [Number(rowid), a, b, c, d, e, typeof f === 'string' ? f : null] }
    }
    if (a instanceof Uint8Array && b === undefined)
      return decodeSegment(a, 1, 1) && { sql: PUT.shared, params: [Number(rowid), a] }
    return isInt(a) && b instanceof Uint8Array ? this.#segment(rowid, a, b, c) : undefined
  }

  #segment(rowid: bigint, lastSeq: number, data: Uint8Array, shared: SqlValue | undefined): Statement | undefined {
    const [queue, firstSeq] = [Number(rowid >> SEQ_BITS), Number(rowid & MAX_SEQ)]
    const messages = lastSeq - firstSeq + 1
    if (messages < 1) return undefined
    if (isInt(shared)) {
      this.report.messages += messages
      return { sql: PUT.sharedSegment, params: [queue, firstSeq, lastSeq, shared] }
    }
    if (!decodeSegment(data, firstSeq, lastSeq)) {
      this.report.lostMessages += messages
      return undefined
    }
    this.report.messages += messages
    return { sql: PUT.segment, params: [queue, firstSeq, lastSeq, data] }
  }

  #withoutRowid([key, a, b, c]: readonly SqlValue[]): Statement | undefined {
    if (typeof key !== 'string' || a === undefined) return undefined
    if (typeof a === 'string') {
      if (isInt(b)) return this.#subscription(key, a, b, c)
      if (b !== undefined || !isSession(a)) return undefined
      this.report.sessions++
      return { sql: PUT.session, params: [key, a] }
    }
    if (b !== undefined) return undefined
    if (isInt(a)) return a >= 1 && a <= 65_535 ? { sql: SQL.addInbound, params: [key, a] } : undefined
    if (!(a instanceof Uint8Array) || !decodeOne(a)) return undefined
    this.report.retained++
    return { sql: PUT.retained, params: [key, a] }
  }
  #subscription(name: string, filter: string, options: number, id: SqlValue | undefined): Statement | undefined {
    if (!subscriptionOf(filter, options, undefined)) return undefined
    this.report.subscriptions++
    return { sql: PUT.subscription, params: [name, filter, options, isInt(id) ? id : null] }
  }
}

const isInt = (value: SqlValue | undefined): value is number => typeof value === 'number' && Number.isSafeInteger(value)

function isSession(text: string): boolean {
  try {
    return typeof sessionOf(text).clientId === 'string'
  } catch {
    return false
  }
}
