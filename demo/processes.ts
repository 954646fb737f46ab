/** Starting, watching and killing the demo's real processes. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

export class Program implements AsyncDisposable {
  readonly #name: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined
  #log = ''
  readonly #logFile: string
  /** @param logFile gets everything that the program prints, over all its starts */
  constructor(name: string, args: readonly string[], logFile: string) {
    this.#name = name
    this.#args = args
    this.#logFile = logFile
  }

  /** Milliseconds of performance.now() at which exec was asked for. */
  start(): number {
    const at = performance.now()
    const child = spawn(process.execPath, this.#args, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (d: Buffer) => {
        this.#log = (this.#log + d.toString()).slice(-200_000)
        fs.appendFileSync(this.#logFile, d)
      })
    this.#child = child
    return at
  }
  get log(): string {
    return this.#log
  }
  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (!child || !this.running) return
    const gone = once(child, 'exit')
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), 20_000)
    await gone
    clearTimeout(late)
  }
  /** Repeats `ask` until it gives something; throws with the program's last output after `withinMs`. */
  async until<T>(what: string, ask: () => Promise<T | undefined | false>, withinMs = 20_000): Promise<T> {
    const by = performance.now() + withinMs
    for (;;) {
      const got = await ask().catch(() => undefined)
      if (got !== undefined && got !== false) return got
      if (!this.running) throw new Error(`${this.#name} ended while waiting for: ${what}\n${this.#log.slice(-4000)}`)
      if (performance.now() > by)
        throw new Error(`${this.#name}: ${what} did not happen within ${withinMs} ms\n${this.#log.slice(-4000)}`)
      await sleep(20)
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGTERM')
  }
}

export async function getJson<T>(port: number, path: string): Promise<T | undefined> {
  const text = await getText(port, path)
  return text === undefined ? undefined : (JSON.parse(text) as T)
}

export function getText(port: number, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const req = http.get({ port, host: '127.0.0.1', path, timeout: 5_000, agent: false }, (res) => {
      let body = ''
      res.on('data', (d: Buffer) => {
        body += d.toString()
      })
      res.on('end', () => resolve(res.statusCode === 200 ? body : undefined))
    })
    req.on('error', () => resolve(undefined))
  })
}

/** Value of a counter, summed over its series whose text contains every word of `by`. */
export async function readCounter(adminPort: number, name: string, ...by: string[]): Promise<number> {
  const text = (await getText(adminPort, '/stats/prometheus')) ?? ''
  return text
    .split('\n')
    .filter((l) => (l.startsWith(`${name}{`) || l.startsWith(`${name} `)) && by.every((w) => l.includes(w)))
    .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' ') + 1)), 0)
}

/** Time from `startedAt` until the port answers the bytes with a first byte, in milliseconds. */
export async function measureFirstAnswerMs(
  startedAt: number,
  port: number,
  ask: string | Buffer,
  answered: (reply: Buffer) => boolean,
  withinMs: number,
): Promise<number> {
  while (performance.now() - startedAt < withinMs) {
    const reply = await exchange(port, ask)
    if (reply && answered(reply)) return performance.now() - startedAt
    await sleep(2)
  }
  throw new Error(`port ${port} did not answer within ${withinMs} ms`)
}

function exchange(port: number, ask: string | Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    const done = (reply: Buffer | undefined): void => {
      socket.destroy()
      resolve(reply)
    }
    socket.setTimeout(1_000, () => done(undefined))
    socket.on('connect', () => socket.write(ask))
    socket.on('data', done)
    socket.on('error', () => done(undefined))
    socket.on('close', () => done(undefined))
  })
}
