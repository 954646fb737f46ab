/** The program: argv, environment, signals, exit code. The only file of the agent that touches the process. */
import { runCli } from './cli/program.ts'

async function main(): Promise<void> {
  const code = await runCli(process.argv.slice(2), {
    out: (text) => { process.stdout.write(text) },
    err: (text) => { process.stderr.write(text) },
    env: process.env,
    standardInput: async () => Buffer.concat((await process.stdin.toArray()) as Buffer[]),
    stopRequested: () => new Promise((resolve) => { for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal)) }),
  })
  process.exitCode = code
}

// A pipe that the reader closed (`meshlet config dump | head`) is no failure.
process.stdout.on('error', (err: NodeJS.ErrnoException) => { if (err.code !== 'EPIPE') throw err })
void main()
