/**
 * Answers of upstream resolvers kept on disk, so that a node that starts without its uplink has something to say (RFC
 * 8767). Read when the first name is asked for upstream, written when the proxy stops and at most every so often while
 * it runs: flash wears out.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import { isSealed, openSealed, type Sealer } from '../../../core/pki/sealing.ts'
import type { Cache } from './cache.ts'
import type { DnsMetrics } from '../metrics.ts'
import { decodeAnswers, encodeAnswers } from './stored-answers.ts'
import { Rcode } from '../codec/wire.ts'

export type StorePlace = {
  readonly file: string
  /** Called at each use. Undefined = plain text. Throws MESH_CONFIG_INVALID. */
  readonly sealer: () => Sealer | undefined
}
type StoreOptions = StorePlace & {
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Log
  readonly metrics: DnsMetrics
  readonly cache: Cache
  readonly everyMs: number
  readonly maxBytes: number
  readonly maxStaleSec: number
}

const PURPOSE = 'dns-answers'

export class AnswerStore implements Disposable {
  readonly #o: StoreOptions
  #read = false
  #changed = false
  #timer: Timer | undefined
  #notStored: MeshError | undefined
  #setAside: string | undefined

  constructor(options: StoreOptions) {
    this.#o = options
  }

  /**
   * The first call reads the file. What it holds counts as past its time, whatever the clock says: it is given only
   * while no resolver answers.
   */
  load(): void {
    if (this.#read) return
    this.#read = true
    const { disk, file, log } = this.#o
    try {
      const bytes = disk.read(file)
      if (bytes) this.#take(bytes)
    } catch (thrown) {
      if (thrown instanceof RangeError) {
        this.#damaged(thrown)
        return
      }
      // Of another key or version, or not readable: nothing that a cache could not do without. The next writing
      // replaces it.
      const err = toMeshError(thrown)
      log.warn({ evt: 'dns.answers-not-read', code: err.code, file, err }, 'the stored DNS answers cannot be used')
    }
  }

  /** There is something to write. */
  changed(): void {
    this.#changed = true
    this.#timer ??= this.#o.clock.after(this.#o.everyMs, () => {
      this.#timer = undefined
      this.#save()
    })
  }

  problems(): MeshError[] {
    return [
      ...(this.#setAside === undefined
        ? []
        : [
            new MeshError(
              'MESH_STORAGE_DAMAGED',
              `the stored DNS answers were damaged; their file is now ${this.#setAside}`,
            ),
          ]),
      ...(this.#notStored ? [this.#notStored] : []),
    ]
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#changed) this.#save()
  }

  #take(bytes: Buffer): void {
    const { clock, cache, maxStaleSec, log } = this.#o
    const { wallMs, answers } = decodeAnswers(this.#opened(bytes))
    const now = clock.monotonicMs()
    // A clock that stands before the time of writing says nothing of how long that is ago.
    const agoMs = Math.max(0, clock.wallMs() - wallMs)
    let taken = 0
    for (const { key, answer, staleForMs } of answers) {
      const staleUntilMs = now + Math.min(staleForMs - agoMs, maxStaleSec * 1000)
      if (staleUntilMs <= now) continue
      cache.set(key, { answer, storedMs: now, freshUntilMs: now, staleUntilMs, restUntilMs: 0 })
      taken++
    }
    log.info(
      { evt: 'dns.answers-read', answers: taken, tooOld: answers.length - taken },
      'DNS answers of an earlier run are at hand',
    )
  }

  #opened(bytes: Buffer): Buffer {
    const sealer = this.#o.sealer()
    if (!isSealed(bytes)) {
      if (sealer) this.changed() // and sealed then
      return bytes
    }
    return openSealed(bytes, { sealer, purpose: PURPOSE, file: this.#o.file })
  }

  #damaged(err: RangeError): void {
    const { disk, file, clock, log } = this.#o
    try {
      this.#setAside = disk.setAside(file, String(clock.wallMs()))
    } catch (thrown) {
      log.debug({ evt: 'dns.answers-not-moved', file, err: toMeshError(thrown) }, 'a damaged file stays where it is')
    }
    log.warn(
      { evt: 'dns.answers-damaged', code: 'MESH_STORAGE_DAMAGED', file: this.#setAside ?? file, why: err.message },
      'the stored DNS answers are damaged',
    )
  }

  #save(): void {
    const { disk, file, cache, clock, log, metrics, maxBytes } = this.#o
    const entries = [...cache.entries()].filter(
      ([, { answer }]) => answer.rcode === Rcode.NOERROR || answer.rcode === Rcode.NXDOMAIN,
    )
    try {
      const plain = encodeAnswers(entries, { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() }, maxBytes)
      this.#changed = false
      if (!plain) return
      disk.replace(file, this.#o.sealer()?.seal(plain, PURPOSE) ?? plain, 0o600)
      this.#notStored = undefined
      metrics.stored('saved')
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code === 'ENOSPC' ? 'MESH_STORAGE_FULL' : 'MESH_STATE_UNUSABLE'
      this.#notStored =
        cause instanceof MeshError
          ? cause
          : new MeshError(code, `the DNS answers cannot be written to ${file}`, { cause })
      metrics.stored('failed')
      this.#changed = true
      log.warn(
        { evt: 'dns.answers-not-stored', code: this.#notStored.code, file, err: this.#notStored },
        'the DNS answers could not be stored',
      )
    }
  }
}
