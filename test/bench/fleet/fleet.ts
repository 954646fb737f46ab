/**
 * `npm run bench -- fleet`: what does a hub cost for each device? Thousands of agents' protocol sides in one process, the
 * shipped hub in another, on a core of its own.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { distFile } from '../../../test/conformance/programs.ts'
import { services } from '../../hub/relay/rig.ts'
import type { RunOptions, Trial } from '../bench.ts'
import {
  cpuNs,
  freePort,
  LOAD_CORE,
  rssMiB,
  run as runToEnd,
  startPinned,
  SUBJECT_CORE,
  untilListening,
  type Running,
} from '../measure.ts'
import { UNIT_ENVIRONMENT } from '../http/meshlet.ts'
import { Device } from './device.ts'
import { measureReports } from './reports.ts'
import { measureFloor, round } from './floor.ts'
import { sleep } from '../../conformance/programs.ts'

const SERVICES = 100
const IDLE_MS = 10_000
/** So many are under way to the hub at once. */
const AT_ONCE = 50
const SERVER_NAME = 'hub.example'
/** As deploy/edge/meshlet-hub.service has it. */
const UNIT = [...UNIT_ENVIRONMENT, process.execPath, '--max-semi-space-size=4']
const SIZES: Readonly<Record<string, number>> = { '100': 100, '2000': 2_000, '10000': 10_000 }

export const fleetTrial: Trial = {
  kind: 'trial',
  name: 'fleet',
  asks: 'what does the hub cost for each device on its relay?',
  cases: Object.fromEntries(Object.keys(SIZES).map((n) => [n, `${n} devices, ${SERVICES} services`])),
  usualCases: ['2000'],
  prints:
    'for the hub milliseconds of CPU for each join, first connection and reconnect; KiB of memory for each connected device; beside what a connection costs a Node that does nothing with it; share of a core when idle; what a report costs: the first, counts, and a service that goes down; how long one change takes to all, at once and in waves; and bytes of messages (without TLS) of each',
  options: [],
  run,
}

async function run({ cases, json }: RunOptions): Promise<boolean> {
  for (const name of cases) {
    const figures = await measured(SIZES[name]!)
    if (json) console.log(JSON.stringify({ bench: 'fleet', case: name, ...figures }))
    else for (const [what, figure] of Object.entries(figures)) console.log(`${name} devices: ${what} ${figure}`)
  }
  return true
}

type Figures = Record<string, number>

async function measured(count: number): Promise<Figures> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-fleet-'))
  const port = await freePort()
  try {
    const [grpc, admin] = [await freePort(), await freePort()]
    const config = writeConfig(folder, { relay: port, grpc, admin })
    await using hub = startPinned(SUBJECT_CORE, 'env', [
      ...UNIT,
      distFile('meshlet-hub.cjs'),
      'run',
      '--config',
      config,
    ])
    await untilListening(port, hub)
    const token = await createToken(config, count)
    const roots = fs.readFileSync(path.join(folder, 'state/ca/root-cert.pem'))
    const fleet = new Fleet(count, hub, { address: `wss://127.0.0.1:${port}`, roots, token, serverName: SERVER_NAME })
    const figures: Figures = { 'floor: memory of a TLS connection of Node, KiB': await measureFloor(count) }
    await fleet.measure(figures, 'join', (device) => device.join())
    const before = rssMiB(hub.pid)
    await fleet.measure(figures, 'first connection', (device) => device.connect())
    await sleep(IDLE_MS)
    figures['memory of a device, KiB'] = round(((rssMiB(hub.pid) - before) * 1024) / count)
    const idleNs = cpuNs(hub.pid)
    await sleep(IDLE_MS)
    figures['idle, % of a core'] = round((cpuNs(hub.pid) - idleNs) / IDLE_MS / 1e4)
    await measureReports(figures, fleet, admin)
    await fleet.measureChange(figures, 'one change', () => {
      fs.writeFileSync(
        path.join(folder, 'resources/mesh.json'),
        services(SERVICES, (i) => (i === 57 ? 2 : 1)),
      )
    })
    await measureWaves(figures, fleet, config)
    for (const device of fleet.devices) device.leave()
    await sleep(1_000)
    await fleet.measure(figures, 'reconnect', (device) => device.connect())
    for (const device of fleet.devices) device.leave()
    return figures
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

type Ports = { readonly relay: number; readonly grpc: number; readonly admin: number }
function writeConfig(folder: string, { relay, grpc, admin }: Ports): string {
  fs.mkdirSync(path.join(folder, 'resources'))
  fs.writeFileSync(path.join(folder, 'resources/mesh.json'), services(SERVICES))
  const config = path.join(folder, 'hub.yaml')
  fs.writeFileSync(
    config,
    `listen: 127.0.0.1:${grpc}
relay: {listen: "127.0.0.1:${relay}"}
api: {listen: "127.0.0.1:0", requestsPerMinute: 1000000}
resources: ${folder}/resources
state: ${folder}/state
dnsNames: [${SERVER_NAME}, 127.0.0.1]
admin: {port: ${admin}}
log: {level: error}
rollout: {default: all, soakSec: 1}
limits: {maxStreams: 20000, maxStreamsPerIdentity: 20000, maxJoinsPerHour: 1000000, maxStrangersPerAddress: 1000, maxConnections: 40000, maxReportsPerMinute: 100000}
`,
  )
  return config
}

async function createToken(config: string, count: number): Promise<string> {
  const args = ['token', 'create', '-n', 'edge', '-s', 'gateway', '--name-pattern', '*', '--uses', String(count)]
  const text = await runHub(config, args)
  return /^\S{40,}$/m.exec(text)?.[0] ?? text.trim()
}

const WAVES = [1, 10, 50, 100]
/** Back to the revision before, in waves of which each is watched for a second. */
async function measureWaves(figures: Figures, fleet: Fleet, config: string): Promise<void> {
  const { revisions } = JSON.parse(await runHub(config, ['revision', 'list', '--json'])) as {
    readonly revisions: readonly { readonly id: string }[]
  }
  const isUnderWay = async (): Promise<boolean> =>
    (await runHub(config, ['rollout', 'list', '--json'])).includes('"state":"running"')
  while (await isUnderWay()) await sleep(1_000)
  const waves = WAVES.map((share) => `${share}%`).join(',')
  const args = ['rollout', 'start', '--to', revisions[1]!.id, '--waves', waves, '--soak', '1s', '--halt', 'never']
  await fleet.measureChange(figures, 'rollout in waves', () => runHub(config, args), WAVES)
}

/** A command, on the other core. */
function runHub(config: string, args: readonly string[]): Promise<string> {
  return runToEnd(LOAD_CORE, process.execPath, [distFile('meshlet-hub.cjs'), ...args, '--config', config])
}

class Fleet {
  readonly devices: readonly Device[]
  readonly #hub: Running
  #bytes = 0

  constructor(count: number, hub: Running, at: ConstructorParameters<typeof Device>[0]['hub']) {
    this.#hub = hub
    const endpoints = Array.from({ length: SERVICES }, (_, i) => `outbound|80||svc-${i}.shop.svc.cluster.local`)
    const names = new Map([
      ['endpoint', endpoints],
      ['route', ['http_proxy']],
    ] as const)
    const add = (_purpose: string, _direction: string, bytes: number): void => {
      this.#bytes += bytes
    }
    this.devices = Array.from({ length: count }, (_, i) => new Device({ name: `gw-${i}`, hub: at, names, count: add }))
  }

  /** Of all devices, some at once. @param settled what the hub does after their part is over */
  async measure(
    figures: Figures,
    what: string,
    act: (device: Device) => Promise<void>,
    settled?: () => Promise<void>,
  ): Promise<void> {
    const [startNs, startMs] = [cpuNs(this.#hub.pid), performance.now()]
    this.#bytes = 0
    const waiting = [...this.devices]
    const work = async (): Promise<void> => {
      for (let device = waiting.pop(); device; device = waiting.pop()) await act(device)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    await settled?.()
    this.#note(figures, what, startNs)
    figures[`${what}, all in s`] = round((performance.now() - startMs) / 1e3)
  }

  /** Until every device has it. @param shares of the devices, in percent: when so many have it is told, too */
  async measureChange(
    figures: Figures,
    what: string,
    change: () => void | Promise<unknown>,
    shares: readonly number[] = [],
  ): Promise<void> {
    const before = this.devices.map(({ changes }) => changes)
    const [startNs, startMs] = [cpuNs(this.#hub.pid), performance.now()]
    const waves = [...shares]
    this.#bytes = 0
    await change()
    for (;;) {
      const have = this.devices.filter(({ changes }, i) => changes !== before[i]).length
      const seconds = round((performance.now() - startMs) / 1e3)
      while (waves.length > 0 && have * 100 >= waves[0]! * this.devices.length)
        figures[`${what}, to ${waves.shift()}% in s`] = seconds
      if (have === this.devices.length) break
      await sleep(20)
    }
    this.#note(figures, what, startNs)
    figures[`${what}, to all in s`] = round((performance.now() - startMs) / 1e3)
  }

  #note(figures: Figures, what: string, startNs: number): void {
    const count = this.devices.length
    figures[`${what}, ms of CPU for each`] = round((cpuNs(this.#hub.pid) - startNs) / 1e6 / count)
    figures[`${what}, bytes for each`] = Math.round(this.#bytes / count)
  }
}
