/**
 * A program that may have so much memory and no more: in a control group that is made for it (v2 where its memory
 * controller can be had, else v1), or, where none may be made, with its RSS looked at often.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'

const LOOK_MS = 50
export type How = 'cgroup v2' | 'cgroup v1' | 'RSS sampling'

type Group = { readonly how: How; readonly folder: string; readonly limit: string; readonly peak: string }
const MOUNTS: readonly Omit<Group, 'folder'>[] = [
  { how: 'cgroup v2', limit: 'memory.max', peak: 'memory.peak' },
  { how: 'cgroup v1', limit: 'memory.limit_in_bytes', peak: 'memory.max_usage_in_bytes' },
]

export class Confined implements AsyncDisposable {
  readonly child: ChildProcess
  readonly how: How
  readonly #group: Group | undefined
  readonly #look: NodeJS.Timeout
  #peakRss = 0
  #log = ''

  /** @param limitBytes undefined = no limit, only measured */
  constructor(limitBytes: number | undefined, command: readonly string[], env: NodeJS.ProcessEnv) {
    this.#group = limitBytes === undefined ? undefined : groupOf(limitBytes)
    this.how = this.#group?.how ?? 'RSS sampling'
    const into = this.#group ? `echo $$ > ${this.#group.folder}/cgroup.procs; ` : ''
    this.child = spawn('/bin/sh', ['-c', `${into}exec "$@"`, 'sh', ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    })
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.on('data', (bytes: Buffer) => {
        this.#log = (this.#log + bytes.toString()).slice(-20_000)
      })
    this.#look = setInterval(() => {
      this.#peakRss = Math.max(this.#peakRss, this.rssBytes)
    }, LOOK_MS)
  }

  get pid(): number {
    return this.child.pid!
  }
  get log(): string {
    return this.#log
  }
  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }
  /**
   * Anonymous memory and files that are mapped; not the page cache, which a control group counts too and gives back.
   */
  get rssBytes(): number {
    return kib(this.pid, 'VmRSS') * 1024
  }
  /** Since the start, or since `forgetPeak`. */
  get peakRssBytes(): number {
    return (this.#peakRss = Math.max(this.#peakRss, this.rssBytes))
  }
  forgetPeak(): void {
    this.#peakRss = 0
  }
  /** Of the whole group, the page cache included. */
  get groupPeakBytes(): number | undefined {
    try {
      return this.#group && Number(fs.readFileSync(path.join(this.#group.folder, this.#group.peak), 'utf8'))
    } catch {
      return undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#look)
    if (this.isRunning) {
      const exit = once(this.child, 'exit')
      this.child.kill('SIGKILL')
      await exit
    }
    if (this.#group) await removed(this.#group.folder)
  }
}

function groupOf(limitBytes: number): Group | undefined {
  for (const kind of MOUNTS) {
    const parent = kind.how === 'cgroup v2' ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory'
    const folder = path.join(parent, `meshlet-test-${process.pid}-${Math.floor(performance.now())}`)
    if (!fs.existsSync(path.join(parent, 'cgroup.procs'))) continue
    try {
      fs.mkdirSync(folder)
      fs.writeFileSync(path.join(folder, kind.limit), String(limitBytes))
      return { ...kind, folder }
    } catch {
      try {
        fs.rmdirSync(folder)
      } catch {
        /* was not made */
      }
    }
  }
  return undefined
}
/** A group is busy until its last process is gone for good. */
async function removed(folder: string): Promise<void> {
  for (let tries = 0; tries < 40; tries++) {
    try {
      fs.rmdirSync(folder)
      return
    } catch {
      await new Promise((resolve) => {
        setTimeout(resolve, 25)
      })
    }
  }
}

function kib(pid: number, field: string): number {
  try {
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}
