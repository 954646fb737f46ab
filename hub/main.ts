/** The hub's program: argv, environment, signals, exit code. The only file of the hub that touches the process. */
import { hearUncaught } from '../agent/core/last-line.ts'
import { runCli } from './cli/program.ts'

async function main(): Promise<void> {
  process.exitCode = await runCli(process.argv.slice(2), {
    out: (text) => { process.stdout.write(text) },
    err: (text) => { process.stderr.write(text) },
    stopRequested: () => new Promise((resolve) => { for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal)) }),
    uncaught: (heard) => hearUncaught(process, heard),
    giveUpAfter: (ms) => { setTimeout(() => process.exit(1), ms).unref() },
  })
}

// A pipe that the reader closed (`meshlet-hub devices | head`) is no failure.
process.stdout.on('error', (err: NodeJS.ErrnoException) => { if (err.code !== 'EPIPE') throw err })
void main()
