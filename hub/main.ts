/** The hub's program: argv, environment, signals, exit code. The only file of the hub that touches the process. */
import path from 'node:path'
import v8 from 'node:v8'
import { Duplex } from 'node:stream'
import { workerData } from 'node:worker_threads'
import { serveFolderThread } from '../control-sync/directory/folder-thread.ts'
import { readProgramBuild } from '../control-sync/directory/reader.ts'
import { isFolderThread } from '../control-sync/directory/thread-messages.ts'
import { createSecretPrompt } from '../core/os/secret-prompt.ts'
import { Program } from '../core/program.ts'
import { collectAll } from '../core/runtime/full-gc.ts'
import { guard, doNothing } from '../core/defects/guard.ts'
import { readEnvironmentProxy } from '../model/fleet/environment-proxy.ts'
import { runCli } from './cli/program.ts'
import { LOOK_MS, QuietGc } from './quiet-gc.ts'

const program = new Program(process)

async function main(): Promise<void> {
  const code = await runCli(process.argv.slice(2), {
    ...program.io,
    operator: process.env['SUDO_USER'],
    hub: process.env['MESHLET_HUB'],
    savedLogins: placeLogins(process.env),
    hasBrowser: findsBrowser(process.env, process.platform),
    readProxy: () => readEnvironmentProxy(process.env),
    standardInput: async () => Buffer.concat((await process.stdin.toArray()) as Buffer[]),
    askSecret: createSecretPrompt(process.stdin, process.stderr),
    stdio: () => joinStdio(process),
    serving: collectWhenQuiet,
    giveUpAfter: (ms) => {
      setTimeout(() => process.exit(1), ms).unref()
    },
  })
  process.exitCode = code
  // A reader that does not take the log must not keep the process from ending.
  if (program.log?.isPending) setTimeout(() => process.exit(code), LAST_LINES_MS).unref()
}

/** As the XDG Base Directory Specification has it; an empty variable is none. */
function placeLogins({ XDG_CONFIG_HOME: config = '', HOME: home = '' }: NodeJS.ProcessEnv): string | undefined {
  const folder = config !== '' ? config : home === '' ? undefined : path.join(home, '.config')
  return folder === undefined ? undefined : path.join(folder, 'meshlet-hub', 'logins.json')
}

/** Of Linux and the BSDs a display says so (also one that SSH brings); elsewhere, that nobody is here by SSH. */
function findsBrowser(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): boolean {
  if (platform === 'darwin' || platform === 'win32') return env['SSH_CONNECTION'] === undefined
  return Boolean(env['DISPLAY'] || env['WAYLAND_DISPLAY'])
}

/** Its types name the streams of the web only. */
function joinStdio({ stdin: readable, stdout: writable }: NodeJS.Process): Duplex {
  return Duplex.from({ readable, writable } as unknown as Duplex)
}

function collectWhenQuiet(): void {
  let before = performance.eventLoopUtilization()
  const gc = new QuietGc({
    busyShare: () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      return utilization
    },
    committedBytes: () => v8.getHeapStatistics().total_heap_size,
    collect: collectAll,
  })
  setInterval(
    guard('process', doNothing, () => gc.look()),
    LOOK_MS,
  ).unref()
}

/** For the last lines of the log to be taken. */
const LAST_LINES_MS = 500

if (isFolderThread(workerData)) serveFolderThread(readProgramBuild())
else {
  // A pipe that the reader closed (`meshlet-hub devices | head`) is no failure. The log of a program that goes on is
  // not worth its end.
  process.stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code !== 'EPIPE' && !program.log) throw err
  })
  void main()
}
