/** A registry, the process that drives its rollouts, and devices that take what they are to have: for machine-model.test.ts. */
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { KEY_HOLDER, type Labels } from '../../../hub/registry/enrollments.ts'
import { LiveDevices, type LiveNode } from '../../../hub/registry/live-devices.ts'
import { openRegistry, type OpenRegistry } from '../../../hub/registry/registry.ts'
import { decideRevision } from '../../../hub/rollout/desired.ts'
import { RolloutDriver } from '../../../hub/rollout/driver.ts'
import type { Operator } from '../../../hub/rollout/operate.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

/** `ignores`: it neither takes nor refuses. */
export type Manner = 'takes' | 'refuses' | 'ignores'
export type ModelDevice = {
  readonly name: string
  labels: Labels
  manner: Manner
  isRemoved: boolean
  isConnected: boolean
  /** What it was sent last, has as a whole, and says of what it refuses. */
  offered: string | undefined
  inForce: string | undefined
  refused: string | undefined
  requests: number
  failures: number
  node: LiveNode | undefined
}

/** Of one process: with it, its timers end. */
class ProcessClock implements Clock {
  isDead = false
  readonly #clock: SimClock
  constructor(clock: SimClock) {
    this.#clock = clock
  }
  wallMs(): number {
    return this.#clock.wallMs()
  }
  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }
  threadCpuMs(): number {
    return this.#clock.threadCpuMs()
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal)
  }
  after(ms: number, fire: () => void): Timer {
    return this.#clock.after(ms, () => {
      if (!this.isDead) fire()
    })
  }
}

type Hub = { readonly clock: ProcessClock; readonly live: LiveDevices; readonly driver: RolloutDriver }
/** How a process goes: a crash leaves its lease, and what it has not written is lost. */
export type End = 'stop' | 'crash'

export const REVISIONS = ['rev-a', 'rev-b', 'rev-c']

/** Of one revision in one rollout: what a device has said before does not count. */
export const describeRefusal = (revision: string, rollout: string | undefined): string =>
  `${revision} of ${rollout} is bad`

export class ModelSite implements AsyncDisposable {
  readonly clock = new SimClock()
  readonly registry: OpenRegistry = openRegistry(':memory:')
  readonly devices: ModelDevice[] = []
  #hub: Hub | undefined
  #starts = 0

  static async open(labels: readonly Labels[]): Promise<ModelSite> {
    const site = new ModelSite()
    for (const id of REVISIONS)
      await site.registry.revisions.add({ revision: { id, files: [] }, nowMs: 1, readSource: async () => Buffer.of() })
    await site.#start()
    for (const one of labels) await site.join(one)
    return site
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('stop')
    await this.registry[Symbol.asyncDispose]()
  }

  operator(): Operator {
    return { actor: 'operator:kim', address: '', nowMs: this.clock.wallMs(), why: 'the script says so' }
  }

  async join(labels: Labels): Promise<void> {
    const device: ModelDevice = {
      name: `gw-${this.devices.length}`,
      labels,
      manner: 'takes',
      isRemoved: false,
      isConnected: false,
      offered: undefined,
      inForce: undefined,
      refused: undefined,
      requests: 1_000,
      failures: 0,
      node: undefined,
    }
    this.devices.push(device)
    await this.rejoin(device, labels)
  }
  /** With another token, whose labels it has from now on. */
  async rejoin(device: ModelDevice, labels: Labels): Promise<void> {
    const { name } = device
    this.disconnect(device)
    Object.assign(device, { labels, isRemoved: false })
    const who = { name, keyId: `key-${name}`, namespace: 'edge', serviceAccount: 'gateway', jti: null, address: '' }
    await this.registry.enrollments.enroll({ ...who, labels }, this.clock.wallMs())
    await this.registry.claimName({
      name,
      nodeId: name,
      spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway',
      ip: '',
      holder: `${KEY_HOLDER}key-${name}`,
      jti: undefined,
      nowMs: this.clock.wallMs(),
    })
    await this.connect(device)
    await this.#report(device)
  }
  async remove(device: ModelDevice): Promise<void> {
    this.disconnect(device)
    device.isRemoved = true
    await this.registry.forgetDevice(device.name)
  }

  async connect(device: ModelDevice): Promise<void> {
    if (device.isConnected || device.isRemoved) return
    device.isConnected = true
    device.node = this.#hub?.live.connected(device.name)
    device.refused = undefined
    await this.offerAgain(device)
  }
  async offerAgain(device: ModelDevice): Promise<void> {
    device.offered = undefined
    await this.serve()
  }
  disconnect(device: ModelDevice): void {
    device.isConnected = false
    device.node?.[Symbol.dispose]()
    device.node = undefined
  }
  /** Half of what it is asked now fails. */
  async fails(device: ModelDevice): Promise<void> {
    if (device.isRemoved) return
    device.requests += 100
    device.failures += 50
    await this.#report(device)
  }
  async #report({ name, requests, failures }: ModelDevice): Promise<void> {
    const report = { ...REPORT, problems: [], quantities: { ...REPORT.quantities, requests, failures } }
    await this.registry.reports.write([{ name, atMs: this.clock.wallMs(), restarts: 0, expected: '', report }], [])
  }

  /** Each device that is there is sent what it is to have, once. */
  async serve(): Promise<void> {
    if (!this.#hub) return
    const desired = await this.registry.rollouts.desired()
    for (const device of this.devices) {
      const revision = decideRevision(desired, device)
      if (!device.isConnected || revision === undefined || revision === device.offered) continue
      device.offered = revision
      if (revision === device.inForce || device.manner === 'takes')
        Object.assign(device, { inForce: revision, refused: undefined })
      else if (device.manner === 'refuses') device.refused = describeRefusal(revision, desired.active?.id)
      device.node?.is({ inForce: device.inForce, refused: device.refused })
    }
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
    await this.serve()
  }

  async restart(end: End): Promise<void> {
    await this.#end(end)
    await this.#start()
  }
  async #end(end: End): Promise<void> {
    const hub = this.#hub!
    this.#hub = undefined
    if (end === 'crash') hub.clock.isDead = true
    else {
      await hub.driver[Symbol.asyncDispose]()
      await hub.live[Symbol.asyncDispose]()
    }
    for (const device of this.devices) device.node = undefined
  }
  async #start(): Promise<void> {
    const clock = new ProcessClock(this.clock)
    const parts = { registry: this.registry, clock, log: silentLog }
    const live = await LiveDevices.open(parts)
    const metrics = new Metrics()
    const holder = `process-${++this.#starts}`
    const driver = new RolloutDriver({ ...parts, holder, metrics, decided: () => this.serve() })
    this.#hub = { clock, live, driver }
    for (const device of this.devices) {
      if (!device.isConnected) continue
      device.isConnected = false
      await this.connect(device)
    }
  }
}
