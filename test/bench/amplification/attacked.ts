/**
 * A broker, the shipped agent or mosquitto, under one attack while somebody well-behaved goes on: what the attacker's
 * bytes cost, and whether anybody else noticed.
 */
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { encode, publishPacket } from '../../../protocols/mqtt/codec/encode.ts'
import type { Packet } from '../../../protocols/mqtt/codec/packet.ts'
import { PacketParser } from '../../../protocols/mqtt/codec/parser.ts'
import { findDebianProgram } from '../../../tools/debian.ts'
import { cpuNs, freePort, writtenBytes } from '../measure.ts'
import { type Attack, Attacker, warmUp } from './attacks.ts'
import { Confined, type How } from './confined.ts'
import { connectPacket } from '../../helpers/mqtt/peer.ts'

const MIB = 1024 * 1024
const EACH_MS = 20
const QUIET_MS = 1_500
/** What the start left is collected before (core/runtime/idle-gc.ts, START_MS); that is nobody's attack. */
const STARTED_MS = 6_500
const MAX_QUIETS = 10
/** A twentieth of a core. */
const QUIET_SHARE = 50_000
const BUNDLE = path.resolve(import.meta.dirname, '../../../dist/meshlet.cjs')

export type Measured = {
  readonly how: How
  readonly isAlive: boolean
  readonly sentBytes: number
  readonly peakRssBytes: number
  /** Above what it had before. */
  readonly grownBytes: number
  readonly diskBytes: number
  /** Without what the well-behaved client costs. */
  readonly cpuMs: number
  readonly served: Served
  readonly log: string
}
export type Served = {
  readonly sent: number
  readonly acknowledged: number
  readonly delivered: number
  readonly isConnected: boolean
  readonly p99Ms: number
}

/** Its command, of files that are made in the folder. */
const BROKERS = {
  meshlet(folder: string, port: number): readonly string[] {
    fs.mkdirSync(path.join(folder, 'resources'))
    const config = path.join(folder, 'agent.yaml')
    fs.writeFileSync(
      config,
      `node: {name: attacked}\ndirectory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\nlisteners: [{name: mqtt, kind: mqtt, port: ${port}}]\nlog: {level: error}\n`,
    )
    return [process.execPath, '--max-semi-space-size=4', '--v8-pool-size=1', BUNDLE, 'run', '--config', config]
  },
  /** Without persistence, its cheapest way. */
  mosquitto(folder: string, port: number): readonly string[] {
    const config = path.join(folder, 'mosquitto.conf')
    fs.writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\n`)
    return [findDebianProgram('mosquitto'), '-c', config]
  },
}
export type Broker = keyof typeof BROKERS
export const BROKER_NAMES = Object.keys(BROKERS) as Broker[]

/** @param p.ms for the attack; it may be done earlier @param p.broker left out: meshlet */
export async function attacked(
  attack: Attack,
  p: { readonly limitBytes: number | undefined; readonly ms: number; readonly broker?: Broker },
): Promise<Measured> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-attacked-'))
  try {
    const port = await freePort()
    const startedMs = performance.now()
    await using agent = new Confined(p.limitBytes, BROKERS[p.broker ?? 'meshlet'](folder, port), {
      ...process.env,
      MALLOC_ARENA_MAX: '1',
      MALLOC_TRIM_THRESHOLD_: '65536',
    })
    await listening(port, agent)
    await sleep(startedMs + STARTED_MS - performance.now())
    // V8 optimizes what is used for the first time; that is nobody's attack.
    {
      using before = new Attacker(port)
      await warmUp(before)
    }
    using good = await Good.connect(port)
    await sleep(QUIET_MS)
    const idle = [cpuNs(agent.pid), performance.now()] as const
    await sleep(QUIET_MS)
    const [rss, cpu, disk, fromMs] = [agent.rssBytes, cpuNs(agent.pid), writtenBytes(agent.pid), performance.now()]
    const goodShare = (cpu - idle[0]) / (fromMs - idle[1])
    agent.forgetPeak()
    using attacker = new Attacker(port)
    await attack.run(attacker, performance.now() + p.ms)
    await untilQuiet(agent.pid, goodShare)
    const isAlive = agent.isRunning
    const cpuMs = isAlive ? Math.max(0, cpuNs(agent.pid) - cpu - goodShare * (performance.now() - fromMs)) / 1e6 : 0
    const served = await good.end()
    return {
      how: agent.how,
      isAlive,
      sentBytes: attacker.sent,
      peakRssBytes: agent.peakRssBytes,
      grownBytes: agent.peakRssBytes - rss,
      served,
      log: agent.log,
      diskBytes: isAlive ? writtenBytes(agent.pid) - disk : 0,
      cpuMs,
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

export function perByte({ sentBytes, grownBytes, diskBytes, cpuMs }: Measured): {
  readonly memory: number
  readonly disk: number
  readonly cpuMsPerMb: number
} {
  return {
    memory: Math.max(0, grownBytes) / sentBytes,
    disk: diskBytes / sentBytes,
    cpuMsPerMb: cpuMs / (sentBytes / 1e6),
  }
}
export const mib = (bytes: number): string => (bytes / MIB).toFixed(1)

/** What it has not taken yet lies in the kernel's buffers. @param goodShare nanoseconds of CPU in a millisecond */
async function untilQuiet(pid: number, goodShare: number): Promise<void> {
  for (let tries = 0; tries < MAX_QUIETS; tries++) {
    const [cpu, fromMs] = [cpuNs(pid), performance.now()]
    await sleep(QUIET_MS)
    if (cpuNs(pid) - cpu < (2 * goodShare + QUIET_SHARE) * (performance.now() - fromMs)) return
  }
}

async function listening(port: number, agent: Confined): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const socket = net.connect(port, '127.0.0.1')
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (isOpen) return
    if (!agent.isRunning) break
    await sleep(25)
  }
  throw new Error(`nothing listens on port ${port}:\n${agent.log}`)
}

/** Publishes fifty times a second, QoS 1, to itself, and notes what comes back. */
class Good implements Disposable {
  readonly #socket: net.Socket
  readonly #parser = new PacketParser({ maxPacketBytes: MIB, side: 'client', version: 5 })
  readonly #sentMs = new Map<number, number>()
  readonly #tookMs: number[] = []
  #timer: NodeJS.Timeout | undefined
  #sent = 0
  #acknowledged = 0

  private constructor(port: number) {
    this.#socket = net.connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.on('error', () => {
      /* told by isConnected */
    })
    this.#socket.on('data', (bytes: Buffer) => {
      this.#parser.push(bytes)
      for (let packet = this.#parser.next(); packet; packet = this.#parser.next()) this.#take(packet)
    })
  }
  static async connect(port: number): Promise<Good> {
    const good = new Good(port)
    good.#send(connectPacket({ keepAliveSec: 30, clientId: 'good' }))
    good.#send({
      type: 'subscribe',
      packetId: 65_535,
      properties: {},
      subscriptions: [{ filter: 'good', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
    })
    good.#timer = setInterval(() => {
      const packetId = (++good.#sent % 65_000) + 1
      good.#sentMs.set(good.#sent, performance.now())
      good.#send(publishPacket({ topic: 'good', payload: Buffer.from(String(good.#sent)), qos: 1, packetId }))
    }, EACH_MS)
    return good
  }
  #send(packet: Packet): void {
    if (!this.#socket.destroyed) this.#socket.write(encode(packet, 5))
  }
  #take(packet: Packet): void {
    if (packet.type === 'puback' && packet.reason === 0) this.#acknowledged++
    if (packet.type !== 'publish') return
    this.#send({ type: 'puback', packetId: packet.packetId, reason: 0, properties: {} })
    const sentMs = this.#sentMs.get(Number(Buffer.from(packet.payload).toString()))
    if (sentMs !== undefined) this.#tookMs.push(performance.now() - sentMs)
  }
  /** Sends no more, and waits for what is on its way. */
  async end(): Promise<Served> {
    clearInterval(this.#timer)
    for (let tries = 0; tries < 100 && (this.#acknowledged < this.#sent || this.#tookMs.length < this.#sent); tries++)
      await sleep(50)
    const sorted = this.#tookMs.toSorted((a, b) => a - b)
    return {
      sent: this.#sent,
      acknowledged: this.#acknowledged,
      delivered: this.#tookMs.length,
      isConnected: !this.#socket.destroyed,
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Infinity,
    }
  }
  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#socket.destroy()
  }
}
