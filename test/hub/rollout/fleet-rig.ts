/** A hub's configuration side with simulated time, and devices that speak delta ADS to it in this process. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { create } from '@bufbuild/protobuf'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { createDeltaConversation } from '../../../hub/api/ads/messages.ts'
import { Progress } from '../../../hub/api/ads/progress.ts'
import { parseHubConfig } from '../../../hub/config.ts'
import { KEY_HOLDER, type Labels } from '../../../hub/registry/enrollments.ts'
import { LiveDevices, type LiveNode } from '../../../hub/registry/live-devices.ts'
import { openRegistry, type OpenRegistry } from '../../../hub/registry/registry.ts'
import type { Operator } from '../../../hub/rollout/operate.ts'
import { IstioSource } from '../../../hub/source/istio-source.ts'
import { CLUSTER, type NodeFacts, type Source, type Watched } from '../../../hub/source/resources.ts'
import { startConfiguration } from '../../../hub/source/start.ts'
import { DeltaDiscoveryRequestSchema } from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import type { DeltaDiscoveryResponse } from '../../../proto/services.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
type Request = Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]
/** Why a device refuses what it is sent; `lose`: it loses its connection over it. */
export type Reaction = (response: DeltaDiscoveryResponse) => string | undefined

export class SimDevice {
  readonly name: string
  /** Revision of what it was sent last. */
  sent = ''
  /** Of what it has in force: content of its clusters by name. */
  readonly has = new Map<string, string>()
  react: Reaction = () => undefined
  readonly #source: Source
  readonly #live: LiveDevices
  #conversation = createDeltaConversation()
  #progress = new Progress()
  #node: LiveNode | undefined
  #watched: Watched | undefined

  constructor(name: string, source: Source, live: LiveDevices) {
    this.name = name
    this.#source = source
    this.#live = live
  }

  async connect(): Promise<void> {
    this.#conversation = createDeltaConversation()
    this.#progress = new Progress()
    this.#node = this.#live.connected(this.name)
    const watched = this.#source.watch(
      this.name,
      (set) => this.#take(this.#conversation.push(set), set.revision),
      describeFacts(this.name),
    )
    this.#watched = watched
    await watched.ready
    this.#say({ resourceNamesSubscribe: ['*'] })
  }
  leave(): void {
    this.#watched?.[Symbol.dispose]()
    this.#node?.[Symbol.dispose]()
    this.#watched = this.#node = undefined
  }

  #say(request: Request): void {
    const set = this.#watched!.current()
    const message = create(DeltaDiscoveryRequestSchema, { typeUrl: CLUSTER, ...request })
    const { responses, outcome } = this.#conversation.request(message, set)
    this.#progress.answered(outcome, message)
    this.#take(responses, set.revision)
  }

  #take(responses: readonly DeltaDiscoveryResponse[], revision: string): void {
    this.#progress.sent(revision, responses)
    const { inForce, refused } = this.#progress
    this.#node?.is({ inForce, refused })
    for (const response of responses) {
      this.sent = response.systemVersionInfo
      const problem = this.react(response)
      if (!this.#watched) return
      if (problem === undefined) {
        for (const { name, version } of response.resources) this.has.set(name, version)
        for (const name of response.removedResources) this.has.delete(name)
      }
      const error = problem === undefined ? {} : { errorDetail: { code: 13, message: problem } }
      this.#say({ responseNonce: response.nonce, ...error })
    }
  }
}

const describeFacts = (name: string): NodeFacts => ({
  id: `sidecar~10.0.0.1~${name}.edge~edge.svc.cluster.local`,
  metadata: { INTERCEPTION_MODE: 'NONE' },
  namespace: 'edge',
})

export type FleetRig = {
  readonly clock: SimClock
  readonly folder: string
  readonly registry: OpenRegistry
  readonly metrics: Metrics
  readonly devices: readonly SimDevice[]
  write(file: string, text: string): void
  /** Time passes, in steps that leave real turns for files and threads. */
  passes(ms: number, until?: () => boolean | Promise<boolean>): Promise<void>
  /** Another process takes the place of this one, on the same registry. */
  restart(): Promise<void>
  operator(why?: string): Operator
}
export type RigOptions = {
  readonly devices: number
  /** Of hub.yaml. */
  readonly settings?: string
  readonly labels?: (i: number) => Labels
  /** What stands in the folder first. */
  readonly files: Readonly<Record<string, string>>
}

export async function startFleet(t: Finally, o: RigOptions): Promise<FleetRig> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-rollout-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  const write = (file: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
    fs.writeFileSync(path.join(folder, file), text)
  }
  for (const [file, text] of Object.entries(o.files)) write(file, text)
  const [clock, metrics] = [new SimClock(), new Metrics()]
  const registry = openRegistry(':memory:')
  const config = parseHubConfig(`resources: ${folder}\n${o.settings ?? ''}`)
  await enroll(registry, o)
  const parts = { registry, clock, log: silentLog, metrics }
  const devices: SimDevice[] = []
  let running = await startConfiguration(config, parts)
  let live = await LiveDevices.open(parts)
  const connectAll = async (): Promise<void> => {
    devices.length = 0
    const source = new IstioSource(running.source, { trustDomain: 'demo.mesh' })
    for (let i = 0; i < o.devices; i++) devices.push(new SimDevice(nameOf(i), source, live))
    for (const device of devices) await device.connect()
    await clock.advance(1_500)
  }
  const stop = async (): Promise<void> => {
    await live[Symbol.asyncDispose]()
    await running[Symbol.asyncDispose]()
  }
  await connectAll()
  t.after(async () => {
    await stop()
    await registry[Symbol.asyncDispose]()
  })
  return {
    clock,
    folder,
    registry,
    metrics,
    devices,
    write,
    passes: (ms, until) => passTime(clock, ms, until),
    async restart() {
      await stop()
      ;[running, live] = [await startConfiguration(config, parts), await LiveDevices.open(parts)]
      await connectAll()
    },
    operator: (why) => ({ actor: 'operator:test', address: '', nowMs: clock.wallMs(), why }),
  }
}
const STEP_MS = 500

async function passTime(clock: SimClock, ms: number, until?: () => boolean | Promise<boolean>): Promise<void> {
  for (let at = 0; at < ms; at += STEP_MS) {
    await clock.advance(STEP_MS)
    if (await until?.()) return
  }
  // What a file holds is read in real turns, whatever the simulated clock says.
  for (let i = 0; until && i < 2_000; i++) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
    await clock.advance(50)
    if (await until()) return
  }
  if (until) throw new Error(`not within ${ms} ms of simulated time`)
}

const nameOf = (i: number): string => `gw-${i}`

async function enroll(registry: OpenRegistry, { devices, labels = () => ({}) }: RigOptions): Promise<void> {
  for (let i = 0; i < devices; i++) {
    const [name, keyId] = [nameOf(i), `key-${i}`]
    const who = { name, keyId, namespace: 'edge', serviceAccount: 'gateway', jti: null, labels: labels(i), address: '' }
    await registry.enrollments.enroll(who, 0)
    const spiffeUri = 'spiffe://demo.mesh/ns/edge/sa/gateway'
    await registry.claimName({
      name,
      nodeId: name,
      spiffeUri,
      ip: '',
      holder: KEY_HOLDER + keyId,
      jti: undefined,
      nowMs: 0,
    })
  }
}
