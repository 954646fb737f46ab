/**
 * What becomes of a query while there is no name table, neither sent nor stored. It is not known then which names belong
 * to the mesh.
 */
import type { Clock } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import { isMeshOnly } from './name-index.ts'

/**
 * What the control plane has not sent yet: nothing (a folder, or a control plane without a name table), only the names,
 * or everything.
 */
export type Awaited = 'nothing' | 'names' | 'everything'
/** `brief`: asked for upstream, and clients are not to keep the answer, because it may be the mesh's name after all. */
export type Without = 'wait' | 'forward' | 'brief'

export type FirstTableOptions = {
  readonly clock: Clock
  readonly log: Log
  /** dns.firstTableMs. */
  readonly waitMs: number
  /** Of the mesh's services, e.g. `svc.cluster.local`. */
  readonly domain: string
  readonly awaited: () => Awaited
}

export class FirstTable {
  readonly #o: FirstTableOptions
  readonly #startedMs: number
  /** When a query first saw that only names are missing. */
  #othersMs: number | undefined
  #told: Without = 'wait'

  constructor(options: FirstTableOptions) {
    this.#o = options
    this.#startedMs = options.clock.monotonicMs()
  }

  /** Asked while there is no table. @param name undefined for one that no host can have */
  of(name: string | undefined): Without {
    const { clock, waitMs, awaited } = this.#o
    const owed = awaited()
    if (owed === 'nothing') return 'forward'
    const now = clock.monotonicMs()
    if (owed === 'names') this.#othersMs ??= now
    else this.#othersMs = undefined
    if (this.#othersMs !== undefined && now - this.#othersMs >= waitMs)
      return this.#tell('forward', 'the control plane sends no names: all are asked for upstream')
    if (now - this.#startedMs < waitMs || (name !== undefined && isMeshOnly(name, this.#o.domain))) return 'wait'
    return this.#tell('brief', "no name table has come yet: names that may be others' are asked for upstream")
  }

  #tell(what: Without, text: string): Without {
    if (this.#told !== what)
      this.#o.log.warn(
        { evt: 'dns.no-table', afterMs: Math.round(this.#o.clock.monotonicMs() - this.#startedMs) },
        text,
      )
    return (this.#told = what)
  }
}
