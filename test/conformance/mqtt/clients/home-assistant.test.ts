/**
 * paho-mqtt as Home Assistant uses it (home-assistant.py): discovery topics that are retained, thousands of
 * subscriptions, births and wills on `homeassistant/status`, RETAIN of what comes live and with a subscription.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { pahoPython } from '../../peers.ts'
import { type Finally, type Running, start, until } from '../../programs.ts'
import { type SiteBroker, startSiteBroker } from './site-broker.ts'

/** Each is a subscription; what is said of them all, twice, is within the output that is kept (programs.ts). */
const ENTITIES = 1_500
type Told = { readonly event: string; readonly topic?: string; readonly bytes?: number; readonly retain?: boolean }

class HomeAssistant {
  readonly process: Running
  constructor(t: Finally, port: number, protocol: string, transport: string) {
    const script = path.join(import.meta.dirname, 'home-assistant.py')
    this.process = start(t, pahoPython(), [script, String(port), protocol, transport, String(ENTITIES)])
  }
  get told(): Told[] {
    return this.process.log
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Told)
  }
  /** Of messages of a topic: size, and whether each was retained. */
  of(topic: string, from = 0): string[] {
    return this.told
      .slice(from)
      .filter((one) => one.topic === topic)
      .map((one) => `${one.bytes} ${one.retain}`)
  }
  ready(times: number): Promise<boolean> {
    return this.process.until(
      `ready for the ${times}th time`,
      () => this.told.filter(({ event }) => event === 'ready').length === times,
    )
  }
}

/** Of a device, as Zigbee2MQTT, ESPHome or Tasmota publish it. */
const config = (n: number): string =>
  JSON.stringify({
    name: `Lamp ${n}`,
    unique_id: `lamp-${n}`,
    state_topic: `zigbee2mqtt/device-${n}`,
    schema: 'json',
    filler: 'x'.repeat(400),
  })

async function device(t: Finally, port: number): Promise<{ readonly client: MqttClient; readonly status: string[] }> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 100 })
  t.after(async () => {
    await client.endAsync(true)
  })
  client.on('error', () => {
    /* the broker restarts */
  })
  const status: string[] = []
  client.on('message', (_topic, payload, { retain }) => status.push(`${payload.toString()} ${retain}`))
  await client.subscribeAsync('homeassistant/status', { qos: 1 })
  return { client, status }
}

type Rig = {
  readonly site: SiteBroker
  readonly home: HomeAssistant
  readonly client: MqttClient
  readonly status: string[]
}
async function startRig(t: TestContext, protocol: string, transport: string): Promise<Rig> {
  const site = await startSiteBroker(t)
  const { client, status } = await device(t, site.port)
  // Devices were there before Home Assistant.
  await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      client.publishAsync(`homeassistant/light/lamp-${n}/config`, config(n), { qos: 1, retain: true }),
    ),
  )
  await client.publishAsync('homeassistant/sensor/lamp-0/power/config', config(0), { qos: 1, retain: true })
  const home = new HomeAssistant(t, site.port, protocol, transport)
  await home.ready(1)
  return { site, home, client, status }
}

for (const [protocol, transport] of [
  ['3.1.1', 'tcp'],
  ['5', 'tcp'],
  ['3.1', 'tcp'],
  ['5', 'websockets'],
] as const)
  test(`Home Assistant's client, MQTT ${protocol} over ${transport}`, { timeout: 120_000 }, async (t) => {
    const rig = await startRig(t, protocol, transport)
    await discovery(t, rig)
    await liveAndRetained(t, rig)
    await brokerRestarts(t, rig)
    await homeEnds(t, rig)
  })

async function discovery(t: TestContext, { home, client, status }: Rig): Promise<void> {
  await t.test('everything that is retained is discovered, once, and the birth is heard', async () => {
    await home.process.until(
      'all devices are known',
      () => home.told.filter(({ topic }) => topic?.endsWith('/config')).length >= 301,
    )
    assert.deepEqual(home.of('homeassistant/light/lamp-299/config'), [`${config(299).length} true`])
    assert.deepEqual(home.of('homeassistant/sensor/lamp-0/power/config'), [`${config(0).length} true`])
    await until('the birth', () => status.includes('online false'))
  })
  await t.test(
    'a device that comes, changes and goes: RETAIN is 0 of what is live, and an empty config is one',
    async () => {
      const topic = 'homeassistant/light/late/config'
      for (const payload of ['{}', '{"name":"x"}', ''])
        await client.publishAsync(topic, payload, { qos: 1, retain: true })
      await home.process.until('all three', () => home.of(topic).length === 3)
      assert.deepEqual(home.of(topic), ['2 false', '12 false', '0 false'])
    },
  )
}

async function liveAndRetained(t: TestContext, { home, client }: Rig): Promise<void> {
  const control = (told: object): Promise<unknown> =>
    client.publishAsync('test/control', JSON.stringify(told), { qos: 1 })
  await t.test('states of many entities arrive; what is subscribed again comes again, retained', async () => {
    await Promise.all(
      Array.from({ length: ENTITIES }, (_, n) =>
        client.publishAsync(`zigbee2mqtt/device-${n}`, '{"state":"ON"}', { retain: true, qos: 1 }),
      ),
    )
    await home.process.until(
      'all states',
      () => home.of(`zigbee2mqtt/device-${ENTITIES - 1}`).length === 1 && home.of('zigbee2mqtt/device-0').length === 1,
    )
    await control({ subscribe: 'zigbee2mqtt/device-7' })
    await home.process.until('once more', () => home.of('zigbee2mqtt/device-7').length === 2)
    assert.deepEqual(home.of('zigbee2mqtt/device-7'), ['14 false', '14 true'])
  })
  await t.test('what Home Assistant publishes arrives, of each QoS', async () => {
    const got: string[] = []
    client.on(
      'message',
      (topic, payload, { qos }) => topic.startsWith('zigbee2mqtt/lamp/') && got.push(`${payload.toString()} ${qos}`),
    )
    await client.subscribeAsync('zigbee2mqtt/lamp/+', { qos: 2 })
    for (const qos of [0, 1, 2])
      await control({ publish: 'zigbee2mqtt/lamp/set', payload: `on ${qos}`, qos, retain: false })
    await until('three commands', () => got.length === 3)
    assert.deepEqual(got, ['on 0 0', 'on 1 1', 'on 2 2'])
  })
}

async function brokerRestarts(t: TestContext, { site, home, status }: Rig): Promise<void> {
  await t.test('meshlet is killed and started: devices and states are there, the birth comes again', async () => {
    const from = home.told.length
    await site.agent.process.stop('SIGKILL')
    status.length = 0
    await site.agent.start()
    await home.ready(2)
    await home.process.until(
      'all of it again',
      () => home.told.slice(from).filter(({ topic }) => topic !== undefined).length >= ENTITIES + 301,
    )
    assert.deepEqual(home.of('homeassistant/light/lamp-299/config', from), [`${config(299).length} true`])
    assert.deepEqual(home.of('homeassistant/light/late/config', from), [], 'it was taken away')
    assert.deepEqual(home.of('zigbee2mqtt/device-7', from), ['14 true'])
    await until('the birth', () => status.includes('online false'))
  })
}

async function homeEnds(t: TestContext, { home, status }: Rig): Promise<void> {
  await t.test('Home Assistant ends without DISCONNECT, as it does: its will is heard and not kept', async () => {
    status.length = 0
    await home.process.stop('SIGTERM')
    await until('the will', () => status.includes('offline false'))
  })
}
