/**
 * A stream was let in when it began, and lives for hours. Here it is asked again twice a second whether it may go on:
 * its credential has an end, and what the registry says of token and name can change at any time, by `meshlet-hub token
 * revoke` in another process, too. Without a change that costs one read of a counter.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, guard, doNothing } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { toMeshError, type MeshError } from '../../core/errors.ts'
import type { OpenRegistry } from '../registry/registry.ts'

const ASK_MS = 500
/** Of a database on another machine, so many questions are under way. */
const ASKED_AT_ONCE = 16

export type CertificateWatcherOptions = { readonly registry: OpenRegistry; readonly clock: Clock; readonly log: Log }
export type WatchedStream = {
  /**
   * Rejects when the stream may not go on; with an error of storage it is asked again.
   * @param what `end`: only whether the credential has ended; `all`: the registry has changed, too
   */
  readonly check: (what: 'end' | 'all') => Promise<void>
  readonly end: (reason: MeshError) => void
}
/** Disposing is the stream's end. */
export type Watch = Disposable & {
  /** What the stream was let in by was read when this was `current`; what has changed since is looked at. */
  recheckSince(revision: string | undefined): void
}
type Entry = WatchedStream & { seen: string | undefined }

export class CertificateWatcher implements Disposable {
  readonly #o: CertificateWatcherOptions
  readonly #streams = new Set<Entry>()
  #timer: Timer | undefined
  #isOver = false
  #isUnreadable = false

  constructor(o: CertificateWatcherOptions) {
    this.#o = o
    this.#later()
  }

  /** To be read before the registry is asked about a stream. Undefined: the registry cannot be read. */
  get current(): string | undefined {
    try {
      const { revision } = this.#o.registry
      this.#isUnreadable = false
      return revision
    } catch (err) {
      this.#tellUnreadable(err)
      return undefined
    }
  }

  /** @param revision `current` before the stream was let in */
  enter({ check, end }: WatchedStream, revision: string | undefined): Watch {
    const own: Entry = { check, end, seen: revision }
    this.#streams.add(own)
    return {
      recheckSince: (older) => {
        own.seen = older
      },
      [Symbol.dispose]: () => {
        this.#streams.delete(own)
      },
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#timer?.cancel()
  }

  #later(): void {
    if (this.#isOver) return
    this.#timer = this.#o.clock.after(
      ASK_MS,
      guard('hub', doNothing, () =>
        detach(
          'hub',
          this.#askAll().finally(() => this.#later()),
        ),
      ),
    )
  }

  async #askAll(): Promise<void> {
    const revision = this.current
    const slice = new TimeSlice(this.#o.clock)
    const changed: Entry[] = []
    for (const entry of this.#streams) {
      if (slice.due) await slice.yield()
      if (revision === undefined || entry.seen === revision) await this.#ask(entry, 'end')
      else changed.push(entry)
    }
    const askNext = async (): Promise<void> => {
      for (let entry = changed.pop(); entry; entry = changed.pop()) {
        if (!this.#streams.has(entry)) continue
        entry.seen = revision
        await this.#ask(entry, 'all')
        if (slice.due) await slice.yield()
      }
    }
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, askNext))
  }

  async #ask(entry: Entry, what: 'end' | 'all'): Promise<void> {
    try {
      await entry.check(what)
    } catch (thrown) {
      const reason = toMeshError(thrown)
      if (reason.code !== 'MESH_STORAGE_FAILED' && reason.code !== 'MESH_STORAGE_FULL') entry.end(reason)
      else {
        entry.seen = undefined
        this.#tellUnreadable(reason)
      }
    }
  }

  #tellUnreadable(err: unknown): void {
    if (!this.#isUnreadable)
      this.#o.log.warn({ evt: 'hub.registry', err }, 'whether tokens were revoked is not to be read')
    this.#isUnreadable = true
  }
}
