/**
 * Starting real programs for the conformance tests: each in a folder of its own, with its output kept, and gone when
 * the test ends.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

export type Finally = { after(fn: () => void | Promise<void>): void }
export type Ended = { readonly code: number | null; readonly out: string; readonly err: string }
/** No NODE_PATH, no npm variables: what a program finds, it finds by itself. */
export const BARE_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' }
const DIST = path.resolve(import.meta.dirname, '../../dist')

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

/** An empty folder of the test's own under the temporary folder, removed with all content at the end. */
export function temporaryFolder(t: Finally, mode = 0o700): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-conformance-'))
  fs.chmodSync(folder, mode)
  t.after(() => {
    fs.rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

/** A built bundle of this machine's architecture. `node tools/conformance.ts` builds it. */
export function distFile(name: 'meshlet.cjs' | 'meshlet-hub.cjs'): string {
  const file = path.join(DIST, name)
  if (!fs.existsSync(file))
    throw new Error(
      `dist/${name} is missing: run the tests by \`npm run test:conformance\`, or \`npm run build\` first`,
    )
  return file
}

export class Running {
  readonly name: string
  readonly child: ChildProcess
  readonly ended: Promise<number | NodeJS.Signals>
  #log = ''
  constructor(name: string, child: ChildProcess) {
    this.name = name
    this.child = child
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (bytes: Buffer) => {
        this.#log = (this.#log + bytes.toString()).slice(-400_000)
      })
    this.ended = once(child, 'exit').then(([code, signal]) => (code as number | null) ?? (signal as NodeJS.Signals))
  }
  get log(): string {
    return this.#log
  }
  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Exit code or signal name. Kills for good after 20 seconds. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    if (!this.running) return this.ended
    this.child.kill(signal)
    const late = setTimeout(() => this.child.kill('SIGKILL'), 20_000)
    try {
      return await this.ended
    } finally {
      clearTimeout(late)
    }
  }
  /** Repeats `ask` until it gives something other than undefined or false; rejects with the program's last output. */
  until<T>(
    what: string,
    ask: () => T | undefined | false | Promise<T | undefined | false>,
    withinMs = 20_000,
  ): Promise<T> {
    return until(what, ask, withinMs, () => {
      if (!this.running) throw new Error(`${this.name} ended while waiting for: ${what}\n${this.#log.slice(-4000)}`)
      return this.#log.slice(-4000)
    })
  }
  async listening(port: number, host = '127.0.0.1'): Promise<void> {
    await this.until(
      `port ${port} is open`,
      () =>
        new Promise<boolean>((resolve) => {
          const socket = net.connect({ port, host })
          socket.once('connect', () => {
            socket.destroy()
            resolve(true)
          })
          socket.once('error', () => {
            resolve(false)
          })
        }),
    )
  }
}

/** Starts a program that is killed when the test ends. */
export function start(
  t: Finally,
  command: string,
  args: readonly string[],
  o: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Running {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: o.cwd ?? os.tmpdir(),
    env: { ...BARE_ENV, ...o.env },
  })
  const running = new Running(path.basename(args.find((a) => /\.[a-z]?js$/.test(a)) ?? command), child)
  child.on('error', () => {
    /* `ended` and `until` tell it */
  })
  t.after(async () => {
    await running.stop('SIGKILL')
  })
  return running
}

/** Runs a program to its end; does not reject for an exit code. */
export function run(
  command: string,
  args: readonly string[],
  o: {
    readonly cwd?: string
    readonly env?: Record<string, string>
    readonly input?: string | Buffer
    readonly timeoutMs?: number
  } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        cwd: o.cwd ?? os.tmpdir(),
        env: { ...BARE_ENV, ...o.env },
        maxBuffer: 512 * 1024 * 1024,
        timeout: o.timeoutMs ?? 60_000,
        killSignal: 'SIGKILL',
      },
      (err, out, stderr) => {
        if (err && typeof err.code === 'string') reject(err)
        else resolve({ code: child.exitCode, out, err: stderr })
      },
    )
    child.stdin?.on('error', () => {
      /* it may end before it has read everything */
    })
    child.stdin?.end(o.input)
  })
}

export async function until<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  withinMs = 20_000,
  details: () => string = () => '',
): Promise<T> {
  const by = performance.now() + withinMs
  for (;;) {
    const got = await ask()
    if (got !== undefined && got !== false) return got
    const more = details()
    if (performance.now() > by) throw new Error(`${what} did not happen within ${withinMs} ms\n${more}`)
    await sleep(20)
  }
}

/** Something that is to be cleared away at once, and not with a test. */
export async function withEnds<T>(work: (t: Finally) => Promise<T>): Promise<T> {
  const ends: (() => void | Promise<void>)[] = []
  try {
    return await work({ after: (end) => ends.push(end) })
  } finally {
    for (const end of ends.reverse()) await end()
  }
}
