/** From argv to an exit code. */
import { bundle } from '../../core/runtime/bundle.ts'
import { startWorker } from '../../core/storage/thread-handle.ts'
import { explain, type ExitCode } from './exit.ts'
import type { Io } from './io.ts'
import type { ConfigSource } from './read-config.ts'

/** @returns 0 ok, 1 failed, 2 wrong usage. `run` returns when the agent has stopped. Never rejects. */
export async function dispatch(argv: readonly string[], io: Io): Promise<ExitCode> {
  const source = sourceOfRun(argv)
  if (source === undefined) return (await import('./program.ts')).runCli(argv, io)
  const worker = startWorker(bundle)
  try {
    return await (await import('./run.ts')).run(source, io, worker)
  } catch (err) {
    const { text, code } = explain(err)
    io.err(`${text}\n`)
    return code
  }
}

/**
 * What a service manager types at every boot, and an agent then keeps for years, needs no parser for command lines in
 * memory.
 */
function sourceOfRun([command, ...rest]: readonly string[]): ConfigSource | undefined {
  if (command !== 'run') return undefined
  const source: { config?: string; istio?: string } = {}
  for (let i = 0; i < rest.length; i += 2) {
    const [flag, value] = rest.slice(i, i + 2)
    const name = flag === '-c' || flag === '--config' ? 'config' : flag === '--istio' ? 'istio' : undefined
    // Anything else is for the parser to refuse, or to explain.
    if (name === undefined || value === undefined || value.startsWith('-') || source[name] !== undefined)
      return undefined
    source[name] = value
  }
  return source
}
