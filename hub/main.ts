/** The hub's program: argv, environment, signals, exit code. The only file of the hub that touches the process. */
import fs from 'node:fs'
import { workerData } from 'node:worker_threads'
import { hearUncaught } from '../core/defects/last-line.ts'
import { asError, isJournal, LogOutput } from '../core/log-output.ts'
import { serveFolderThread } from '../control-sync/directory/folder-thread.ts'
import { programBuild } from '../control-sync/directory/reader.ts'
import { isFolderThread } from '../control-sync/directory/thread-messages.ts'
import { forTerminal } from '../core/printable.ts'
import { hearSignals, stopRequested } from '../core/os/signals.ts'
import { runCli } from './cli/program.ts'

let made: LogOutput | undefined
function logOutput(): LogOutput {
  return (made ??= new LogOutput(process.stdout, {
    isJournal: isJournal(process.env['JOURNAL_STREAM'], fs.fstatSync(1)),
  }))
}

async function main(): Promise<void> {
  const code = await runCli(process.argv.slice(2), {
    err: (text) => {
      process.stderr.write(
        isJournal(process.env['JOURNAL_STREAM'], fs.fstatSync(2)) ? asError(forTerminal(text)) : forTerminal(text),
      )
    },
    out: (text) => {
      process.stdout.write(process.stdout.isTTY ? forTerminal(text) : text)
    },
    logOutput,
    stopRequested: () => stopRequested(process, process.stdout.isTTY),
    hearSignals: (heard) => hearSignals(process, heard),
    uncaught: (heard) => hearUncaught(process, heard),
    giveUpAfter: (ms) => {
      setTimeout(() => process.exit(1), ms).unref()
    },
  })
  process.exitCode = code
  // Who does not read the log keeps nobody from ending.
  if (made?.isPending) setTimeout(() => process.exit(code), LAST_LINES_MS).unref()
}

/** For the last lines of the log to be taken. */
const LAST_LINES_MS = 500

if (isFolderThread(workerData)) serveFolderThread(programBuild())
else {
  // A pipe that the reader closed (`meshlet-hub devices | head`) is no failure. The log of a program that goes on is
  // not worth its end.
  process.stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code !== 'EPIPE' && !made) throw err
  })
  void main()
}
