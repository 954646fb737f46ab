/**
 * Where log lines go: the stream behind standard output, with a bound for what its reader has not taken. A reader that
 * stalls costs lines, which are counted, and neither memory nor time: pipes and sockets are written without waiting,
 * and nobody waits for them at the end.
 */
import type { Writable } from 'node:stream'
import { guard, doNothing } from './defects/guard.ts'
import { RecentLines } from './runtime/recent-lines.ts'

/** What journald makes priorities of, sd-daemon(3). */
const PREFIX: readonly (readonly [level: number, prefix: string])[] = [
  [60, '<2>'],
  [50, '<3>'],
  [40, '<4>'],
  [30, '<6>'],
  [0, '<7>'],
]
const METADATA: unique symbol = Symbol.for('pino.metadata')
const MAX_BYTES = 256 * 1024

export class LogOutput {
  /** Asks pino to say the level of each line in `lastLevel`. */
  readonly [METADATA] = true
  lastLevel = 30
  /** Lines that nobody took. */
  dropped = 0
  /** Told each line of the log, and pino's number of its level. */
  onLine: ((line: string, level: number) => void) | undefined
  readonly #recent = new RecentLines()
  readonly #stream: Writable
  readonly #maxBytes: number
  readonly #isJournal: boolean
  #untold = 0

  /** @param isJournal the lines get priorities in front */
  constructor(stream: Writable, { isJournal, maxBytes = MAX_BYTES }: { isJournal: boolean; maxBytes?: number }) {
    this.#stream = stream
    this.#maxBytes = maxBytes
    this.#isJournal = isJournal
    // Written to, it would be one more shape of socket where Node looks for timers; it has none (docs/performance.md).
    if ('_unrefTimer' in stream) Object.defineProperty(stream, '_unrefTimer', { value: doNothing })
    stream.on(
      'drain',
      guard('process', doNothing, () => this.#tellDropped()),
    )
  }

  /** Of the log, as they were written: the newest so many, oldest first. */
  recentLines(most: number): readonly string[] {
    return this.#recent.last(most)
  }

  write(line: string): void {
    const stream = this.#stream
    this.#recent.add(line)
    this.onLine?.(line, this.lastLevel)
    if (stream.destroyed || stream.writableEnded || stream.writableLength + line.length > this.#maxBytes) {
      this.dropped++
      this.#untold++
      return
    }
    // A file is written at once, and a full disk says so here.
    try {
      stream.write(this.#isJournal ? prefixOf(this.lastLevel) + line : line)
    } catch {
      this.dropped++
    }
  }

  /**
   * A line of an access log, as it is: bytes with their end.
   * @returns false when nobody takes it
   */
  writeLine(line: Uint8Array): boolean {
    const stream = this.#stream
    if (stream.destroyed || stream.writableEnded || stream.writableLength + line.length > this.#maxBytes) return false
    try {
      stream.write(this.#isJournal ? Buffer.concat([Buffer.from(prefixOf(30)), line]) : line)
      return true
    } catch {
      return false
    }
  }

  /** Something is still to be taken. */
  get isPending(): boolean {
    return !this.#stream.destroyed && this.#stream.writableLength > 0
  }

  #tellDropped(): void {
    if (this.#untold === 0) return
    const lines = this.#untold
    this.#untold = 0
    this.lastLevel = 40
    this.write(
      `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), evt: 'log.dropped', lines, msg: 'nobody read the log: lines are missing here' })}\n`,
    )
  }
}

function prefixOf(level: number): string {
  return PREFIX.find(([least]) => level >= least)![1]
}

/** A message for people on standard error, which journald takes for an error then. */
export function asError(text: string): string {
  return text.replace(/^(?=.)/gm, '<3>')
}

/** Whether a file is the journal's socket: systemd says device and inode of it (JOURNAL_STREAM, systemd.exec(5)). */
export function isJournal(
  journalStream: string | undefined,
  { dev, ino }: { readonly dev: number; readonly ino: number },
): boolean {
  return journalStream === `${dev}:${ino}`
}
