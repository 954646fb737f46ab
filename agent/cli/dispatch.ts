/** From argv to an exit code. */
import { explain, type ExitCode } from './exit.ts'
import { DEFAULT_CONFIG, type Io } from './io.ts'

/** @returns 0 ok, 1 failed, 2 wrong usage. `run` returns when the agent has stopped. Never rejects. */
export async function dispatch(argv: readonly string[], io: Io): Promise<ExitCode> {
  const config = configOfRun(argv)
  if (config === undefined) return (await import('./program.ts')).runCli(argv, io)
  try { return await (await import('./run.ts')).run({ config }, io) } catch (err) {
    const { text, code } = explain(err)
    io.err(`${text}\n`)
    return code
  }
}

/** What a service manager types at every boot, and an agent then keeps for years, needs no parser for command lines in memory. */
function configOfRun([command, flag, file, ...more]: readonly string[]): string | undefined {
  if (command !== 'run' || more.length > 0) return undefined
  if (flag === undefined) return DEFAULT_CONFIG
  return (flag === '--config' || flag === '-c') && file !== undefined && !file.startsWith('-') ? file : undefined
}
