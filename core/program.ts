/** What a program does with the streams and the signals of its process. */
import fs from 'node:fs'
import { hearUncaught } from './defects/last-line.ts'
import { asError, isJournal, LogOutput } from './log-output.ts'
import { hearSignals, stopRequested } from './os/signals.ts'
import { escapeForTerminal } from './printable.ts'

export type ProgramIo = {
  readonly out: (text: string) => void
  readonly outBytes: (bytes: Uint8Array) => void
  readonly isTerminal: boolean
  readonly err: (text: string) => void
  /** Made when it is asked for first: a command that ends needs none. */
  readonly logOutput: () => LogOutput
  readonly stopRequested: () => Promise<string>
  readonly hearSignals: (heard: (signal: string) => void) => Disposable
  readonly uncaught: (heard: (thrown: unknown) => void) => Disposable
}

export class Program {
  readonly #process: NodeJS.Process
  #log: LogOutput | undefined

  constructor(process: NodeJS.Process) {
    this.#process = process
  }

  get log(): LogOutput | undefined {
    return this.#log
  }

  get io(): ProgramIo {
    const { stdout, stderr } = this.#process
    return {
      out: (text) => {
        stdout.write(stdout.isTTY ? escapeForTerminal(text) : text)
      },
      outBytes: (bytes) => {
        stdout.write(bytes)
      },
      isTerminal: stdout.isTTY,
      err: (text) => {
        stderr.write(this.#isJournal(2) ? asError(escapeForTerminal(text)) : escapeForTerminal(text))
      },
      logOutput: () => (this.#log ??= new LogOutput(stdout, { isJournal: this.#isJournal(1) })),
      stopRequested: () => stopRequested(this.#process, stdout.isTTY),
      hearSignals: (heard) => hearSignals(this.#process, heard),
      uncaught: (heard) => hearUncaught(this.#process, heard),
    }
  }

  #isJournal(fd: 1 | 2): boolean {
    return isJournal(this.#process.env['JOURNAL_STREAM'], fs.fstatSync(fd))
  }
}
