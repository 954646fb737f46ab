/**
 * A stream was let in when it began, and lives for hours. Here it is asked again twice a second whether it may go on:
 * its credential has an end, and what the registry says of token and name can change at any time, by `meshlet-hub token
 * revoke` in another process, too. Without a change that costs one read of a counter.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, guard, doNothing } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import type { Registry } from '../registry/registry.ts'

const ASK_MS = 500

/** @param what `end`: only whether the credential has ended; `all`: the registry has changed, too */
export type Ask = (what: 'end' | 'all') => void
export type CertificateWatcherOptions = { readonly registry: Registry; readonly clock: Clock; readonly log: Log }

export class CertificateWatcher implements Disposable {
  readonly #o: CertificateWatcherOptions
  readonly #streams = new Set<Ask>()
  #revision: string | undefined
  #timer: Timer | undefined
  #isOver = false
  #isUnreadable = false

  constructor(o: CertificateWatcherOptions) {
    this.#o = o
    this.#revision = this.#read()
    this.#later()
  }

  /** Disposing is the stream's end. `ask` ends its stream itself and throws nothing. */
  enter(ask: Ask): Disposable {
    const own: Ask = (what) => ask(what) // the same function may enter twice
    this.#streams.add(own)
    return {
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
    const revision = this.#read()
    const what = revision === undefined || revision === this.#revision ? 'end' : 'all'
    if (revision !== undefined) this.#revision = revision
    const slice = new TimeSlice(this.#o.clock)
    for (const ask of this.#streams) {
      if (slice.due) await slice.yield()
      ask(what)
    }
  }

  /** Undefined: the registry cannot be read; it is asked again. */
  #read(): string | undefined {
    try {
      const { revision } = this.#o.registry
      this.#isUnreadable = false
      return revision
    } catch (err) {
      if (!this.#isUnreadable)
        this.#o.log.warn({ evt: 'hub.registry', err }, 'whether tokens were revoked is not to be read')
      this.#isUnreadable = true
      return undefined
    }
  }
}
