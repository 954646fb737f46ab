/**
 * Zigbee2MQTT's own MQTT client, with its settings: state and will of the bridge, a large retained list of devices,
 * commands, births of Home Assistant, TLS with a password, restarts of either.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { testCa } from '../../../helpers/test-ca.ts'
import { mqttClientFolder } from '../../peers.ts'
import { distFile, type Finally, run, type Running, start, temporaryFolder, until } from '../../programs.ts'
import { type SiteBroker, startSiteBroker } from './site-broker.ts'

/** Of a large network; Zigbee2MQTT announces that it takes 1 MiB. */
const DEVICE_LIST_BYTES = 1_000_000

class Zigbee2Mqtt {
  readonly #t: Finally
  readonly #data: string
  process!: Running
  constructor(t: Finally, mqtt: Readonly<Record<string, unknown>>) {
    this.#t = t
    this.#data = temporaryFolder(t)
    const settings = {
      version: 5,
      mqtt: { base_topic: 'zigbee2mqtt', ...mqtt },
      serial: { port: '/dev/null' },
      advanced: { log_output: ['console'] },
    }
    fs.writeFileSync(path.join(this.#data, 'configuration.yaml'), JSON.stringify(settings))
  }
  async start(): Promise<void> {
    const program = path.join(import.meta.dirname, 'zigbee2mqtt.cjs')
    const root = path.join(mqttClientFolder('zigbee2mqtt'), 'node_modules/zigbee2mqtt')
    this.process = start(this.#t, process.execPath, [program, root, String(DEVICE_LIST_BYTES)], {
      env: { ZIGBEE2MQTT_DATA: this.#data },
    })
    await this.process.until('it is connected', () => this.process.log.includes('{"connected"'))
  }
  /** Topics of what it was given. */
  get heard(): string[] {
    return this.process.log
      .split('\n')
      .filter((line) => line.startsWith('{"topic"'))
      .map((line) => (JSON.parse(line) as { topic: string }).topic)
  }
}

class Client {
  readonly got: IPublishPacket[] = []
  readonly mqtt: MqttClient
  private constructor(mqtt: MqttClient) {
    this.mqtt = mqtt
    mqtt.on('message', (_topic, _payload, packet) => this.got.push(packet))
    mqtt.on('error', () => {
      /* the broker restarts */
    })
  }
  static async connect(t: Finally, url: string, options: IClientOptions = {}): Promise<Client> {
    const client = new Client(await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 100, ...options }))
    t.after(async () => {
      await client.mqtt.endAsync(true)
    })
    await client.mqtt.subscribeAsync(['zigbee2mqtt/#', 'homeassistant/#'], { qos: 1, rap: true })
    return client
  }
  last(topic: string): string | undefined {
    return this.got.findLast((packet) => packet.topic === topic)?.payload.toString()
  }
  says(topic: string, text: string): Promise<boolean> {
    return until(
      `${topic} says ${text}`,
      () => this.last(topic) === text,
      20_000,
      () => `it says ${this.last(topic)?.slice(0, 200)}`,
    )
  }
}

const ONLINE = '{"state":"online"}'
const OFFLINE = '{"state":"offline"}'
const STATE = 'zigbee2mqtt/bridge/state'
const DEVICES = 'zigbee2mqtt/bridge/devices'

for (const version of [4, 5] as const)
  test(`Zigbee2MQTT at meshlet, version ${version}`, { timeout: 180_000 }, async (t) => {
    const site = await startSiteBroker(t)
    const url = `mqtt://127.0.0.1:${site.port}`
    const bridge = new Zigbee2Mqtt(t, { server: url, version, keepalive: 60, client_id: 'z2m' })
    const client = await Client.connect(t, url)
    await bridge.start()
    await talk(t, { bridge, client, site, url })
    await restart(t, { bridge, client, site, url })
    await end(t, { bridge, client, site, url })
  })

type Rig = { readonly bridge: Zigbee2Mqtt; readonly client: Client; readonly site: SiteBroker; readonly url: string }

async function talk(t: TestContext, { bridge, client, url }: Rig): Promise<void> {
  await t.test('its state, its devices and what it tells Home Assistant are there, and retained', async () => {
    await client.says(STATE, ONLINE)
    await until('the devices', () => client.last(DEVICES)?.length === DEVICE_LIST_BYTES)
    await until('discovery', () => client.last('homeassistant/light/0x01/light/config') !== undefined)
    const late = await Client.connect(t, url)
    await late.says(STATE, ONLINE)
    await until('the devices', () => late.last(DEVICES)?.length === DEVICE_LIST_BYTES)
    assert.ok(late.got.every(({ retain }) => retain))
  })
  await t.test('commands get there and back; Home Assistant’s birth is answered', async () => {
    await client.mqtt.publishAsync('zigbee2mqtt/lamp/set', '{"state":"ON"}')
    await client.says('zigbee2mqtt/lamp', '{"state":"ON"}')
    await client.mqtt.publishAsync('zigbee2mqtt/bridge/request/ping', 'x')
    await client.says('zigbee2mqtt/bridge/response/ping', 'x')
    const before = client.got.length
    await client.mqtt.publishAsync('homeassistant/status', 'online', { retain: true })
    await until('it discovers again', () => client.got.slice(before).some(({ topic }) => topic.endsWith('/config')))
    assert.ok(!bridge.heard.includes(STATE), 'what it published itself is none of its commands')
  })
}

async function restart(t: TestContext, { bridge, client, site, url }: Rig): Promise<void> {
  await t.test('meshlet is killed and started: it is there again, and what is retained was never gone', async () => {
    client.got.length = 0
    await site.agent.process.stop('SIGKILL')
    await site.agent.start()
    const late = await Client.connect(t, url)
    await until('the devices', () => late.last(DEVICES)?.length === DEVICE_LIST_BYTES)
    await late.says(STATE, ONLINE)
    await until('it answers again', async () => {
      await late.mqtt.publishAsync('zigbee2mqtt/bridge/request/ping', 'again')
      return late.last('zigbee2mqtt/bridge/response/ping') === 'again'
    })
    assert.ok(bridge.process.running)
  })
}

async function end(t: TestContext, { bridge, client, url }: Rig): Promise<void> {
  await t.test('it is killed: the will says so, retained', async () => {
    await bridge.process.stop('SIGKILL')
    await client.says(STATE, OFFLINE)
    const late = await Client.connect(t, url)
    await late.says(STATE, OFFLINE)
  })
  await t.test('it ends: it says so itself', async () => {
    await bridge.start()
    await client.says(STATE, ONLINE)
    assert.equal(await bridge.process.stop('SIGTERM'), 0)
    await client.says(STATE, OFFLINE)
  })
}

test(
  'Zigbee2MQTT over TLS with a certificate authority of its own, a user and a password',
  { timeout: 120_000 },
  async (t) => {
    const folder = temporaryFolder(t)
    const ca = testCa()
    const server = ca.issue('site', 'broker', { dnsNames: ['localhost'] })
    const file = (name: string, text: string): string => {
      fs.writeFileSync(path.join(folder, name), text, { mode: 0o600 })
      return path.join(folder, name)
    }
    const [chain, key, root] = [
      file('chain.pem', server.chainPem),
      file('key.pem', server.keyPem),
      file('ca.pem', ca.rootsPem),
    ]
    const users = path.join(folder, 'users')
    const made = await run(process.execPath, [distFile('meshlet.cjs'), 'mqtt', 'passwd', '-c', users, 'z2m'], {
      input: 'secret\nsecret\n',
    })
    assert.equal(made.code, 0, made.err)
    const site = await startSiteBroker(t, {
      listener: `tls: {mode: server, chain: ${chain}, key: ${key}}`,
      mqtt: `mqtt: {users: {passwordFile: ${users}}}\n`,
    })
    const url = `mqtts://localhost:${site.port}`
    const bridge = new Zigbee2Mqtt(t, {
      server: url,
      user: 'z2m',
      password: 'secret',
      ca: root,
      reject_unauthorized: true,
    })
    await bridge.start()
    const client = await Client.connect(t, url, { username: 'z2m', password: 'secret', ca: fs.readFileSync(root) })
    await client.says(STATE, ONLINE)
    const careless = new Zigbee2Mqtt(t, {
      server: url,
      user: 'z2m',
      password: 'secret',
      reject_unauthorized: false,
      client_id: 'other',
    })
    await careless.start()
  },
)
