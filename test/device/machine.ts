/**
 * A machine that boots: systemd as process 1 in a container of systemd-nspawn, on a copy of Debian that outlives its
 * reboots, with a network cable that the test plugs. It ends with the test.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../tools/debian.ts'
import { until, type Ended } from '../conformance/programs.ts'
import { debianRoot } from './debian.ts'

export type Finally = { after(fn: () => void | Promise<void>): void }
const ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C.UTF-8' }
const BOOT_MS = 60_000
const HALT_MS = 60_000
const COMMAND_MS = 120_000

let count = 0

export class Machine {
  readonly name: string
  /** The machine's file system, also while it is off. */
  readonly root: string
  /** Name of its network namespace, which is there while it is off. */
  readonly network: string
  #nspawn: ChildProcess | undefined
  #console = ''

  private constructor(name: string, root: string) {
    this.name = name
    this.root = root
    this.network = path.basename(path.dirname(root))
  }

  /** Off, with no cable. */
  static create(t: Finally, name: string): Machine {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), `meshlet-${name}-`))
    const root = path.join(folder, 'root')
    for (const one of ['root', 'upper', 'work']) fs.mkdirSync(path.join(folder, one))
    const machine = new Machine(name, root)
    host(
      'mount',
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${debianRoot()},upperdir=${folder}/upper,workdir=${folder}/work`,
      root,
    )
    host('ip', 'netns', 'add', machine.network)
    host('ip', '-n', machine.network, 'link', 'set', 'lo', 'up')
    t.after(async () => {
      await machine.cutPower()
      host('umount', root)
      host('ip', 'netns', 'delete', machine.network)
      fs.rmSync(folder, { recursive: true })
    })
    fs.writeFileSync(path.join(root, 'etc/hostname'), `${name}\n`)
    fs.writeFileSync(path.join(root, 'etc/machine-id'), '')
    return machine
  }

  get console(): string {
    return this.#console
  }
  get isOn(): boolean {
    return this.#nspawn !== undefined
  }

  /**
   * Switches it on. Resolves when systemd has finished starting what it starts, or still waits for something when
   * `patience` is `none`.
   */
  async boot(patience: 'all-started' | 'none' = 'all-started'): Promise<void> {
    const args = [
      `--directory=${this.root}`,
      '--boot',
      `--machine=${this.network}`,
      `--hostname=${this.name}`,
      `--network-namespace-path=/run/netns/${this.network}`,
      '--register=no',
      '--keep-unit',
      '--link-journal=no',
      '--console=pipe',
    ]
    const nspawn = spawn(findDebianProgram('nspawn'), args, { stdio: ['ignore', 'pipe', 'pipe'], env: ENV })
    for (const stream of [nspawn.stdout, nspawn.stderr])
      stream.on('data', (bytes: Buffer) => {
        this.#console = (this.#console + bytes.toString()).slice(-100_000)
      })
    this.#nspawn = nspawn
    void once(nspawn, 'exit').then(() => {
      if (this.#nspawn === nspawn) this.#nspawn = undefined
    })
    await until(
      `${this.name} boots`,
      async () => {
        if (!this.isOn) throw new Error(`${this.name} did not boot:\n${this.#console}`)
        if (this.#leader() === undefined) return false
        const { out } = await this.run('systemctl is-system-running')
        return patience === 'none' ? out.trim() !== '' && !/offline/.test(out) : /running|degraded/.test(out)
      },
      BOOT_MS,
      () => this.#console.slice(-4_000),
    )
  }

  /** An orderly end, as of `poweroff`. */
  async halt(): Promise<void> {
    const nspawn = this.#nspawn
    if (!nspawn) return
    nspawn.kill('SIGTERM')
    const late = setTimeout(() => {
      nspawn.kill('SIGKILL')
    }, HALT_MS)
    if (nspawn.exitCode === null && nspawn.signalCode === null) await once(nspawn, 'exit')
    clearTimeout(late)
    this.#nspawn = undefined
  }
  async reboot(patience?: 'all-started' | 'none'): Promise<void> {
    await this.halt()
    await this.boot(patience)
  }
  /** No goodbye to anybody. */
  async cutPower(): Promise<void> {
    const nspawn = this.#nspawn
    if (!nspawn) return
    const leader = this.#leader()
    if (leader !== undefined)
      try {
        process.kill(leader, 'SIGKILL')
      } catch {
        /* gone by itself */
      }
    const late = setTimeout(() => {
      nspawn.kill('SIGKILL')
    }, 5_000)
    if (nspawn.exitCode === null && nspawn.signalCode === null) await once(nspawn, 'exit')
    clearTimeout(late)
    this.#nspawn = undefined
  }

  /** What root types in the machine's shell, in the folder where the runbook begins. */
  run(script: string, o: { readonly timeoutMs?: number } = {}): Promise<Ended> {
    const leader = this.#leader()
    if (leader === undefined) return Promise.resolve({ code: 255, out: '', err: `${this.name} is off` })
    const child = spawn(
      'nsenter',
      [
        '--target',
        String(leader),
        '--mount',
        '--uts',
        '--ipc',
        '--net',
        '--pid',
        '--root',
        '--wd',
        'sh',
        '-ec',
        script,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: ENV },
    )
    let [out, err] = ['', '']
    child.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString()
    })
    child.stderr.on('data', (bytes: Buffer) => {
      err += bytes.toString()
    })
    const late = setTimeout(() => {
      child.kill('SIGKILL')
    }, o.timeoutMs ?? COMMAND_MS)
    return once(child, 'close').then(([code]) => {
      clearTimeout(late)
      return { code: code as number | null, out, err }
    })
  }
  /** As `run`; rejects when it fails. */
  async must(script: string): Promise<string> {
    const { code, out, err } = await this.run(script)
    if (code !== 0) throw new Error(`on ${this.name}: ${script}\nexit ${code}\n${out}${err}`)
    return out
  }
  /** Repeats `script` until it succeeds and its output matches. */
  until(what: string, script: string, matches: RegExp, withinMs = 30_000): Promise<string> {
    let last = ''
    return until(
      `${this.name}: ${what}`,
      async () => {
        const { code, out, err } = await this.run(script)
        last = `exit ${code}\n${out}${err}`
        return code === 0 && matches.test(out) ? out : false
      },
      withinMs,
      () => last.slice(-4_000),
    )
  }
  /** Lines of the journal of this boot. */
  async journal(unit: string): Promise<string> {
    return (await this.run(`journalctl -b -u ${unit} --no-pager -o short-monotonic`)).out
  }

  /** Copies a file or folder of the test machine in, also while it is off. */
  put(from: string, to: string): void {
    fs.cpSync(from, path.join(this.root, to), { recursive: true })
  }
  write(file: string, text: string, mode = 0o644): void {
    const at = path.join(this.root, file)
    fs.mkdirSync(path.dirname(at), { recursive: true })
    fs.writeFileSync(at, text, { mode })
  }

  /** systemd of the machine: the only child of systemd-nspawn. */
  #leader(): number | undefined {
    const pid = this.#nspawn?.pid
    if (pid === undefined) return undefined
    try {
      return Number(fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]) || undefined
    } catch {
      return undefined
    }
  }
}

/** A cable between two machines; each end is an interface `eth0` without an address. */
export class Cable {
  readonly #ends: readonly [Machine, Machine]
  constructor(a: Machine, b: Machine) {
    this.#ends = [a, b]
    const [one, two] = [`mt${process.pid}a${++count}`, `mt${process.pid}b${count}`]
    host('ip', 'link', 'add', one, 'type', 'veth', 'peer', 'name', two)
    for (const [name, machine] of [
      [one, a],
      [two, b],
    ] as const) {
      host('ip', 'link', 'set', name, 'netns', machine.network)
      host('ip', '-n', machine.network, 'link', 'set', name, 'name', 'eth0')
    }
    this.plug()
  }
  plug(): void {
    for (const m of this.#ends) host('ip', '-n', m.network, 'link', 'set', 'eth0', 'up')
  }
  pull(): void {
    host('ip', '-n', this.#ends[1].network, 'link', 'set', 'eth0', 'down')
  }
}

/** As a DHCP client would. @param cidr e.g. 10.1.0.2/24 */
export function giveAddress(machine: Machine, cidr: string): void {
  host('ip', '-n', machine.network, 'addr', 'add', cidr, 'dev', 'eth0')
}
export function takeAddresses(machine: Machine): void {
  host('ip', '-n', machine.network, 'addr', 'flush', 'dev', 'eth0')
}

function host(command: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr ?? String(error)}`)
}
