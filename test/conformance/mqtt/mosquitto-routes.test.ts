/** Routes towards a real mosquitto: both ways without an echo, topics by templates, state topics, lazy and once. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { start, temporaryFolder, until, type Finally, type Running } from '../programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../package/shipped.ts'

const STATE = '$SYS/broker/connection/edge/state'

type Site = {
  readonly agent: Agent
  readonly cloud: Listening
  readonly device: Listening
  readonly mosquitto: Running
  restarted(): Promise<void>
}
type Listening = { readonly mqtt: MqttClient; readonly heard: string[] }

async function listening(t: Finally, port: number, filters: readonly string[]): Promise<Listening> {
  const mqtt = await connectAsync({ host: '127.0.0.1', port, protocolVersion: 5, reconnectPeriod: 100 })
  mqtt.on('error', () => {
    /* connections are lost on purpose */
  })
  t.after(async () => {
    await mqtt.endAsync(true)
  })
  const heard: string[] = []
  mqtt.on('message', (topic, payload) => heard.push(`${topic} ${payload.toString()}`))
  for (const filter of filters) await mqtt.subscribeAsync(filter, { qos: 1 })
  return { mqtt, heard }
}

async function startSite(t: Finally, mqtt: string): Promise<Site> {
  const [upstreamPort, mqttPort] = (await freePorts(2)) as [number, number]
  const folder = temporaryFolder(t)
  fs.writeFileSync(
    path.join(folder, 'mosquitto.conf'),
    `user root\nlistener ${upstreamPort} 127.0.0.1\nallow_anonymous true\n`,
  )
  const startMosquitto = async (): Promise<Running> => {
    const running = start(t, findDebianProgram('mosquitto'), ['-c', path.join(folder, 'mosquitto.conf')])
    await running.listening(upstreamPort)
    return running
  }
  let mosquitto = await startMosquitto()
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${mqttPort}}]\nmqtt:\n${mqtt}`),
  )
  writeResources(agent.folder, [staticCluster('broker', upstreamPort)])
  await agent.start()
  return {
    agent,
    get mosquitto() {
      return mosquitto
    },
    cloud: await listening(t, upstreamPort, ['#', STATE]),
    device: await listening(t, mqttPort, ['#', STATE]),
    async restarted() {
      await mosquitto.stop('SIGTERM')
      mosquitto = await startMosquitto()
    },
  }
}
const stateOf = async ({ agent }: Site): Promise<string | undefined> => (await agent.status())?.bridge[0]?.state
const reached = (site: Site, state: string): Promise<true> =>
  site.agent.process.until(`the bridge is ${state}`, async () => ((await stateOf(site)) === state ? true : undefined))

test('both ways under a template, each message once on each side', { timeout: 120_000 }, async (t) => {
  const site = await startSite(
    t,
    '  routes: [{match: line/+/#, direction: both, cluster: broker, topic: "sites/x/$1/$2", minQos: 1, clientId: edge}]\n',
  )
  await reached(site, 'connected')
  for (let i = 0; i < 20; i++) {
    await site.device.mqtt.publishAsync(`line/a/t/${i}`, 'up', { qos: 0 })
    await site.cloud.mqtt.publishAsync(`sites/x/b/${i}`, 'down', { qos: 1 })
  }
  await site.device.mqtt.publishAsync('line/last/x', 'up', { qos: 1 })
  await site.cloud.mqtt.publishAsync('sites/x/last/y', 'down', { qos: 1 })
  await until(
    'the last have come',
    () => site.cloud.heard.includes('sites/x/last/x up') && site.device.heard.includes('line/last/y down'),
    20_000,
    () => JSON.stringify([site.cloud.heard, site.device.heard]),
  )
  const both = (prefix: string): string[] =>
    [
      ...Array.from({ length: 20 }, (_, i) => [`${prefix}/a/t/${i} up`, `${prefix}/b/${i} down`]).flat(),
      `${prefix}/last/x up`,
      `${prefix}/last/y down`,
    ].toSorted()
  assert.deepEqual(site.cloud.heard.toSorted(), both('sites/x'))
  assert.deepEqual(site.device.heard.toSorted(), both('line'))
})

test('with 3.1.1 mosquitto gives nothing back to a bridge that says so', { timeout: 120_000 }, async (t) => {
  const site = await startSite(
    t,
    '  routes: [{match: line/#, direction: both, cluster: broker, clientId: edge}]\n  bridges: [{cluster: broker, clientId: edge, protocol: 3.1.1}]\n',
  )
  await reached(site, 'connected')
  for (let i = 0; i < 20; i++) {
    await site.device.mqtt.publishAsync(`line/up/${i}`, 'x', { qos: 1 })
    await site.cloud.mqtt.publishAsync(`line/down/${i}`, 'y', { qos: 1 })
  }
  await until('all has come', () => site.cloud.heard.length >= 40 && site.device.heard.length >= 40)
  await site.device.mqtt.publishAsync('line/last', 'x', { qos: 1 })
  await site.cloud.mqtt.publishAsync('line/end', 'x', { qos: 1 })
  await until(
    'the last have come',
    () => site.device.heard.includes('line/end x') && site.cloud.heard.includes('line/last x'),
  )
  assert.deepEqual([site.device.heard.length, site.cloud.heard.length], [42, 42])
  assert.match(site.agent.process.log, /"version":4,"isBridge":true/)
})

test('state topics: 1 and 0 on both sides, 0 by the will when meshlet is killed', { timeout: 120_000 }, async (t) => {
  const site = await startSite(
    t,
    '  routes: [{match: line/#, direction: up, cluster: broker, clientId: edge}]\n  bridges: [{cluster: broker, clientId: edge, notifications: both, reconnectMaxMs: 1000}]\n',
  )
  await until(
    'both sides know',
    () => site.cloud.heard.at(-1) === `${STATE} 1` && site.device.heard.at(-1) === `${STATE} 1`,
  )
  await site.restarted()
  await until(
    'this side has seen it go and come',
    () => site.device.heard.slice(-2).join() === `${STATE} 0,${STATE} 1`,
    20_000,
    () => JSON.stringify(site.device.heard),
  )
  await until('the other side knows again', () => site.cloud.heard.at(-1) === `${STATE} 1`)
  await site.agent.process.stop('SIGKILL')
  await until('the will says so', () => site.cloud.heard.at(-1) === `${STATE} 0`)
  await site.agent.start()
  await until('it is back', () => site.cloud.heard.at(-1) === `${STATE} 1`)
  await site.agent.process.stop('SIGTERM')
  await until('it said so itself', () => site.cloud.heard.at(-1) === `${STATE} 0`)
})

test('lazy: connects when enough waits, and leaves when it is idle', { timeout: 120_000 }, async (t) => {
  const site = await startSite(
    t,
    '  routes: [{match: line/#, direction: up, cluster: broker, clientId: edge}]\n  bridges: [{cluster: broker, clientId: edge, start: lazy, lazyMessages: 3, idleSec: 1}]\n',
  )
  for (const n of ['1', '2']) await site.device.mqtt.publishAsync('line/a', n, { qos: 1 })
  assert.deepEqual([await stateOf(site), site.cloud.heard], ['idle', []])
  await site.device.mqtt.publishAsync('line/a', '3', { qos: 1 })
  await until('all three have come', () => site.cloud.heard.length === 3)
  await reached(site, 'idle')
})

test('once: what ended is not begun again', { timeout: 120_000 }, async (t) => {
  const site = await startSite(
    t,
    '  routes: [{match: line/#, direction: up, cluster: broker, clientId: edge}]\n  bridges: [{cluster: broker, clientId: edge, start: once}]\n',
  )
  await reached(site, 'connected')
  await site.restarted()
  await reached(site, 'ended')
})
