/**
 * meshlet at a site with a real mosquitto as the upstream broker: both ways, over restarts of mosquitto and a SIGKILL
 * of meshlet.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { Ledger } from '../../../demo/mqtt-ledger.ts'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { start, temporaryFolder, until, type Finally, type Running } from '../programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../package/shipped.ts'

const BATCH = 100

/** A mosquitto that keeps its sessions over a SIGTERM, which is what it can do. */
class Mosquitto {
  readonly #t: Finally
  readonly #folder: string
  readonly #port: number
  process!: Running
  constructor(t: Finally, port: number) {
    this.#t = t
    this.#folder = temporaryFolder(t)
    this.#port = port
    // Its Receive Maximum is 20 otherwise, which MQTT.js, the client in the cloud, does not heed.
    fs.writeFileSync(
      path.join(this.#folder, 'mosquitto.conf'),
      `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location ${this.#folder}/\nmax_queued_messages 0\nmax_inflight_messages 1000\n`,
    )
  }
  async start(): Promise<void> {
    this.process = start(this.#t, findDebianProgram('mosquitto'), ['-c', path.join(this.#folder, 'mosquitto.conf')])
    await this.process.listening(this.#port)
  }
}

/** MQTT 5 with a session that outlives its connection. */
async function device(t: Finally, port: number, clientId: string): Promise<MqttClient> {
  const client = await connectAsync({
    host: '127.0.0.1',
    port,
    clientId,
    protocolVersion: 5,
    clean: false,
    reconnectPeriod: 100,
    properties: { sessionExpiryInterval: 3600 },
  })
  client.on('error', () => {
    /* connections are lost on purpose */
  })
  t.after(async () => {
    await client.endAsync(true)
  })
  return client
}

/** Devices on both sides of the bridge, and what was sent and has arrived. */
async function startRig(t: TestContext) {
  const [upstreamPort, mqttPort] = (await freePorts(2)) as [number, number]
  const mosquitto = new Mosquitto(t, upstreamPort)
  await mosquitto.start()
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners: [{name: mqtt, kind: mqtt, port: ${mqttPort}}]
mqtt:
  routes:
  - {match: telemetry/#, direction: up, cluster: broker}
  - {match: command/#, direction: down, cluster: broker}
  bridges: [{cluster: broker, reconnectMaxMs: 2000}]
`,
    ),
  )
  writeResources(agent.folder, [staticCluster('broker', upstreamPort)])
  await agent.start()
  const bridged = (): Promise<true> =>
    agent.process.until('the bridge is connected', async () =>
      (await agent.status())?.bridge.some((b) => b.cluster === 'broker' && b.state === 'connected') ? true : undefined,
    )

  const [cloud, plc, sensor] = [
    await device(t, upstreamPort, 'cloud'),
    await device(t, mqttPort, 'plc'),
    await device(t, mqttPort, 'sensor'),
  ]
  const [up, down] = [new Ledger(cloud, 'telemetry/'), new Ledger(plc, 'command/')]
  await cloud.subscribeAsync('telemetry/#', { qos: 2 })
  await plc.subscribeAsync('command/#', { qos: 2 })
  await bridged()
  const sent = { up: [] as string[], down: [] as string[] }
  /** Publishes a batch from one side; resolves when all of it is acknowledged there. */
  const publish = async (way: 'up' | 'down', qos: 1 | 2): Promise<void> => {
    const [client, topic] = way === 'up' ? [sensor, 'telemetry/line'] : [cloud, 'command/line']
    const keys = Array.from({ length: BATCH }, (_, i) => `${way}-${qos}-${sent[way].length + i}`)
    sent[way].push(...keys)
    await Promise.all(keys.map((key) => client.publishAsync(topic, key, { qos })))
  }
  const allThere = (): Promise<boolean> =>
    until(
      'everything has arrived',
      () => up.missing(sent.up) === 0 && down.missing(sent.down) === 0,
      60_000,
      () =>
        `missing: ${up.missing(sent.up)} of ${sent.up.length} up, ${down.missing(sent.down)} of ${sent.down.length} down\n${agent.process.log.slice(-2000)}`,
    )
  return { agent, mosquitto, up, down, sent, publish, allThere, bridged }
}
type Rig = Awaited<ReturnType<typeof startRig>>

test(
  'a bridge to mosquitto loses nothing in either direction while mosquitto restarts and meshlet is killed',
  { timeout: 300_000 },
  async (t) => {
    const rig = await startRig(t)
    await trafficAndRestarts(t, rig)
    await eitherSideAway(t, rig)
    await killedInTraffic(t, rig)
  },
)

async function trafficAndRestarts(
  t: TestContext,
  { mosquitto, up, down, sent, publish, allThere }: Rig,
): Promise<void> {
  await t.test('QoS 1 and 2 both ways while all is well: once each, in order', async () => {
    for (const qos of [1, 2] as const) {
      await publish('up', qos)
      await publish('down', qos)
    }
    await allThere()
    assert.deepEqual({ up: up.order, down: down.order }, sent)
    assert.deepEqual([up.duplicates, down.duplicates], [0, 0])
  })
  await t.test('mosquitto restarts in the middle of the traffic', async () => {
    for (let round = 0; round < 3; round++) {
      const traffic = Promise.all([publish('up', 1), publish('up', 2), publish('down', 1), publish('down', 2)])
      await mosquitto.process.stop('SIGTERM')
      await publish('up', 1)
      await publish('up', 2)
      await mosquitto.start()
      await traffic
    }
    await allThere()
  })
}

async function eitherSideAway(
  t: TestContext,
  { agent, mosquitto, up, sent, publish, allThere, bridged }: Rig,
): Promise<void> {
  await t.test(
    'what is published at the site while mosquitto is away is acknowledged, waits over a SIGKILL of meshlet, and arrives in the order of its QoS [MQTT-4.6.0-5]',
    async () => {
      await agent.process.until('mosquitto has acknowledged what it has', async () => {
        const b = (await agent.status())?.bridge[0]
        return b?.state === 'connected' && b.queued === 0
      })
      await mosquitto.process.stop('SIGTERM')
      const from = sent.up.length
      for (let i = 0; i < 5; i++) await publish('up', i % 2 ? 2 : 1)
      await agent.process.stop('SIGKILL')
      await agent.start()
      // More is possible: that a message is done with is written when something else is, and a kill may come first.
      assert.ok(((await agent.status())?.bridge[0]?.queued ?? 0) >= 5 * BATCH)
      await mosquitto.start()
      await allThere()
      const late = sent.up.slice(from)
      for (const qos of ['-1-', '-2-'])
        assert.deepEqual(
          up.order.filter((key) => late.includes(key) && key.includes(qos)),
          late.filter((key) => key.includes(qos)),
        )
    },
  )
  await t.test(
    "commands published while meshlet is down wait in mosquitto and come to the device's session",
    async () => {
      await bridged()
      await agent.process.stop('SIGKILL')
      await publish('down', 1)
      await publish('down', 2)
      await agent.start()
      await allThere()
    },
  )
}

async function killedInTraffic(
  t: TestContext,
  { agent, up, down, sent, publish, allThere, bridged }: Rig,
): Promise<void> {
  await t.test(
    'meshlet is killed in the middle of the traffic and mosquitto stays: nothing is lost, and QoS 2 comes once [MQTT-4.3.3-10]',
    async () => {
      const from = { up: sent.up.length, down: sent.down.length }
      for (let round = 0; round < 3; round++) {
        await bridged()
        const traffic = Promise.all([publish('up', 1), publish('up', 2), publish('down', 1), publish('down', 2)])
        await until('some of it has arrived', () =>
          up.order.some((key) => sent.up.indexOf(key) >= from.up + round * 2 * BATCH),
        )
        await agent.process.stop('SIGKILL')
        await agent.start()
        await traffic
      }
      await allThere()
      const exactlyOnce = [...sent.up.slice(from.up), ...sent.down.slice(from.down)].filter((key) =>
        key.includes('-2-'),
      )
      assert.deepEqual(
        exactlyOnce.filter((key) => up.times(key) + down.times(key) !== 1),
        [],
      )
    },
  )
  await t.test('at the end the spool is empty and nothing is wrong', async () => {
    await agent.process.until('the spool is empty', async () => (await agent.status())?.spool.messages === 0)
    assert.deepEqual((await agent.status())?.problems, [])
    // QoS 2 too may come twice where mosquitto restarts: 2.0 sends a PUBLISH again for which it has had the PUBREC
    // (its log shows both).
    t.diagnostic(
      `up: ${sent.up.length} sent, ${up.duplicates} twice; down: ${sent.down.length} sent, ${down.duplicates} twice`,
    )
  })
}
