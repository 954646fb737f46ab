/**
 * When the whole copy of the stored snapshot is made anew: only after something has changed, and seldom, because it
 * writes all of it. One that is missing is made as soon as the push that brought the first configuration has settled.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { toMeshError, type MeshError } from '../../core/errors.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Cell, Metrics } from '../../core/metrics.ts'
import type { SnapshotStore } from './store.ts'

/** After a save, or a start, nobody should wait for the disk. */
const SOON_MS = 10_000

export type CopierOptions = {
  readonly store: SnapshotStore
  /** 0: none is made. */
  readonly intervalMs: number
  /** The file itself was found damaged; the last copy is kept. */
  readonly damaged: (err: MeshError) => void
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export class SnapshotCopier implements AsyncDisposable {
  readonly #o: CopierOptions
  readonly #copies: Cell
  readonly #copiedBytes: Cell
  #timer: Timer | undefined
  #isClosed = false
  #work: Promise<void> = Promise.resolve()

  constructor(options: CopierOptions) {
    this.#o = options
    this.#copies = options.metrics
      .counter('mesh_config_copies_total', 'Whole copies of the stored configuration that were made.')
      .cell({})
    this.#copiedBytes = countWrittenBytes(options.metrics, 'copy')
  }

  /** The stored snapshot is another than the one that was copied. */
  saved(): void {
    const { intervalMs, clock, store } = this.#o
    if (intervalMs === 0 || this.#timer || this.#isClosed) return
    const dueMs = store.copied ? store.copied.atMs + intervalMs - clock.wallMs() : 0
    // A clock that was set back must not put it off for years.
    this.#arm(Math.max(SOON_MS, Math.min(dueMs, intervalMs)))
  }
  /** Waits for one that is being made. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#work
  }

  #arm(ms: number): void {
    this.#timer = this.#o.clock.after(ms, () => {
      this.#timer = undefined
      detach('storage', (this.#work = this.#work.then(() => this.#copy())))
    })
  }
  async #copy(): Promise<void> {
    const { store, clock, log, intervalMs, damaged } = this.#o
    try {
      this.#copiedBytes.value += await store.copy(clock.wallMs())
      this.#copies.value++
    } catch (thrown) {
      const err = toMeshError(thrown)
      if (err.code === 'MESH_STORAGE_DAMAGED') {
        damaged(err)
        return
      }
      log.warn({ evt: 'config.not-copied', err }, 'the stored configuration could not be copied; the last copy is kept')
      if (!this.#timer && !this.#isClosed) this.#arm(intervalMs)
    }
  }
}

export function countWrittenBytes(metrics: Metrics, by: 'save' | 'copy'): Cell {
  return metrics
    .counter(
      'mesh_config_written_bytes_total',
      'Bytes of configuration that were written: what a save hands to SQLite, and the file of a whole copy.',
      ['by'],
    )
    .cell({ by })
}
