/**
 * A file of secrets that is read again when it changes. While what stands there cannot be used, what was read last
 * stays in force, and the problem is told.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import { toPrintable } from '../../../core/printable.ts'

const POLL_MS = 2_000
const [BY_OTHERS, BY_ANYBODY] = [0o022, 0o004]

export type WatchedFileOptions<T> = {
  readonly file: string
  /** Name of the setting that names it. */
  readonly setting: string
  readonly maxBytes: number
  /** Throws an Error that says what is wrong. */
  readonly parse: (text: string) => T
  /** Of what was read and is used: lines that are not. */
  readonly problemsOf: (content: T) => readonly string[]
  /** Whether it has secrets, so that others should not read it. */
  readonly isSecret: boolean
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Log
  readonly onChange: () => void
}

export class WatchedFile<T> implements Disposable {
  readonly #o: WatchedFileOptions<T>
  readonly #timer: Timer
  #content: T | undefined
  /** Of the file that was looked at last. */
  #stamp: string | undefined
  #error: MeshError | undefined
  #notes: readonly MeshError[] = []

  constructor(options: WatchedFileOptions<T>) {
    this.#o = options
    this.#look()
    this.#timer = options.clock.after(POLL_MS, () => {
      this.#timer.refresh()
      this.#look()
    })
  }
  [Symbol.dispose](): void {
    this.#timer.cancel()
  }

  /** What was last read. @throws MESH_MQTT_USERS_FILE while nothing could be read ever */
  get content(): T {
    if (this.#content === undefined) throw this.#error ?? this.#problem('it was not read yet')
    return this.#content
  }
  /** The same; undefined while nothing could be read ever. */
  get current(): T | undefined {
    return this.#content
  }
  problems(): readonly MeshError[] {
    return this.#error ? [this.#error] : this.#notes
  }

  #look(): void {
    try {
      this.#read()
    } catch (cause) {
      const before = this.#error?.message
      const what = cause instanceof Error ? cause.message : String(cause)
      const since = this.#content === undefined ? 'nobody gets in by it' : 'what was read before counts'
      this.#error = this.#problem(`${what}; ${since}`, cause)
      if (this.#error.message !== before)
        this.#o.log.warn({ evt: 'mqtt.users', err: this.#error }, 'a file of mqtt.users cannot be used')
    }
  }

  #read(): void {
    const { disk, file, maxBytes, log } = this.#o
    // Before the content: what changes in between is read at the next look.
    const found = disk.stat(file)
    if (!found) {
      this.#stamp = undefined
      throw new Error('there is no such file')
    }
    if (found.stamp === this.#stamp) return
    if ((found.mode & BY_OTHERS) !== 0)
      throw new Error('others than its owner may write it, so it proves nothing (chmod 0600)')
    const bytes = disk.read(file)
    if (!bytes) throw new Error('there is no such file')
    // Whatever is in it, it is not read again until it changes.
    this.#stamp = found.stamp
    if (bytes.length > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`)
    const content = this.#o.parse(textOf(bytes))
    this.#content = content
    this.#error = undefined
    this.#notes = this.#notesOf(content, found)
    log.info({ evt: 'mqtt.users', file, notUsed: this.#o.problemsOf(content).length }, 'a file of mqtt.users was read')
    for (const err of this.#notes) log.warn({ evt: 'mqtt.users', err }, 'a file of mqtt.users has problems')
    this.#o.onChange()
  }

  #notesOf(content: T, { mode, isOurs }: { mode: number; isOurs: boolean }): MeshError[] {
    const lines = this.#o.problemsOf(content)
    return [
      ...(lines.length === 0 ? [] : [summary(lines)]),
      ...(this.#o.isSecret && (mode & BY_ANYBODY) !== 0 ? ['everybody on this machine may read it (chmod 0600)'] : []),
      ...(isOurs ? [] : ["it belongs neither to root nor to meshlet's user: whoever has it can change who gets in"]),
    ].map((text) => this.#problem(text))
  }

  #problem(text: string, cause?: unknown): MeshError {
    const { setting, file } = this.#o
    return new MeshError('MESH_MQTT_USERS_FILE', `${setting} ${toPrintable(file)}: ${text}`, { cause })
  }
}

/** A few of them say where to look. */
const MAX_SHOWN = 5
function summary(lines: readonly string[]): string {
  const more = lines.length - MAX_SHOWN
  return `${lines.slice(0, MAX_SHOWN).join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error('it is no UTF-8', { cause })
  }
}
