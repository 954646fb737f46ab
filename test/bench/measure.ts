/** Starting a subject on a core of its own and reading what it cost. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import { once } from 'node:events'
import { freePorts } from '../../tools/free-ports.ts'
import { sleep } from '../conformance/programs.ts'

export const SUBJECT_CORE = '0'
export const LOAD_CORE = '1'
/** Time to save what is in memory. */
const END_MS = 20_000

export type Running = AsyncDisposable & { readonly pid: number; readonly output: () => string }

/** Starts `command` on one core. Disposing ends it by its pid and waits until it is gone. */
export function startPinned(
  core: string,
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Running {
  const child = spawn('taskset', ['-c', core, command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd ? { cwd: options.cwd } : {}),
  })
  let text = ''
  const keep = (d: Buffer): void => {
    text = (text + d.toString()).slice(-20_000)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  return { pid: child.pid!, output: () => text, [Symbol.asyncDispose]: () => ended(child) }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), END_MS)
  await exit
  clearTimeout(late)
}

export async function run(core: string, command: string, args: readonly string[]): Promise<string> {
  const child = spawn('taskset', ['-c', core, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  child.stdout.on('data', (d: Buffer) => {
    text += d.toString()
  })
  child.stderr.on('data', (d: Buffer) => {
    text += d.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${text}`)
  return text
}

/** CPU nanoseconds of all threads of the process and its children that live now (nginx's and haproxy's workers). */
export function cpuNs(pid: number): number {
  let sum = 0
  for (const p of family(pid)) {
    for (const task of fs.readdirSync(`/proc/${p}/task`)) {
      try {
        sum += Number(fs.readFileSync(`/proc/${p}/task/${task}/schedstat`, 'utf8').split(' ')[0])
      } catch {
        /* the thread has just ended */
      }
    }
  }
  return sum
}

export function rssMiB(pid: number): number {
  return family(pid).reduce(
    (sum, p) => sum + Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${p}/status`, 'utf8'))?.[1] ?? 0) / 1024,
    0,
  )
}

/** Bytes that the process itself had the system write to storage; a folder in memory (tmpfs) counts as none. */
export function writtenBytes(pid: number): number {
  return Number(/^write_bytes: (\d+)/m.exec(fs.readFileSync(`/proc/${pid}/io`, 'utf8'))![1])
}

/** For a process that another file starts: all threads that it has now, and those that they start. */
export function pin(pid: number, core: string): void {
  const { status, stderr } = spawnSync('taskset', ['-a', '-c', '-p', core, String(pid)], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`taskset failed: ${stderr}`)
}

function family(pid: number): number[] {
  const children = fs
    .readdirSync(`/proc/${pid}/task`)
    .flatMap((t) =>
      fs.readFileSync(`/proc/${pid}/task/${t}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
    )
  return [pid, ...children.flatMap(family)]
}

export async function freePort(): Promise<number> {
  const [port] = (await freePorts(1)) as [number]
  return port
}

/** What a load of ours prints once it is there: one line of JSON. Rejects with whatever else it says. */
export async function readFirstLine<T>(load: Running): Promise<T> {
  for (;;) {
    const line = /^\{.*\}$/m.exec(load.output())
    if (line) return JSON.parse(line[0]) as T
    if (load.output() !== '') throw new Error(load.output())
    await sleep(50)
  }
}

/** Resolves once the port accepts; rejects with the subject's output when it ends or takes longer than 10 s. */
export async function untilListening(port: number, subject: Running): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const socket = net.connect(port, '127.0.0.1')
    const ok = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (ok) return
    if (!fs.existsSync(`/proc/${subject.pid}`)) break
    await sleep(25)
  }
  throw new Error(`nothing listens on port ${port}:\n${subject.output()}`)
}

/** The highest since its start. */
export function peakRssMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
}
