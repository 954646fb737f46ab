/**
 * What operators ask of devices, on its way from a command or the API to the hub that has the device's connection, and
 * the answer on its way back. Rows are gone within minutes.
 */
import type { Sql } from '../registry/sql.ts'

export type DeviceCommand = {
  readonly id: string
  readonly device: string
  /** CommandRequest (model/fleet/command.ts), JSON. */
  readonly request: string
  readonly askedMs: number
}
export type CommandState = 'asked' | 'taken' | 'done' | 'failed'
export type CommandOutcome = { readonly state: CommandState; readonly answer: string }

/** Nobody waits longer. */
const KEPT_MS = 5 * 60_000
/** What was asked before is not carried out any more. */
export const ASKED_FOR_MS = 30_000

export class DeviceCommands {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async ask(c: DeviceCommand): Promise<void> {
    await this.#sql.transaction(async (tx) => {
      await tx.run(
        `INSERT INTO device_commands (id, device, request, asked_ms, state, answer) VALUES (?, ?, ?, ?, 'asked', '')`,
        c.id,
        c.device,
        c.request,
        c.askedMs,
      )
      await tx.touch()
    })
  }
  /** Those that nobody has taken. */
  async asked(nowMs: number): Promise<readonly DeviceCommand[]> {
    return await this.#sql.all<DeviceCommand>(
      `SELECT id, device, request, asked_ms AS "askedMs" FROM device_commands WHERE state = 'asked' AND asked_ms > ? ORDER BY asked_ms LIMIT 1000`,
      nowMs - ASKED_FOR_MS,
    )
  }
  /** @returns false: somebody else has it already */
  async take(id: string): Promise<boolean> {
    return (
      (await this.#sql.run(`UPDATE device_commands SET state = 'taken' WHERE id = ? AND state = 'asked'`, id)) === 1
    )
  }
  async finish(id: string, state: 'done' | 'failed', answer: string): Promise<void> {
    await this.#sql.run('UPDATE device_commands SET state = ?, answer = ? WHERE id = ?', state, answer, id)
  }
  async outcome(id: string): Promise<CommandOutcome | undefined> {
    return (await this.#sql.all<CommandOutcome>('SELECT state, answer FROM device_commands WHERE id = ?', id))[0]
  }
  /** @returns how many went: those that nobody waits for any more, or that a clock far ahead has dated */
  async prune(nowMs: number): Promise<number> {
    return await this.#sql.run(
      'DELETE FROM device_commands WHERE asked_ms < ? OR asked_ms > ?',
      nowMs - KEPT_MS,
      nowMs + KEPT_MS,
    )
  }
}
