/** What has happened to devices, newest last: what `meshlet-hub watch` shows. Bounded by count. */
import type { Sql } from './sql.ts'

export const DEVICE_EVENTS = [
  'connected',
  'disconnected',
  'refused',
  'started',
  'revision',
  'config-refused',
  'config-mended',
  'problem',
  'problem-over',
  'clock-wrong',
  'clock-right',
  'report-refused',
] as const
export type DeviceEventKind = (typeof DEVICE_EVENTS)[number]
export type DeviceEvent = {
  readonly atMs: number
  readonly device: string
  readonly event: DeviceEventKind
  /** Why, in words: of the device's own, too, so it is shown with care. */
  readonly reason: string
}
export type DeviceEventRow = DeviceEvent & { readonly id: number }

const MAX_ROWS = 200_000
const MAX_REASON_CHARS = 500

export class DeviceEvents {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async add(events: readonly DeviceEvent[]): Promise<void> {
    if (events.length === 0) return
    await this.#sql.transaction(async (tx) => {
      for (const { atMs, device, event, reason } of events)
        await tx.run(
          'INSERT INTO device_events (at_ms, device, event, reason) VALUES (?, ?, ?, ?)',
          atMs,
          device,
          event,
          reason.slice(0, MAX_REASON_CHARS),
        )
      await tx.run('DELETE FROM device_events WHERE id <= (SELECT max(id) FROM device_events) - ?', MAX_ROWS)
    })
  }

  /** Oldest first. @param q.after of its id */
  async after(q: { readonly after: number; readonly most: number }): Promise<readonly DeviceEventRow[]> {
    return await this.#sql.all<DeviceEventRow>(`${EVENTS} WHERE id > ? ORDER BY id LIMIT ?`, q.after, q.most)
  }
  /** The newest so many, oldest first. */
  async last(q: { readonly device?: string | undefined; readonly most: number }): Promise<readonly DeviceEventRow[]> {
    const rows =
      q.device === undefined
        ? await this.#sql.all<DeviceEventRow>(`${EVENTS} ORDER BY id DESC LIMIT ?`, q.most)
        : await this.#sql.all<DeviceEventRow>(`${EVENTS} WHERE device = ? ORDER BY id DESC LIMIT ?`, q.device, q.most)
    return rows.reverse()
  }
}

const EVENTS = 'SELECT id, at_ms AS "atMs", device, event, reason FROM device_events'
