/**
 * Files that lines are appended to: within permitted folders, written behind by the system's threads, bounded in what waits
 * and in size. A full file is renamed to `<name>.1` in place of the one before.
 */
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import path from 'node:path'
import { detach } from '../../defects/guard.ts'
import type { Clock } from '../clock.ts'

export type LogFilesOptions = {
  /** Absolute. */
  readonly folders: readonly string[]
  readonly maxFileBytes: number
  readonly clock: Clock
  /** A file that cannot be written, and how many lines are lost with it. */
  readonly onFailure: (file: string, err: unknown, lines: number) => void
}

/** What waits for a file. */
const MAX_WAITING_BYTES = 256 * 1024
/** Lines of so long are one write. */
const GATHER_MS = 200
const RETRY_MS = 10_000
const MAX_FILES = 16

export class LogFiles implements AsyncDisposable {
  readonly #o: LogFilesOptions
  readonly #folders: readonly string[]
  readonly #files = new Map<string, LogFile>()

  constructor(options: LogFilesOptions) {
    this.#o = options
    this.#folders = options.folders.map((folder) => path.resolve(folder))
  }

  permits(file: string): boolean {
    if (!path.isAbsolute(file) || file.includes('\0')) return false
    const whole = path.resolve(file)
    return this.#folders.some((folder) => whole.startsWith(folder === '/' ? '/' : `${folder}/`) && whole !== folder)
  }

  /** @returns false: there is no room, or the file is not permitted */
  write(file: string, line: Buffer): boolean {
    if (!this.permits(file)) return false
    let known = this.#files.get(file)
    if (!known) {
      if (this.#files.size >= MAX_FILES) return false
      known = new LogFile(path.resolve(file), this.#folders, this.#o)
      this.#files.set(file, known)
    }
    return known.write(line)
  }

  /** Resolves when what waits is written. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.end()))
    this.#files.clear()
  }
}

class LogFile {
  readonly #path: string
  readonly #folders: readonly string[]
  readonly #o: LogFilesOptions
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #writing: Promise<void> | undefined
  #timer: Disposable | undefined
  #handle: fsp.FileHandle | undefined
  #sizeBytes = 0
  #retryMs = -Infinity

  constructor(file: string, folders: readonly string[], options: LogFilesOptions) {
    this.#path = file
    this.#folders = folders
    this.#o = options
  }

  write(line: Buffer): boolean {
    if (this.#waitingBytes + line.length > MAX_WAITING_BYTES) return false
    this.#waiting.push(line)
    this.#waitingBytes += line.length
    if (!this.#timer && !this.#writing) {
      const timer = this.#o.clock.after(GATHER_MS, () => {
        this.#timer = undefined
        this.#flush()
      })
      this.#timer = { [Symbol.dispose]: () => timer.cancel() }
    }
    return true
  }

  async end(): Promise<void> {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    await this.#writing
    this.#flush()
    await this.#writing
    await this.#handle?.close()
    this.#handle = undefined
  }

  #flush(): void {
    if (this.#writing || this.#waiting.length === 0) return
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = undefined
    })
    detach('process', this.#writing)
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      if (this.#o.clock.monotonicMs() < this.#retryMs) return
      const lines = this.#waiting.length
      const bytes = Buffer.concat(this.#waiting)
      this.#waiting = []
      try {
        this.#handle ??= await this.#open()
        await this.#handle.appendFile(bytes)
        this.#sizeBytes += bytes.length
        if (this.#sizeBytes >= this.#o.maxFileBytes) await this.#rotate()
      } catch (err) {
        this.#retryMs = this.#o.clock.monotonicMs() + RETRY_MS
        this.#o.onFailure(this.#path, err, lines)
        await this.#handle?.close().catch(() => undefined)
        this.#handle = undefined
      } finally {
        this.#waitingBytes -= bytes.length
      }
    }
  }

  /** No link is followed, neither of the file nor out of the permitted folders. */
  async #open(): Promise<fsp.FileHandle> {
    const folder = await fsp.realpath(path.dirname(this.#path))
    const permitted = await Promise.all(this.#folders.map((one) => fsp.realpath(one).catch(() => one)))
    if (!permitted.some((one) => folder === one || folder.startsWith(`${one}/`)))
      throw new Error('a symbolic link leads out of the permitted folders (telemetry.accessLogs.folders)')
    const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = fs.constants
    // Not to wait for the reader of a pipe that somebody put there.
    const handle = await fsp.open(this.#path, O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_WRONLY, 0o640)
    const found = await handle.stat()
    if (!found.isFile()) {
      await handle.close()
      throw new Error('it is no regular file')
    }
    this.#sizeBytes = found.size
    return handle
  }

  async #rotate(): Promise<void> {
    await this.#handle?.close()
    this.#handle = undefined
    await fsp.rename(this.#path, `${this.#path}.1`)
  }
}
