/**
 * An Edge Node of Eclipse Tahu (sparkplug-client) at meshlet, and a Primary Host Application at mosquitto behind the
 * bridge, which goes and comes: what the host gets, read with Tahu's own payloads, has no number missing.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import path from 'node:path'
import zlib from 'node:zlib'
import { connectAsync, type MqttClient } from 'mqtt'
import { mqttClientFolder } from '../../peers.ts'
import { until, type Finally } from '../../programs.ts'
import { Mosquitto, type SiteBroker, startSiteBroker } from './site-broker.ts'

type TahuMetric = { name?: string; value: unknown; type: string; isHistorical?: boolean; timestamp?: number }
type TahuPayload = { timestamp: number; metrics: TahuMetric[]; seq?: unknown; uuid?: string; body?: Uint8Array }
type Compression = { readonly compress: boolean; readonly algorithm?: 'GZIP' | 'DEFLATE' }
type TahuClient = EventEmitter & {
  publishNodeBirth(payload: TahuPayload): void
  publishDeviceBirth(device: string, payload: TahuPayload): void
  publishDeviceData(device: string, payload: TahuPayload, options: Compression): void
  stop(): void
}

const tahu = createRequire(path.join(mqttClientFolder('sparkplug'), 'package.json'))
const { newClient } = tahu('sparkplug-client') as { newClient(config: object): TahuClient }
const payloads = (
  tahu('sparkplug-payload') as {
    get(version: string): { decodePayload(bytes: Uint8Array): TahuPayload; encodePayload(p: object): Uint8Array }
  }
).get('spBv1.0')
/** As its client compresses, with and without the name of the algorithm, in turn. */
const COMPRESSIONS: readonly Compression[] = [
  { compress: false },
  { compress: true, algorithm: 'GZIP' },
  { compress: true, algorithm: 'DEFLATE' },
  { compress: true },
]
const REBIRTH = 'Node Control/Rebirth'

/** One that is asked for its births gives them. */
class EdgeNode {
  readonly #client: TahuClient
  #value = 0
  births = 0
  constructor(t: Finally, port: number) {
    this.#client = newClient({
      serverUrl: `mqtt://127.0.0.1:${port}`,
      username: 'press',
      password: 'unused',
      groupId: 'plant',
      edgeNode: 'press',
      clientId: 'press',
      version: 'spBv1.0',
      mqttOptions: { reconnectPeriod: 100 },
    })
    t.after(() => this.#client.stop())
    this.#client.on('error', () => {
      /* it connects again */
    })
    this.#client.on('birth', () => this.#birth())
    this.#client.on('ncmd', ({ metrics }: TahuPayload) => {
      if (metrics.some(({ name, value }) => name === REBIRTH && value === true)) this.#birth()
    })
  }
  #payload(...metrics: TahuMetric[]): TahuPayload {
    return { timestamp: Date.now(), metrics }
  }
  #birth(): void {
    this.births++
    this.#client.publishNodeBirth(this.#payload({ name: REBIRTH, type: 'Boolean', value: false }))
    this.#client.publishDeviceBirth('axis', this.#payload({ name: 'position', type: 'Int32', value: this.#value }))
  }
  /** @returns what is to arrive: `axis <value>` */
  publish(count: number): string[] {
    return Array.from({ length: count }, () => {
      const value = ++this.#value
      const payload = this.#payload({ name: 'position', type: 'Int32', value })
      this.#client.publishDeviceData('axis', payload, COMPRESSIONS[value % COMPRESSIONS.length]!)
      return `axis ${value}`
    })
  }
}

type Seen = {
  readonly type: string
  readonly seq: number | undefined
  readonly text: string
  readonly isHistorical: boolean
}

/** Says STATE as Sparkplug 3.0 wants it: with a session of its own each time, and a will of the same timestamp. */
class Host {
  readonly seen: Seen[] = []
  compressed = 0
  #client: MqttClient | undefined
  readonly #port: number
  constructor(t: Finally, port: number) {
    this.#port = port
    t.after(async () => {
      await this.#client?.endAsync(true)
    })
  }
  async connect(): Promise<void> {
    const topic = 'spBv1.0/STATE/scada'
    const timestamp = Date.now()
    const state = (online: boolean): string => JSON.stringify({ online, timestamp })
    const client = await connectAsync(`mqtt://127.0.0.1:${this.#port}`, {
      clientId: 'scada',
      clean: true,
      reconnectPeriod: 0,
      will: { topic, payload: Buffer.from(state(false)), qos: 1, retain: true },
    })
    client.on('message', (at, payload) => this.#take(at, payload))
    client.on('error', () => {
      /* connections break on purpose */
    })
    await client.subscribeAsync('spBv1.0/plant/#', { qos: 1 })
    await client.publishAsync(topic, state(true), { qos: 1, retain: true })
    this.#client = client
  }
  /** Its broker says so by the will. */
  crash(): void {
    this.#client?.stream.destroy()
  }
  async command(): Promise<void> {
    const metrics = [{ name: REBIRTH, type: 'Boolean', value: true }]
    const payload = Buffer.from(payloads.encodePayload({ timestamp: Date.now(), metrics }))
    await this.#client!.publishAsync('spBv1.0/plant/NCMD/press', payload)
  }
  #take(topic: string, bytes: Buffer): void {
    const [, , type = '', , device] = topic.split('/')
    if (type === 'NCMD') return
    const outer = payloads.decodePayload(bytes)
    const isCompressed = outer.uuid === 'SPBV1.0_COMPRESSED'
    if (isCompressed) this.compressed++
    const { seq, metrics } = isCompressed ? payloads.decodePayload(zlib.unzipSync(outer.body!)) : outer
    const [metric] = metrics
    this.seen.push({
      type,
      seq: seq === undefined ? undefined : Number(seq),
      text: `${device ?? ''} ${String(metric?.value)}`,
      isHistorical: metrics.length > 0 && metrics.every((one) => one.isHistorical === true),
    })
  }
  historical(data: readonly string[]): boolean[] {
    return this.seen.filter(({ type, text }) => type === 'DDATA' && data.includes(text)).map((one) => one.isHistorical)
  }
  data(): string[] {
    return this.seen.filter(({ type }) => type === 'DDATA').map(({ text }) => text)
  }
  /** Each number follows the one before, from each NBIRTH on [tck-id-operational-behavior-host-reordering-start]. */
  assertNothingMissing(from = 0): void {
    let expected: number | undefined
    for (const { type, seq } of this.seen.slice(from)) {
      if (type === 'NDEATH') continue
      if (type === 'NBIRTH') expected = 0
      if (expected !== undefined) assert.equal(seq, expected % 256, JSON.stringify(this.seen))
      expected = (seq ?? 0) + 1
    }
  }
}

type Rig = {
  readonly site: SiteBroker
  readonly mosquitto: Mosquitto
  readonly host: Host
  readonly node: EdgeNode
  /** Waits for the host as `meshlet status` has it. */
  status(state: string, held: number): Promise<unknown>
  metric(name: string): Promise<number>
  arrived(data: readonly string[]): Promise<unknown>
  /** From then on nothing is historical. */
  bornAgain(from: number): Promise<unknown>
}
async function startRig(t: TestContext): Promise<Rig> {
  const mosquitto = await Mosquitto.start(t)
  const site = await startSiteBroker(t, {
    upstreamPort: mosquitto.port,
    mqtt: `mqtt:
  routes:
  - match: spBv1.0/plant/#
    direction: up
    cluster: cloud
    sparkplug: {hostId: scada, rebirthIntervalSec: 1}
  - {match: spBv1.0/plant/NCMD/#, direction: down, cluster: cloud}
  bridges: [{cluster: cloud, reconnectMinMs: 100, reconnectMaxMs: 500}]
`,
  })
  const { agent } = site
  const host = new Host(t, mosquitto.port)
  return {
    site,
    mosquitto,
    host,
    node: new EdgeNode(t, site.port),
    arrived: (data) =>
      until(
        `all of ${data.length} values have arrived`,
        () => data.every((one) => host.data().includes(one)),
        30_000,
        () => JSON.stringify(host.seen) + agent.process.log.slice(-3_000),
      ),
    bornAgain: (from) =>
      until('births with current values follow', () => host.seen.slice(from).some(({ type }) => type === 'NBIRTH')),
    status: (state, held) =>
      agent.process.until(`the host is ${state} and ${held} messages wait`, async () => {
        const host = (await agent.status())?.bridge[0]?.hosts?.[0]
        return host?.state === state && host.held >= held
      }),
    metric: async (name) => {
      const text = (await agent.get('/stats/prometheus'))?.text ?? ''
      return text
        .split('\n')
        .filter((line) => line.startsWith(`mesh_mqtt_sparkplug_${name}`))
        .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
    },
  }
}

const all = (data: readonly string[], isHistorical: boolean): boolean[] => data.map(() => isHistorical)

test('Tahu’s Edge Node through meshlet to a host at mosquitto', { timeout: 180_000 }, async (t) => {
  const rig = await startRig(t)
  await firstHost(t, rig)
  await hostCrashes(t, rig)
  await brokersRestart(t, rig)
  assert.ok(rig.host.compressed > 200, `${rig.host.compressed} payloads came compressed`)
  assert.equal(await rig.metric('unreadable_total'), 0)
  assert.equal(await rig.metric('inflated_too_large_total'), 0)
  assert.equal(await rig.metric('gaps_total'), 0)
})

async function firstHost(t: TestContext, { host, node, status, arrived, bornAgain }: Rig): Promise<void> {
  await t.test('before the host was ever there everything waits, and goes with births first', async () => {
    await until('the node is born', () => node.births === 1)
    const data = node.publish(20)
    await status('unknown', 22)
    await host.connect()
    await arrived(data)
    assert.deepEqual(
      host.seen.slice(0, 3).map(({ type, seq }) => `${type} ${seq}`),
      ['NBIRTH 0', 'DBIRTH 1', 'DDATA 2'],
    )
    assert.deepEqual(host.historical(data), all(data, true))
    await bornAgain(22)
    const live = node.publish(5)
    await arrived(live)
    assert.deepEqual(host.historical(live), all(live, false))
    host.assertNothingMissing()
  })
  await t.test('the host asks for births itself', async () => {
    const from = host.seen.length
    await host.command()
    await bornAgain(from)
    host.assertNothingMissing()
  })
}

async function hostCrashes(t: TestContext, { site, host, node, status, arrived, bornAgain }: Rig): Promise<void> {
  await t.test('the host crashes: what comes then is stored behind births, and historical', async () => {
    const [from, births] = [host.seen.length, node.births]
    host.crash()
    await status('offline', 0)
    await until('the node was asked for its births', () => node.births > births)
    const data = node.publish(300)
    await status('offline', 300)
    await host.connect()
    await arrived(data)
    assert.deepEqual(
      host.seen.slice(from, from + 2).map(({ type, seq }) => `${type} ${seq}`),
      ['NBIRTH 0', 'DBIRTH 1'],
    )
    assert.deepEqual(host.historical(data), all(data, true))
    host.assertNothingMissing(from)
    await bornAgain(from + 302)
    const { out } = await site.agent.cli(['status', '--admin', `127.0.0.1:${site.agent.adminPort}`])
    assert.match(out, /host scada online/)
  })
}

async function brokersRestart(t: TestContext, rig: Rig): Promise<void> {
  const { site, mosquitto, host, node, status, arrived, bornAgain } = rig
  await t.test('the broker of the host is killed', async () => {
    const from = host.seen.length
    await mosquitto.process.stop('SIGKILL')
    await status('unknown', 0)
    const data = node.publish(50)
    await status('unknown', 50)
    await mosquitto.start()
    await host.connect()
    await arrived(data)
    assert.deepEqual(host.historical(data), all(data, true))
    host.assertNothingMissing(from)
    await bornAgain(from + 50)
  })
  await t.test('meshlet is killed while the host is away: what it had stored goes afterwards', async () => {
    host.crash()
    await status('offline', 0)
    const data = node.publish(50)
    await status('offline', 50)
    await site.agent.process.stop('SIGKILL')
    await site.agent.start()
    await status('offline', 50)
    const from = host.seen.length
    await host.connect()
    await arrived(data)
    assert.deepEqual(host.historical(data), all(data, true))
    host.assertNothingMissing(from)
  })
}
