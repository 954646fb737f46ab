/** Rollouts, what is in force for whom, and which process drives: all of it survives every process. */
import type { Assignment, Desired } from '../../rollout/desired.ts'
import { isActive, type Rollout, type Tracked } from '../../rollout/machine.ts'
import type { Sql } from '../sql.ts'

export type RolloutRecord = Rollout & {
  readonly startedMs: number
  readonly endedMs: number | null
  /** `operator:USER`, or `hub` for a change of the folder. */
  readonly by: string
  /** What was in force when it began: `undo` goes back to it. */
  readonly before: readonly Assignment[]
  /** One more with every change. */
  readonly sequence: number
}
/** The resources folder, as the hub that drives has seen it last. */
export type FolderState = {
  /** Revision that was taken from it last; undefined: none yet. */
  readonly revision: string | undefined
  /** Why what stands there now is none. */
  readonly problems: readonly string[]
  /** Why its revision is not rolled out by itself; '' where it is. */
  readonly held: string
  readonly seenMs: number
}
/** The folder of one hub among several: each follows the others in its own time. */
export type HubFolder = {
  readonly host: string
  readonly revision: string
  /** Why it was not taken for a change; '' where it was, or is the newest. */
  readonly behind: string
  readonly seenMs: number
}
export type DesiredRecord = Desired & { readonly active: RolloutRecord | undefined }

const MAX_ENDED = 500
/** Those seen last are remembered: a hub in a container may have a new name with each start. */
const MAX_FOLDERS = 100
/** A lease that lasts for longer than so many is of a clock that was wrong: nobody would have it for years. */
const MOST_LEASES = 10
const NO_FOLDER: FolderState = { revision: undefined, problems: [], held: '', seenMs: 0 }

export class Rollouts {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async desired(): Promise<DesiredRecord> {
    return { assignments: await this.assignments(), active: await this.active() }
  }
  async assignments(): Promise<readonly Assignment[]> {
    return (await this.#state<readonly Assignment[]>('assignments')) ?? []
  }
  async setAssignments(assignments: readonly Assignment[]): Promise<void> {
    await this.#setState('assignments', assignments)
    await this.#sql.touch()
  }
  async folder(): Promise<FolderState> {
    return (await this.#state<FolderState>('folder')) ?? NO_FOLDER
  }
  setFolder(folder: FolderState): Promise<void> {
    return this.#setState('folder', folder)
  }
  /** By hub, of several on one registry. */
  async folders(): Promise<ReadonlyMap<string, HubFolder>> {
    return new Map(await this.#state<readonly (readonly [string, HubFolder])[]>('folders'))
  }
  /** Whoever calls has the lease of the folder. */
  async setFolderOf(hub: string, folder: HubFolder): Promise<void> {
    const others = [...(await this.folders())].filter(([id]) => id !== hub)
    const newest = others.toSorted(([, a], [, b]) => b.seenMs - a.seenMs).slice(0, MAX_FOLDERS - 1)
    await this.#setState('folders', [[hub, folder], ...newest])
  }

  async active(): Promise<RolloutRecord | undefined> {
    return (await this.#read('WHERE active = 1'))[0]
  }
  async get(id: string): Promise<RolloutRecord | undefined> {
    return (await this.#read('WHERE id = ?', id))[0]
  }
  /** Newest first. */
  list(most: number): Promise<readonly RolloutRecord[]> {
    return this.#read('ORDER BY place DESC LIMIT ?', most)
  }

  /** Rejects when another one is active. */
  async add(rollout: RolloutRecord): Promise<void> {
    await this.#sql.run(
      `INSERT INTO rollouts (id, active, started_ms, sequence, document, place)
      VALUES (?, ?, ?, ?, ?, (SELECT COALESCE(MAX(place), 0) + 1 FROM rollouts))`,
      rollout.id,
      isActive(rollout) ? 1 : null,
      rollout.startedMs,
      rollout.sequence,
      JSON.stringify(rollout),
    )
    await this.#sql.run(
      'DELETE FROM rollouts WHERE active IS NULL AND id NOT IN (SELECT id FROM rollouts ORDER BY place DESC LIMIT ?)',
      MAX_ENDED,
    )
    await this.#sql.touch()
  }
  /** @returns what stands there now; undefined: somebody else has changed it since, and nothing was written */
  async update(rollout: RolloutRecord): Promise<RolloutRecord | undefined> {
    const next = { ...rollout, sequence: rollout.sequence + 1 }
    const changed = await this.#sql.run(
      'UPDATE rollouts SET active = ?, sequence = ?, document = ? WHERE id = ? AND sequence = ?',
      isActive(next) ? 1 : null,
      next.sequence,
      JSON.stringify(next),
      next.id,
      rollout.sequence,
    )
    if (changed === 0) return undefined
    if (!isActive(next)) await this.#sql.run('DELETE FROM rollout_devices WHERE rollout = ?', next.id)
    await this.#sql.touch()
    return next
  }

  /** How far the soak has come, in case this process ends. Nobody has to look at it. */
  async saveSoak(rollout: RolloutRecord): Promise<void> {
    await this.#sql.run(
      'UPDATE rollouts SET document = ? WHERE id = ? AND sequence = ?',
      JSON.stringify(rollout),
      rollout.id,
      rollout.sequence,
    )
  }

  /** The devices that count, as they were when they were first seen in their wave. */
  async tracked(id: string): Promise<ReadonlyMap<string, Tracked>> {
    const rows = await this.#sql.all<{ device: string; document: string }>(
      'SELECT device, document FROM rollout_devices WHERE rollout = ?',
      id,
    )
    return new Map(rows.map(({ device, document }) => [device, JSON.parse(document) as Tracked]))
  }
  async track(id: string, devices: Iterable<readonly [string, Tracked]>): Promise<void> {
    for (const [device, tracked] of devices)
      await this.#sql.run(
        'INSERT INTO rollout_devices (rollout, device, document) VALUES (?, ?, ?) ON CONFLICT (rollout, device) DO NOTHING',
        id,
        device,
        JSON.stringify(tracked),
      )
  }

  /** It counts no more: whoever has the name later is another device. */
  async untrack(device: string): Promise<void> {
    await this.#sql.run('DELETE FROM rollout_devices WHERE device = ?', device)
  }

  /** One process at a time has the lease. @returns whether it is `holder` */
  async lease(name: string, holder: string, p: { readonly nowMs: number; readonly forMs: number }): Promise<boolean> {
    const taken = await this.#sql.run(
      `INSERT INTO leases (name, holder, until_ms) VALUES (?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
      WHERE leases.holder = excluded.holder OR leases.until_ms < ? OR leases.until_ms > ?`,
      name,
      holder,
      p.nowMs + p.forMs,
      p.nowMs,
      p.nowMs + MOST_LEASES * p.forMs,
    )
    return taken > 0
  }
  async release(name: string, holder: string): Promise<void> {
    await this.#sql.run('DELETE FROM leases WHERE name = ? AND holder = ?', name, holder)
  }

  async #read(where: string, ...params: readonly (string | number)[]): Promise<readonly RolloutRecord[]> {
    const rows = await this.#sql.all<{ document: string }>(`SELECT document FROM rollouts ${where}`, ...params)
    return rows.map(({ document }) => JSON.parse(document) as RolloutRecord)
  }
  async #state<T>(name: string): Promise<T | undefined> {
    const rows = await this.#sql.all<{ document: string }>('SELECT document FROM rollout_state WHERE name = ?', name)
    return rows[0] && (JSON.parse(rows[0].document) as T)
  }
  async #setState(name: string, value: unknown): Promise<void> {
    await this.#sql.run(
      'INSERT INTO rollout_state (name, document) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document',
      name,
      JSON.stringify(value),
    )
  }
}
