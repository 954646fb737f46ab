/**
 * A file that decides who gets in, and is read again when it changes. A change has to look the same twice before it is
 * taken: half of a file may lack the lines that deny. While what stands there cannot be used, what was taken last stays
 * in force, and the problem is told.
 */
import { createHash } from 'node:crypto'
import { detach, type Part } from '../../defects/guard.ts'
import { MeshError, type ErrorCode } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { toPrintable } from '../../printable.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Disk, FileStat } from '../disk.ts'
import { TimeSlice } from '../time-slice.ts'
import { decodeUtf8, readTrustedFile, checkTrustedFile, type TrustedFile } from './trusted-file.ts'

const POLL_MS = 2_000
const SETTLE_MS = 250
const READABLE_BY_ANYBODY = 0o004

export type WatchedFileOptions<T> = {
  readonly file: string
  /** Name of the setting that names it. */
  readonly setting: string
  readonly maxBytes: number
  /** Throws or rejects with an Error that says what is wrong, as the end of a sentence that names the file. */
  readonly parse: (text: string, slice: TimeSlice) => T | Promise<T>
  /** Of what was read and is used: lines that are not. */
  readonly problemsOf?: (content: T) => readonly string[]
  /** Whether it has secrets, so that others should not read it. */
  readonly isSecret: boolean
  /** What it means that no content could ever be read. */
  readonly without: string
  /** Of the errors. */
  readonly code: ErrorCode
  /** Of the log lines. */
  readonly evt: string
  readonly part: Part
  readonly disk: Pick<Disk, 'read' | 'stat'>
  readonly clock: Clock
  readonly log: Log
  /** Another content is in force. Not called for what the first look finds. */
  readonly onChange: () => void
}

type Taken<T> = { readonly hash: string; readonly value: T; readonly problems: readonly string[] }

export class WatchedFile<T> implements Disposable {
  readonly #o: WatchedFileOptions<T>
  /** Resolves when the file was looked at once. Until then there is no content. Never rejects. */
  readonly ready: Promise<void>
  #timer: Timer | undefined
  #isClosed = false
  #taken: Taken<T> | undefined
  /** The text that was refused last. */
  #refused: { readonly hash: string; readonly cause: unknown } | undefined
  /** Hash of a text that was met once. */
  #met: string | undefined
  /** Of the file when its text was decided on, and was read once more since. */
  #stamp: string | undefined
  #error: MeshError | undefined
  #notes: readonly MeshError[] = []

  constructor(options: WatchedFileOptions<T>) {
    this.#o = options
    this.ready = this.#lookOn('first')
  }
  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  /** What was taken last. @throws the problem, with `code`, while nothing ever was */
  get content(): T {
    this.refuseUnusable()
    return this.#taken!.value
  }
  /** @throws the same */
  refuseUnusable(): void {
    if (!this.#taken) throw this.#error ?? this.#problem('it was not read yet')
  }
  /** Something was taken, and is in force. */
  get isUsable(): boolean {
    return this.#taken !== undefined
  }
  /** The same; undefined while nothing ever was. */
  get current(): T | undefined {
    return this.#taken?.value
  }
  problems(): readonly MeshError[] {
    return this.#error ? [this.#error] : this.#notes
  }

  async #lookOn(when: 'first' | 'again'): Promise<void> {
    const found = await this.#look(when)
    if (this.#isClosed) return
    this.#timer = this.#o.clock.after(found === 'settling' ? SETTLE_MS : POLL_MS, () => {
      detach(this.#o.part, this.#lookOn('again'))
    })
  }

  async #look(when: 'first' | 'again'): Promise<'same' | 'settling'> {
    const { disk, file, maxBytes, onChange } = this.#o
    let found: TrustedFile
    try {
      if (checkTrustedFile(disk, file).stamp === this.#stamp) return 'same'
      found = readTrustedFile(disk, file, maxBytes)
    } catch (cause) {
      // It may come back as it was.
      this.#stamp = this.#met = undefined
      this.#tellOf(cause)
      return 'same'
    }
    const hash = createHash('sha256').update(found.bytes).digest('base64')
    const isKnown = hash === this.#taken?.hash || hash === this.#refused?.hash
    if (!isKnown && when === 'again' && hash !== this.#met) {
      this.#met = hash
      return 'settling'
    }
    // Clocks of disks are coarse: what was written in the same tick is only seen by reading once more.
    this.#stamp = isKnown ? found.stat.stamp : undefined
    this.#met = undefined
    const isNew = !isKnown && (await this.#parse(hash, found.bytes))
    if (this.#isClosed) return 'same'
    if (hash === this.#refused?.hash) this.#tellOf(this.#refused.cause)
    else this.#note(found.stat)
    if (isNew && when === 'again') onChange()
    return 'same'
  }

  /** @returns whether it was taken */
  async #parse(hash: string, bytes: Buffer): Promise<boolean> {
    const { parse, problemsOf, clock, log, evt, file } = this.#o
    try {
      const value = await parse(decodeUtf8(bytes), new TimeSlice(clock))
      if (this.#isClosed) return false
      this.#taken = { hash, value, problems: problemsOf?.(value) ?? [] }
      this.#refused = undefined
      log.info({ evt, file, notUsed: this.#taken.problems.length }, 'the file is in force')
      return true
    } catch (cause) {
      this.#refused = { hash, cause }
      return false
    }
  }

  #note(stat: FileStat): void {
    const { log, evt } = this.#o
    const before = new Set(this.problems().map(({ message }) => message))
    this.#error = undefined
    this.#notes = this.#notesOf(stat)
    for (const err of this.#notes) if (!before.has(err.message)) log.warn({ evt, err }, 'the file has problems')
  }
  #tellOf(cause: unknown): void {
    const { log, evt, without } = this.#o
    const before = this.#error?.message
    const what = cause instanceof Error ? cause.message : String(cause)
    const err = (this.#error = this.#problem(
      `${what}; ${this.#taken ? 'what was read before counts' : without}`,
      cause,
    ))
    if (err.message !== before) log.warn({ evt, err }, 'the file cannot be used')
  }

  #notesOf({ mode }: FileStat): MeshError[] {
    const lines = this.#taken?.problems ?? []
    const isExposed = this.#o.isSecret && (mode & READABLE_BY_ANYBODY) !== 0
    return [
      ...(lines.length === 0 ? [] : [summarize(lines)]),
      ...(isExposed ? ['everybody on this machine may read it (chmod 0600)'] : []),
    ].map((text) => this.#problem(text))
  }

  #problem(text: string, cause?: unknown): MeshError {
    const { setting, file, code } = this.#o
    return new MeshError(code, `${setting} ${toPrintable(file)}: ${text}`, { cause })
  }
}

/** A few of them say where to look. */
const MAX_SHOWN = 5
function summarize(lines: readonly string[]): string {
  const more = lines.length - MAX_SHOWN
  return `${lines.slice(0, MAX_SHOWN).join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}
