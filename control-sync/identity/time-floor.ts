/**
 * How late it is at least. A device without a battery for its clock boots in 1970: by that clock the whole mesh is not
 * valid yet, and what expired long ago is. So certificates are checked by the later of the clock and a floor: the date
 * of the build, what was on disk, and the newest NotBefore that a trusted CA has signed, each moved on by the time that
 * has passed since. The clock itself never feeds the floor: one that was wrong once must not count for ever.
 */
import path from 'node:path'
import type { Clock } from '../../core/os/clock.ts'
import type { Disk } from '../../core/os/disk.ts'
import { toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'

/** Flash wears out: one small file a day, and at the end. */
const SAVE_EVERY_MS = 86_400_000
const SAVE_AT_END_MS = 3_600_000
/** A CA's clock may be ahead of a right one by so much. */
const TOLERANCE_MS = 60_000
/** Nothing that was built before can have seen it. */
const MAX_AFTER_BUILD_MS = 50 * 365.25 * SAVE_EVERY_MS

const isBehind = (wallMs: number, floorMs: number): boolean => wallMs + TOLERANCE_MS < floorMs

export type TimeFloorOptions = {
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Log
  readonly stateFolder: string
  readonly builtAtMs: number | undefined
}

export class TimeFloor {
  readonly #o: TimeFloorOptions
  readonly #folder: string
  readonly #file: string
  #floor: { readonly ms: number; readonly atMs: number }
  #savedMs: number
  #raised: () => void = () => {
    /* nobody waits */
  }

  /** Never throws: a file that cannot be read or says nonsense is as good as none. */
  constructor(options: TimeFloorOptions) {
    this.#o = options
    this.#folder = path.join(options.stateFolder, 'identity')
    this.#file = path.join(this.#folder, 'time-floor.json')
    this.#savedMs = this.#load()
    this.#floor = { ms: Math.max(options.builtAtMs ?? 0, this.#savedMs), atMs: options.clock.monotonicMs() }
  }

  get floorMs(): number {
    return this.#floor.ms + (this.#o.clock.monotonicMs() - this.#floor.atMs)
  }
  /** What certificates are checked by. */
  nowMs(): number {
    const wallMs = this.#o.clock.wallMs()
    const { floorMs } = this
    return isBehind(wallMs, floorMs) ? floorMs : wallMs
  }
  get clockIsWrong(): boolean {
    return isBehind(this.#o.clock.wallMs(), this.floorMs)
  }

  /** A NotBefore that has been verified up to a trusted root: it is that late at least. */
  seen(notBeforeMs: number): void {
    const byMs = notBeforeMs - this.floorMs
    if (byMs <= 0) return
    this.#floor = { ms: notBeforeMs, atMs: this.#o.clock.monotonicMs() }
    if (byMs > TOLERANCE_MS) this.#raised()
  }
  /** `fn` hears when it is much later than was known: what seemed valid may have expired. */
  onRaise(fn: () => void): void {
    this.#raised = fn
  }

  /** Now and then; writes once a day at most. */
  tick(): void {
    if (this.floorMs - this.#savedMs >= SAVE_EVERY_MS) this.#save()
  }
  [Symbol.dispose](): void {
    if (this.floorMs - this.#savedMs >= SAVE_AT_END_MS) this.#save()
  }

  #save(): void {
    const { disk, log } = this.#o
    const ms = Math.floor(this.floorMs)
    // Also when it fails: a full disk is not asked again at every look.
    this.#savedMs = ms
    try {
      disk.makeFolder(this.#folder, 0o700)
      disk.replace(this.#file, JSON.stringify({ version: 1, notBefore: new Date(ms).toISOString() }), 0o600)
    } catch (thrown) {
      log.warn(
        { evt: 'identity.time-floor', err: toMeshError(thrown) },
        'the time that has been reached cannot be written down',
      )
    }
  }

  #load(): number {
    const { disk, log, builtAtMs } = this.#o
    try {
      const bytes = disk.read(this.#file)
      if (!bytes) return 0
      const ms = Date.parse(String((JSON.parse(bytes.toString('utf8')) as { notBefore?: unknown } | null)?.notBefore))
      if (ms > 0 && (builtAtMs === undefined || ms < builtAtMs + MAX_AFTER_BUILD_MS)) return ms
      throw new RangeError('it holds no time')
    } catch (thrown) {
      log.warn(
        { evt: 'identity.time-floor', err: toMeshError(thrown) },
        'the time that had been reached cannot be read',
      )
      return 0
    }
  }
}
