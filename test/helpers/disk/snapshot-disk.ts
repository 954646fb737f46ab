/**
 * An agent as far as its stored configuration goes: saver and store over real SQLite, with a clock under the test's
 * hand.
 */
import type { TestContext } from 'node:test'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Current } from '../../../core/current.ts'
import type { MeshError } from '../../../core/errors.ts'
import { createLog } from '../../../core/log.ts'
import type { Sealer } from '../../../core/pki/sealing.ts'
import { Metrics } from '../../../core/metrics.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { Applier, type Change } from '../../../control-sync/apply.ts'
import { SnapshotSaver } from '../../../control-sync/snapshot/saver.ts'
import { openSnapshotStore } from '../../../control-sync/snapshot/store.ts'
import { FaultyStorage } from './faulty-storage.ts'
import { sample } from '../control-plane/resources.ts'
import { settle, SimClock } from '../sim-clock.ts'

export const cluster = (name: string, timeout = '1s'): Change =>
  change(
    'cluster',
    sample({
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name,
      type: 'STATIC',
      connect_timeout: timeout,
    }),
  )
export const load = (cluster_name: string): Change =>
  change(
    'endpoint',
    sample({ '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment', cluster_name }),
  )
export function change(kind: Change['kind'], { name, bytes }: { name: string; bytes: Uint8Array }): Change {
  return { kind, removed: [], put: [{ name, version: '', value: bytes }] }
}

export type Run = AsyncDisposable & {
  readonly applier: Applier
  /** Whether the run began with a snapshot. */ readonly stored: boolean
  readonly damaged: readonly string[]
  readonly damage: readonly MeshError[]
}

export class SnapshotDisk {
  readonly clock = new SimClock()
  readonly folder: string
  readonly storage: FaultyStorage
  readonly previous: string
  readonly metrics = new Metrics()
  readonly lines: Record<string, unknown>[] = []
  sealer: Sealer | undefined
  copyIntervalMs = 0
  constructor(t: TestContext) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-snapshot-'))
    t.after(() => {
      fs.rmSync(this.folder, { recursive: true, force: true })
    })
    this.storage = new FaultyStorage(path.join(this.folder, 'snapshot.db'))
    this.previous = path.join(this.folder, 'snapshot.previous.db')
  }
  get writes(): number {
    return this.storage.commits.length
  }

  /** One run of an agent. */
  async run(node = 'n'): Promise<Run> {
    const log = createLog('debug', {
      write: (line) => {
        this.lines.push(JSON.parse(line) as Record<string, unknown>)
      },
    })
    const shared = { node, clock: this.clock, log, metrics: this.metrics }
    const { store, stored } = await openSnapshotStore({
      ...shared,
      openStorage: this.storage.open,
      path: this.storage.path,
      sealer: this.sealer,
    })
    const saver = new SnapshotSaver({ ...shared, store, copyIntervalMs: this.copyIntervalMs })
    const applier = new Applier({ ...shared, saver, tables: new Current<Tables>(EMPTY_TABLES) })
    if (stored) applier.restore(stored)
    return {
      applier,
      stored: stored !== undefined,
      damaged: stored?.damaged ?? [],
      damage: store.damage,
      [Symbol.asyncDispose]: async () => {
        await saver[Symbol.asyncDispose]()
        await store[Symbol.asyncDispose]()
      },
    }
  }
  /** Lets time pass, and what the disk is doing come to its end. */
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
    for (let idle = 0; idle < 5;) {
      await settle()
      if (this.storage.busy === 0) idle++
      else {
        idle = 0
        await new Promise((resolve) => {
          setTimeout(resolve, 1)
        })
      }
    }
  }
  /** Whether the bytes stand anywhere in the files of the store. */
  holds(text: string): string[] {
    return fs.readdirSync(this.folder).filter((name) => fs.readFileSync(path.join(this.folder, name)).includes(text))
  }
}
export const timeoutOf = (applier: Applier, name: string): string =>
  Buffer.from(applier.snapshot.resources.cluster.get(name)?.value ?? []).toString('hex')
export const valueOf = ({ put: [one] }: Change): string => Buffer.from(one!.value).toString('hex')
