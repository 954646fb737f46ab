/**
 * Home Assistant itself with its MQTT integration: a device that announces itself by discovery, its availability and
 * states, an automation that answers, births and wills on `homeassistant/status`, and the broker killed in between.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { freePorts } from '../../../../tools/free-ports.ts'
import { homeAssistant } from '../../peers.ts'
import { type Finally, type Running, start, temporaryFolder, until } from '../../programs.ts'
import { type SiteBroker, startSiteBroker } from './site-broker.ts'

const START_MS = 120_000

class HomeAssistant {
  readonly #t: Finally
  readonly #hass: string
  readonly #folder: string
  process!: Running
  constructor(
    t: Finally,
    hass: string,
    p: { readonly httpPort: number; readonly port: number; readonly protocol: string },
  ) {
    this.#t = t
    this.#hass = hass
    this.#folder = temporaryFolder(t)
    fs.writeFileSync(path.join(this.#folder, 'configuration.yaml'), configuration(p.httpPort))
    fs.mkdirSync(path.join(this.#folder, '.storage'))
    fs.writeFileSync(path.join(this.#folder, '.storage/core.config_entries'), integration(p.port, p.protocol))
  }
  start(): void {
    this.process = start(this.#t, this.#hass, ['-c', this.#folder, '--skip-pip'], {
      env: { HOME: this.#folder, PATH: `${path.dirname(this.#hass)}:${process.env['PATH'] ?? ''}` },
    })
  }
}
const configuration = (httpPort: number): string => `
homeassistant: {name: Press hall, latitude: 0, longitude: 0, elevation: 0, unit_system: metric, time_zone: UTC}
http: {server_host: 127.0.0.1, server_port: ${httpPort}}
logger: {default: warning}
automation:
- alias: echo
  mode: queued
  max: 100
  triggers: [{trigger: state, entity_id: sensor.press_temperature}]
  actions:
  - action: mqtt.publish
    data: {topic: echo/state, qos: 1, retain: true, payload: "{{ trigger.to_state.state }}"}
- alias: command
  mode: queued
  triggers: [{trigger: mqtt, topic: ask/light, qos: 1}]
  actions: [{action: light.turn_on, target: {entity_id: light.press_lamp}}]
`
/** As its dialogue stores it. */
const integration = (port: number, protocol: string): string =>
  JSON.stringify({
    version: 1,
    minor_version: 5,
    key: 'core.config_entries',
    data: {
      entries: [
        {
          created_at: '2025-01-01T00:00:00+00:00',
          modified_at: '2025-01-01T00:00:00+00:00',
          data: {
            broker: '127.0.0.1',
            port,
            discovery: true,
            discovery_prefix: 'homeassistant',
            protocol,
            keepalive: 60,
          },
          disabled_by: null,
          discovery_keys: {},
          domain: 'mqtt',
          entry_id: '01JAAAAAAAAAAAAAAAAAAAAAAA',
          minor_version: 2,
          options: {},
          pref_disable_new_entities: false,
          pref_disable_polling: false,
          source: 'user',
          subentries: [],
          title: 'broker',
          unique_id: null,
          version: 1,
        },
      ],
    },
  })

/** One device with a sensor, the old form of discovery, and a lamp, the new one. */
class Device {
  readonly heard: string[] = []
  readonly #client: MqttClient
  private constructor(client: MqttClient) {
    this.#client = client
  }
  static async connect(t: Finally, port: number): Promise<Device> {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
      reconnectPeriod: 100,
      clientId: 'press',
      clean: false,
      will: { topic: 'press/availability', payload: Buffer.from('offline'), qos: 1, retain: true },
    })
    t.after(async () => {
      await client.endAsync(true)
    })
    const device = new Device(client)
    client.on('error', () => {
      /* the broker restarts */
    })
    client.on('message', (topic, payload, { retain }) => device.heard.push(`${topic} ${payload.toString()} ${retain}`))
    await client.subscribeAsync(['homeassistant/status', 'echo/state', 'press/lamp/set'], { qos: 1 })
    return device
  }
  async announce(): Promise<void> {
    const device = { identifiers: ['press'], name: 'Press' }
    const availability_topic = 'press/availability'
    await this.say('homeassistant/sensor/press/temperature/config', {
      name: 'Temperature',
      unique_id: 'press-temperature',
      state_topic: 'press/state',
      value_template: '{{ value_json.temperature }}',
      availability_topic,
      device,
    })
    await this.say('homeassistant/device/press-lamp/config', {
      device,
      origin: { name: 'press' },
      availability_topic,
      components: {
        lamp: { platform: 'light', name: 'Lamp', unique_id: 'press-lamp', command_topic: 'press/lamp/set', qos: 1 },
      },
    })
    await this.say('press/availability', 'online')
  }
  async say(topic: string, payload: object | string, retain = true): Promise<void> {
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
    await this.#client.publishAsync(topic, text, { qos: 1, retain })
  }
  async measure(temperature: number): Promise<void> {
    await this.say('press/state', { temperature })
  }
  hears(what: string, ms = 60_000): Promise<unknown> {
    return until(
      `the device hears: ${what}`,
      () => this.heard.includes(what),
      ms,
      () => this.heard.join('\n'),
    )
  }
}

const hass = homeAssistant()
for (const protocol of ['3.1.1', '5'])
  test(
    `Home Assistant with MQTT ${protocol}`,
    { timeout: START_MS * 2, skip: hass === undefined && 'no Python 3.13 for Home Assistant' },
    async (t) => {
      const [httpPort] = (await freePorts(1)) as [number]
      const site = await startSiteBroker(t)
      const device = await Device.connect(t, site.port)
      await device.announce()
      await device.measure(20)
      const home = new HomeAssistant(t, hass!, { httpPort, port: site.port, protocol })
      home.start()
      await discovered(t, device)
      await brokerRestarts(t, site, device)
      await homeEnds(t, home, device)
    },
  )

async function discovered(t: TestContext, device: Device): Promise<void> {
  await t.test('what is retained is discovered, and the birth is heard', async () => {
    await device.hears('homeassistant/status online false', START_MS)
    await device.measure(21)
    await device.hears('echo/state 21 false')
  })
  await t.test('a command that is asked for over MQTT comes back as one of the lamp', async () => {
    await device.say('ask/light', 'x', false)
    await device.hears('press/lamp/set ON false')
  })
  await t.test('a device that goes is unavailable, and comes back with its state', async () => {
    await device.say('press/availability', 'offline')
    await device.hears('echo/state unavailable false')
    await device.say('press/availability', 'online')
    await device.measure(22)
    await device.hears('echo/state 22 false')
  })
}

async function brokerRestarts(t: TestContext, site: SiteBroker, device: Device): Promise<void> {
  await t.test('meshlet is killed and started: the birth comes again, then states and commands go on', async () => {
    device.heard.length = 0
    await site.agent.process.stop('SIGKILL')
    await site.agent.start()
    await device.hears('homeassistant/status online false')
    await device.measure(23)
    await device.hears('echo/state 23 false')
    await device.say('ask/light', 'x', false)
    await device.hears('press/lamp/set ON false')
  })
}

async function homeEnds(t: TestContext, home: HomeAssistant, device: Device): Promise<void> {
  await t.test('it is killed: its will is heard and not kept; it comes back to what is retained', async () => {
    device.heard.length = 0
    await home.process.stop('SIGKILL')
    await device.hears('homeassistant/status offline false')
    await device.measure(24)
    home.start()
    await device.hears('homeassistant/status online false', START_MS)
    await device.measure(25)
    await device.hears('echo/state 25 false')
    assert.equal(device.heard.filter((one) => one === 'homeassistant/status offline false').length, 1)
  })
  await t.test('it ends in order, and says so', async () => {
    device.heard.length = 0
    await home.process.stop('SIGTERM')
    await device.hears('homeassistant/status offline false')
  })
}
