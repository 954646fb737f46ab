/** The program: argv, environment, signals, exit code. The only file of the agent that touches the process. */
import v8 from 'node:v8'
import { workerData } from 'node:worker_threads'
import { collectAll, collectYoungAlone, growSlowly } from '../core/runtime/full-gc.ts'
import { runCli } from './cli/program.ts'
import { MOST_LIMIT_BYTES, SMALL_LIMIT_BYTES } from '../core/runtime/garbage-watch.ts'
import { IdleGc } from '../core/runtime/idle-gc.ts'
import { readMemoryLimitBytes } from '../core/runtime/memory-budget.ts'
import { createSecretPrompt } from '../core/os/secret-prompt.ts'
import { takeListenFds } from '../core/os/listen-fds.ts'
import { serveFolderThread } from '../control-sync/directory/folder-thread.ts'
import { readProgramBuild } from '../control-sync/directory/reader.ts'
import { isFolderThread } from '../control-sync/directory/thread-messages.ts'
import { Program } from '../core/program.ts'

const program = new Program(process)

async function main(): Promise<void> {
  const code = await runCli(process.argv.slice(2), {
    ...program.io,
    listenFds: takeListenFds(process.env, process.pid),
    env: process.env,
    pid: process.pid,
    standardInputParts: () => process.stdin,
    standardInput: async () => Buffer.concat((await process.stdin.toArray()) as Buffer[]),
    askSecret: createSecretPrompt(process.stdin, process.stderr),
    giveUpAfter: (ms) => {
      after(ms, () => process.exit(1))
    },
    settled: ({ isIdle, memory, watch }) => {
      const limitBytes = readMemoryLimitBytes()
      // Not before: code that was compiled under other flags is not taken (meshlet precompile, Node's own modules).
      collectYoungAlone()
      if (limitBytes <= MOST_LIMIT_BYTES) growSlowly()
      const idle = new IdleGc({
        isIdle,
        committedBytes: readOldBytes,
        collect: () => {
          collectAll()
          memory.releaseMemory?.()
        },
        trim: () => memory.trimMalloc?.(),
        nowMs: () => performance.now(),
        after,
      })
      // With so little, what the start has left must be gone before somebody sends much.
      if (limitBytes < SMALL_LIMIT_BYTES) idle.collect()
      after(SETTLED_MS, () => {
        idle.changed()
        watch(() => idle.changed())
      })
    },
  })
  process.exitCode = code
  // A reader that does not take the log must not keep the process from ending.
  if (program.log?.isPending) after(LAST_LINES_MS, () => process.exit(code))
}

/** Committed for what is not young: that regrows with whatever runs next. */
function readOldBytes(): number {
  const young = v8.getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')
  return v8.getHeapStatistics().total_heap_size - (young?.space_size ?? 0)
}

/** For the last lines of the log to be taken. */
const LAST_LINES_MS = 500
/** Long enough for the first connections of a restart to have been served. */
const SETTLED_MS = 1_500
function after(ms: number, fn: () => void): void {
  setTimeout(fn, ms).unref()
}

if (isFolderThread(workerData)) serveFolderThread(readProgramBuild())
else {
  // A pipe that the reader closed (`meshlet config dump | head`) is no failure. The log of a program that goes on is
  // not worth its end.
  process.stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code !== 'EPIPE' && !program.log) throw err
  })
  void main()
}
