/**
 * A real Node-RED, without its editor, whose mqtt nodes are at meshlet: each version of MQTT, birth, close and will
 * messages, properties of MQTT 5, overlapping subscriptions, nodes that subscribe while they run, restarts of either.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt'
import { freePorts } from '../../../../tools/free-ports.ts'
import { mqttClientFolder } from '../../peers.ts'
import { type Finally, type Running, start, temporaryFolder, until } from '../../programs.ts'
import { type SiteBroker, startSiteBroker } from './site-broker.ts'

type FlowNode = { readonly id: string; readonly type: string } & Readonly<Record<string, unknown>>

/** As the editor writes it: numbers and Booleans are texts. */
function brokerNode(port: number, version: '3' | '4' | '5'): FlowNode {
  const at = `nodered/${version}/status`
  return {
    id: `broker${version}`,
    type: 'mqtt-broker',
    broker: '127.0.0.1',
    port: String(port),
    clientid: `nodered-${version}`,
    autoConnect: true,
    usetls: false,
    protocolVersion: version,
    keepalive: '60',
    cleansession: true,
    autoUnsubscribe: true,
    birthTopic: at,
    birthQos: '1',
    birthRetain: 'true',
    birthPayload: 'online',
    birthMsg: version === '5' ? { contentType: 'text/plain', userProps: '{"from":"birth"}' } : {},
    closeTopic: at,
    closeQos: '1',
    closeRetain: 'true',
    closePayload: 'closed',
    closeMsg: {},
    willTopic: at,
    willQos: '1',
    willRetain: 'true',
    willPayload: 'lost',
    willMsg: version === '5' ? { delay: '0', userProps: '{"from":"will"}' } : {},
    userProps: '',
    sessionExpiry: version === '5' ? '30' : '',
  }
}
/** What comes under `in/<version>/…` goes out under `out/<version>/…`, as it came. */
function echo(version: string, topic: string, name: string): FlowNode[] {
  const [z, broker] = ['tab', `broker${version}`]
  const more = version === '5' ? { nl: true, rap: true, rh: 0 } : {}
  return [
    {
      id: `in${name}`,
      type: 'mqtt in',
      z,
      broker,
      topic,
      qos: '2',
      datatype: 'auto-detect',
      inputs: 0,
      ...more,
      wires: [[`fn${name}`]],
    },
    {
      id: `fn${name}`,
      type: 'function',
      z,
      func: `msg.topic = msg.topic.replace('in/', 'out/') + '/${name}'; return msg`,
      outputs: 1,
      wires: [[`out${name}`]],
    },
    { id: `out${name}`, type: 'mqtt out', z, broker, topic: '', qos: '', retain: '', wires: [] },
  ]
}
/** A node that subscribes to what it is told to while it runs, and says what it got. */
const DYNAMIC: readonly FlowNode[] = [
  {
    id: 'ctl',
    type: 'mqtt in',
    z: 'tab',
    broker: 'broker5',
    topic: 'ctl',
    qos: '1',
    datatype: 'json',
    inputs: 0,
    wires: [['ctlFn']],
  },
  {
    id: 'ctlFn',
    type: 'function',
    z: 'tab',
    func: 'return msg.payload',
    outputs: 1,
    wires: [['dyn']],
  },
  {
    id: 'dyn',
    type: 'mqtt in',
    z: 'tab',
    broker: 'broker5',
    topic: '',
    qos: '2',
    datatype: 'auto-detect',
    inputs: 1,
    wires: [['dynFn']],
  },
  {
    id: 'dynFn',
    type: 'function',
    z: 'tab',
    func: `return {topic: 'dyn/' + msg.topic, payload: msg.payload, qos: 1}`,
    outputs: 1,
    wires: [['dynOut']],
  },
  { id: 'dynOut', type: 'mqtt out', z: 'tab', broker: 'broker5', topic: '', qos: '', retain: '', wires: [] },
]

class NodeRed {
  readonly #t: Finally
  readonly #folder: string
  process!: Running
  constructor(t: Finally, uiPort: number, flow: readonly FlowNode[]) {
    this.#t = t
    this.#folder = temporaryFolder(t)
    const settings = {
      uiPort,
      uiHost: '127.0.0.1',
      httpAdminRoot: false,
      httpNodeRoot: false,
      flowFile: 'flows.json',
      credentialSecret: false,
      mqttReconnectTime: 200,
      telemetry: { enabled: false, updateNotification: false },
      logging: { console: { level: 'info', metrics: false, audit: false } },
    }
    fs.writeFileSync(path.join(this.#folder, 'settings.js'), `module.exports = ${JSON.stringify(settings)}\n`)
    fs.writeFileSync(path.join(this.#folder, 'flows.json'), JSON.stringify(flow))
  }
  async start(): Promise<void> {
    const program = path.join(mqttClientFolder('node-red'), 'node_modules/node-red/red.js')
    const args = [program, '--settings', path.join(this.#folder, 'settings.js'), '--userDir', this.#folder]
    this.process = start(this.#t, process.execPath, args, { cwd: this.#folder, env: { HOME: this.#folder } })
    await this.process.until('its flows are started', () => this.process.log.includes('Started flows'), 60_000)
  }
}

type Rig = {
  readonly site: SiteBroker
  readonly nodeRed: NodeRed
  readonly client: MqttClient
  readonly got: IPublishPacket[]
}
async function startRig(t: TestContext): Promise<Rig> {
  // Where a message comes once for several subscriptions, Node-RED does not know what to do with their identifiers.
  const site = await startSiteBroker(t, { mqtt: 'mqtt: {listener: {subscriptionIdentifiers: false}}\n' })
  const flow = [
    { id: 'tab', type: 'tab', label: 'echo' },
    ...(['3', '4', '5'] as const).flatMap((version) => [
      brokerNode(site.port, version),
      ...echo(version, `in/${version}/#`, `All${version}`),
      ...echo(version, `in/${version}/special/+`, `Some${version}`),
    ]),
    ...DYNAMIC,
    // A node without a place is one of configuration.
  ].map((node: FlowNode) => (node['z'] === 'tab' ? { ...node, x: 0, y: 0 } : node))
  const [uiPort] = (await freePorts(1)) as [number]
  const nodeRed = new NodeRed(t, uiPort, flow)
  const client = await connectAsync(`mqtt://127.0.0.1:${site.port}`, { protocolVersion: 5, reconnectPeriod: 100 })
  t.after(async () => {
    await client.endAsync(true)
  })
  client.on('error', () => {
    /* the broker restarts */
  })
  const got: IPublishPacket[] = []
  client.on('message', (_topic, _payload, packet) => got.push(packet))
  await client.subscribeAsync({
    'out/#': { qos: 2, rap: true },
    'dyn/#': { qos: 2, rap: true },
    'nodered/#': { qos: 2, rap: true },
  })
  await nodeRed.start()
  return { site, nodeRed, client, got }
}

/** The payload that came last under each topic. */
const last = ({ got }: Rig, topic: string): string | undefined =>
  got.findLast((p) => p.topic === topic)?.payload.toString()
const says = (rig: Rig, text: string, ...versions: string[]): Promise<boolean> =>
  rig.nodeRed.process.until(`${versions.join()} say ${text}`, () =>
    versions.every((version) => last(rig, `nodered/${version}/status`) === text),
  )
async function echoed(rig: Rig, version: string, text: string): Promise<IPublishPacket> {
  const { client, got, nodeRed } = rig
  await client.publishAsync(`in/${version}/a`, text, { qos: 2 })
  const topic = `out/${version}/a/All${version}`
  return nodeRed.process.until(`${text} comes back of ${version}`, () =>
    got.find((p) => p.topic === topic && p.payload.toString() === text),
  )
}

test('Node-RED at meshlet', { timeout: 240_000 }, async (t) => {
  const rig = await startRig(t)
  await births(t, rig)
  await messages(t, rig)
  await subscriptions(t, rig)
  await restarts(t, rig)
})

async function births(t: TestContext, rig: Rig): Promise<void> {
  await t.test('births of MQTT 3.1, 3.1.1 and 5 are there, retained, with their properties', async () => {
    await says(rig, 'online', '3', '4', '5')
    const birth = rig.got.find((p) => p.topic === 'nodered/5/status')
    assert.equal(birth?.retain, true)
    assert.equal(birth?.properties?.contentType, 'text/plain')
  })
}

async function messages(t: TestContext, rig: Rig): Promise<void> {
  const { client, got, nodeRed } = rig
  await t.test('messages of every QoS come back as they were, large and binary ones too', async () => {
    for (const version of ['3', '4', '5']) {
      for (const qos of [0, 1, 2] as const) {
        await client.publishAsync(`in/${version}/q${qos}`, `text ${qos}`, { qos })
        const topic = `out/${version}/q${qos}/All${version}`
        const back = await nodeRed.process.until(`${topic} comes back`, () => got.find((p) => p.topic === topic))
        assert.deepEqual([back.payload.toString(), back.qos], [`text ${qos}`, qos])
      }
      const binary = Buffer.alloc(500_000, Buffer.from([0, 255, 128, 7]))
      await client.publishAsync(`in/${version}/binary`, binary, { qos: 1 })
      const topic = `out/${version}/binary/All${version}`
      const back = await nodeRed.process.until(`${topic} comes back`, () => got.find((p) => p.topic === topic))
      assert.ok(binary.equals(back.payload as Buffer))
    }
  })
  await t.test('properties of MQTT 5 come back', async () => {
    const properties = {
      contentType: 'application/json',
      responseTopic: 'answers/1',
      correlationData: Buffer.from([1, 2, 0, 255]),
      userProperties: { a: '1', b: 'ü' },
      messageExpiryInterval: 60,
      payloadFormatIndicator: true,
    }
    await client.publishAsync('in/5/properties', '{"n":1}', { qos: 1, properties })
    const topic = 'out/5/properties/All5'
    const back = await nodeRed.process.until('it comes back', () => got.find((p) => p.topic === topic))
    const { contentType, responseTopic, correlationData, userProperties } = back.properties ?? {}
    assert.deepEqual(
      { contentType, responseTopic, correlationData, userProperties: { ...userProperties } },
      {
        contentType: properties.contentType,
        responseTopic: properties.responseTopic,
        correlationData: properties.correlationData,
        userProperties: properties.userProperties,
      },
    )
  })
}

async function subscriptions(t: TestContext, rig: Rig): Promise<void> {
  const { client, got, nodeRed } = rig
  await t.test('two nodes with overlapping filters on one broker both get a message', async () => {
    for (const version of ['3', '4', '5']) {
      await client.publishAsync(`in/${version}/special/x`, 'both', { qos: 1 })
      await nodeRed.process.until(
        `both nodes of ${version}`,
        () =>
          ['All', 'Some'].every((name) => got.some((p) => p.topic === `out/${version}/special/x/${name}${version}`)),
        5_000,
      )
    }
  })
  await t.test('a node subscribes and unsubscribes while it runs, and gets what is retained', async () => {
    await client.publishAsync('late/one', 'kept', { qos: 1, retain: true })
    await client.publishAsync('ctl', JSON.stringify({ action: 'subscribe', topic: 'late/#', qos: 1 }), { qos: 1 })
    await nodeRed.process.until('what is retained', () => last(rig, 'dyn/late/one') === 'kept')
    await client.publishAsync('ctl', JSON.stringify({ action: 'unsubscribe', topic: 'late/#' }), { qos: 1 })
    await client.publishAsync('ctl', JSON.stringify({ action: 'subscribe', topic: 'other', qos: 0 }), { qos: 1 })
    await client.publishAsync('late/one', 'not wanted', { qos: 1 })
    await nodeRed.process.until('the other one', async () => {
      await client.publishAsync('other', 'x', { qos: 1 })
      return last(rig, 'dyn/other') === 'x'
    })
    assert.equal(last(rig, 'dyn/late/one'), 'kept')
    await client.publishAsync('late/one', '', { qos: 1, retain: true })
  })
}

const countConnects = ({ process: { log } }: NodeRed): number => log.split('Connected to broker').length - 1

async function restarts(t: TestContext, rig: Rig): Promise<void> {
  const { site, nodeRed, got } = rig
  await t.test(
    'meshlet is killed and started: Node-RED is there again by itself, with births and subscriptions',
    async () => {
      const times = countConnects(nodeRed)
      await site.agent.process.stop('SIGKILL')
      got.length = 0
      await site.agent.start()
      await nodeRed.process.until('all are connected again', () => countConnects(nodeRed) === times + 3)
      await says(rig, 'online', '3', '4', '5')
      for (const version of ['3', '4', '5']) await echoed(rig, version, 'after the restart')
    },
  )
  await t.test('Node-RED ends: its close messages are there, and no will', async () => {
    got.length = 0
    await nodeRed.process.stop('SIGTERM')
    await until('close messages', () => ['3', '4', '5'].every((v) => last(rig, `nodered/${v}/status`) === 'closed'))
    assert.ok(!got.some((p) => p.payload.toString() === 'lost'))
  })
  await t.test('Node-RED is killed: its wills are there, retained; it comes back', async () => {
    await nodeRed.start()
    await says(rig, 'online', '3', '4', '5')
    await nodeRed.process.stop('SIGKILL')
    await until('wills', () => ['3', '4', '5'].every((v) => last(rig, `nodered/${v}/status`) === 'lost'))
    const will = got.findLast((p) => p.topic === 'nodered/5/status')
    assert.equal(will?.retain, true)
    assert.deepEqual({ ...will?.properties?.userProperties }, { from: 'will' })
    await nodeRed.start()
    await says(rig, 'online', '3', '4', '5')
    for (const version of ['3', '4', '5']) await echoed(rig, version, 'and again')
  })
}
