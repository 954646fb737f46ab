/**
 * Keeps the snapshot store up with what is served, and writes once per settled push: a control plane sends a push as
 * five or more messages, and flash wears by the write. What a kill takes away comes again with the next stream; what a
 * full disk refuses is kept and tried again; a file that breaks while it is in use is replaced by one with everything.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { toMeshError, type MeshError } from '../../core/errors.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Cell, Metrics } from '../../core/metrics.ts'
import { SnapshotCopier, countWrittenBytes } from './copier.ts'
import type { SnapshotStore } from './store.ts'
import type { Ages, Save, SavedChange } from './types.ts'

/** A push is over when nothing changed for so long. */
const SETTLED_MS = 500
/** Changes without end are written so often. */
const MAX_WAIT_MS = 5_000
const RETRY_MS = 30_000
/**
 * The time of the last contact alone is worth a write at the end of a run when the stored one is so old, and there is
 * something that it is the age of.
 */
const CONTACT_MS = 3_600_000

type State = Pick<Save, 'generation' | 'savedAtMs'>
type SaverOptions = {
  readonly node: string
  readonly store: SnapshotStore
  /** Shortest time between two whole copies; 0: none is made. */
  readonly copyIntervalMs: number
  /** How old the stored time of the last contact may be; left out: an hour. */
  readonly contactWithinMs?: number | undefined
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export class SnapshotSaver implements AsyncDisposable {
  readonly #o: SaverOptions
  readonly #saves: Cell
  readonly #savedBytes: Cell
  readonly #copier: SnapshotCopier
  #everything: () => readonly SavedChange[] = () => []
  /** The file is damaged: what is in force has to be written as a whole. */
  #isDamaged = false
  #pending = new Map<string, SavedChange>()
  #state: State = { generation: 0, savedAtMs: 0 }
  #changedAtMs: Ages = {}
  #contactAtMs: number | undefined
  #storedContactAtMs: number | undefined
  #timer: Timer | undefined
  #oldestMs = 0
  #error: MeshError | undefined
  #work: Promise<void> = Promise.resolve()

  constructor(options: SaverOptions) {
    this.#o = options
    options.metrics.gaugeOf(
      'mesh_control_last_contact_seconds',
      'Seconds since a control plane was last heard of, earlier runs included; -1 = never.',
      () => (this.#contactAtMs === undefined ? -1 : Math.max(0, (options.clock.wallMs() - this.#contactAtMs) / 1000)),
    )
    this.#saves = options.metrics
      .counter('mesh_config_saves_total', 'Writes of the configuration to disk, whole copies aside.')
      .cell({})
    this.#savedBytes = countWrittenBytes(options.metrics, 'save')
    this.#copier = new SnapshotCopier({
      ...options,
      intervalMs: options.copyIntervalMs,
      damaged: (err) => this.#damaged(err),
    })
  }

  /** Why the configuration in force is not on disk; undefined when it is, or will be in a moment. */
  get error(): MeshError | undefined {
    return this.#error
  }
  /** Wall milliseconds. */
  get changedAtMs(): Ages {
    return this.#changedAtMs
  }
  get contactAtMs(): number | undefined {
    return this.#contactAtMs
  }

  restored(from: State & { readonly contactAtMs: number | undefined; readonly changedAtMs: Ages }): void {
    this.#state = from
    this.#contactAtMs = this.#storedContactAtMs = from.contactAtMs
    this.#changedAtMs = from.changedAtMs
    if (from.generation > 0 && this.#o.store.copied?.generation !== from.generation) this.#copier.saved()
  }
  /** @param everything what is in force, for a file that has to be written anew */
  savesFrom(everything: () => readonly SavedChange[]): void {
    this.#everything = everything
  }
  /** A control plane was heard of; kept with the next save. */
  contact(): void {
    this.#contactAtMs = this.#o.clock.wallMs()
  }

  /** What one applied change brought into force. */
  add(state: State, changes: readonly SavedChange[]): void {
    this.#state = state
    const nowMs = this.#o.clock.monotonicMs()
    if (this.#pending.size === 0) this.#oldestMs = nowMs
    for (const change of changes) {
      this.#pending.set(`${change.kind} ${change.name}`, change)
      this.#changedAtMs = { ...this.#changedAtMs, [change.kind]: state.savedAtMs }
    }
    this.#arm(Math.max(0, Math.min(SETTLED_MS, this.#oldestMs + MAX_WAIT_MS - nowMs)))
  }

  /** Writes what waits, now. Never rejects. */
  flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    return (this.#work = this.#work.then(() => this.#save()))
  }
  /** The time of the last contact, when the stored one is too old. Never rejects. */
  keepContact(): Promise<void> {
    return (this.#work = this.#work.then(async () => {
      if (this.#isContactOld && this.#state.generation > 0) await this.#write([]).catch(() => undefined)
    }))
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const isOld = this.#isContactOld
    await this.#copier[Symbol.asyncDispose]()
    await this.flush()
    if (this.#isDamaged) await this.flush()
    if (isOld && this.#state.generation > 0 && this.#contactAtMs !== this.#storedContactAtMs)
      await this.#write([]).catch(() => undefined)
    // A disk that refused is not asked again once nobody is there.
    this.#timer?.cancel()
  }

  get #isContactOld(): boolean {
    return (
      this.#contactAtMs !== undefined &&
      this.#contactAtMs - (this.#storedContactAtMs ?? 0) >= (this.#o.contactWithinMs ?? CONTACT_MS)
    )
  }

  #arm(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#o.clock.after(ms, () => {
      detach('storage', this.flush())
    })
  }

  async #save(): Promise<void> {
    if (this.#pending.size === 0 && !this.#isDamaged) return
    const saving = this.#pending
    this.#pending = new Map()
    try {
      if (this.#isDamaged) await this.#writeAnew()
      else await this.#write([...saving.values()])
      this.#error = undefined
      this.#copier.saved()
    } catch (thrown) {
      // What has changed since is newer.
      this.#pending = new Map([...saving, ...this.#pending])
      const err = toMeshError(thrown)
      if (err.code === 'MESH_STORAGE_DAMAGED' && !this.#isDamaged) {
        this.#damaged(err)
        return
      }
      this.#error = err
      this.#o.log.error({ evt: 'config.not-saved', err }, 'the configuration is served but could not be stored')
      this.#arm(RETRY_MS)
    }
  }
  #damaged(err: MeshError): void {
    this.#isDamaged = true
    this.#o.log.error(
      { evt: 'config.store-damaged', err },
      'the file of the configuration is damaged; what is in force is written anew',
    )
    this.#arm(0)
  }
  async #writeAnew(): Promise<void> {
    await this.#o.store.restart()
    await this.#write(this.#everything())
    this.#isDamaged = false
  }
  async #write(changes: readonly SavedChange[]): Promise<void> {
    const contactAtMs = this.#contactAtMs
    this.#saves.value++
    this.#savedBytes.value += await this.#o.store.save({
      node: this.#o.node,
      ...this.#state,
      contactAtMs,
      changedAtMs: this.#changedAtMs,
      changes,
    })
    this.#storedContactAtMs = contactAtMs
  }
}
