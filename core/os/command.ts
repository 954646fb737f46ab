/** Runs a program of this machine. */
import type { Readable } from 'node:stream'
import type * as ChildProcess from 'node:child_process'
import { createRequire } from 'node:module'
import { guard, doNothing } from '../defects/guard.ts'

/** `code` undefined: a signal ended it. `output`: the beginning of what it wrote to either stream. */
export type CommandResult = { readonly code: number | undefined; readonly output: string }
/**
 * No shell; nothing to read; PATH is all it gets of the environment. When `signal` aborts, it is killed with everything
 * it has started. Rejects with the OS error when it cannot be started, or with the signal's reason.
 */
export type RunCommand = (argv: readonly string[], signal: AbortSignal) => Promise<CommandResult>

const MAX_OUTPUT_BYTES = 4_096
/** What an ended program has written is there by then. */
const OUTPUT_MS = 100

export const runSystemCommand: RunCommand = ([program = '', ...args], signal) =>
  new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const { spawn } = createRequire(import.meta.url)('node:child_process') as typeof ChildProcess
    // A process group of its own, so that it can be killed whole.
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { PATH: process.env['PATH'] },
    })
    const kept = collectOutput([child.stdout, child.stderr])
    const killAll = (): void => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        /* gone already, or never there */
      }
    }
    const over = (): void => {
      signal.removeEventListener('abort', onAbort)
      for (const pipe of [child.stdout, child.stderr]) pipe.destroy()
    }
    const onAbort = guard('process', reject, () => {
      killAll()
      over()
      reject(signal.reason)
    })
    signal.addEventListener('abort', onAbort, { once: true })
    child.once(
      'error',
      guard('process', reject, (err: Error) => {
        over()
        reject(err)
      }),
    )
    child.once(
      'exit',
      guard('process', reject, (code: number | null) => {
        // What it left behind would hold its output open; what has left the group as well may do so, but is not waited
        // for.
        killAll()
        const finish = guard('process', reject, () => {
          clearTimeout(late)
          over()
          resolve({ code: code ?? undefined, output: Buffer.concat(kept).toString('utf8') })
        })
        const late = setTimeout(finish, OUTPUT_MS)
        child.once('close', finish)
      }),
    )
  })

/** @returns what the pipes bring, at most MAX_OUTPUT_BYTES of both together; it grows as they go on */
function collectOutput(pipes: readonly Readable[]): readonly Buffer[] {
  const kept: Buffer[] = []
  let keptBytes = 0
  const keep = guard('process', doNothing, (chunk: Buffer): void => {
    if (keptBytes >= MAX_OUTPUT_BYTES) return
    kept.push(chunk.subarray(0, MAX_OUTPUT_BYTES - keptBytes))
    keptBytes += kept.at(-1)!.length
  })
  for (const pipe of pipes) pipe.on('data', keep)
  return kept
}
