/** A listener of mode transparent in front of a real mosquitto, which has the sessions, retained messages and wills. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync } from 'mqtt'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { start, temporaryFolder, until, type Finally, type Running } from '../programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../package/shipped.ts'
import { MosquittoClients } from './mosquitto-clients.ts'

const RULES =
  'mqtt: {deniedPublishes: acknowledge, rules: [{action: publish, topics: [secret/#], effect: deny}, {action: publish, effect: allow}]}'

async function startSite(
  t: Finally,
): Promise<{ readonly port: number; readonly brokerPort: number; stop(): Promise<unknown>; begin(): Promise<void> }> {
  const [brokerPort, port] = (await freePorts(2)) as [number, number]
  const folder = temporaryFolder(t)
  const conf = path.join(folder, 'mosquitto.conf')
  fs.writeFileSync(conf, `user root\nlistener ${brokerPort} 127.0.0.1\nallow_anonymous true\n`)
  let mosquitto: Running
  const begin = async (): Promise<void> => {
    mosquitto = start(t, findDebianProgram('mosquitto'), ['-c', conf])
    await mosquitto.listening(brokerPort)
  }
  await begin()
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners: [{name: devices, kind: mqtt, port: ${port}, mode: transparent, cluster: broker}]\n${RULES}`,
    ),
  )
  writeResources(agent.folder, [staticCluster('broker', brokerPort)])
  await agent.start()
  return { port, brokerPort, begin, stop: () => mosquitto.stop('SIGTERM') }
}

for (const [version, protocolVersion] of [
  ['mqttv311', 4],
  ['mqttv5', 5],
] as const)
  test(`${version}: QoS 0, 1 and 2, retained, denied topics and the will pass through to mosquitto`, async (t) => {
    const site = await startSite(t)
    const clients = new MosquittoClients(t, site.port, version)
    const sub = await clients.sub(['-t', '#', '-q', '2'])
    for (const qos of ['0', '1', '2']) await clients.pub(['-t', 'a/b', '-m', `m${qos}`, '-q', qos])
    await clients.pub(['-t', 'kept', '-m', 'r', '-q', '1', '-r'])
    await clients.pub(['-t', 'secret/x', '-m', 'hidden', '-q', '0'])
    await clients.pub(['-t', 'a/last', '-m', 'end', '-q', '1'])
    const dying = await connectAsync({
      port: site.port,
      protocolVersion,
      reconnectPeriod: 0,
      will: { topic: 'gone', payload: Buffer.from('dead'), qos: 1, retain: false },
    })
    dying.stream.destroy()
    await sub.program.until('the will has come', () => sub.program.log.includes('gone dead'))
    for (const line of ['0 0 a/b m0', '0 1 a/b m1', '0 2 a/b m2', '0 1 a/last end'])
      assert.ok(sub.program.log.includes(line), `${line} in\n${sub.program.log}`)
    assert.ok(!sub.program.log.includes('hidden'))
    const late = await new MosquittoClients(t, site.brokerPort, version).sub(['-t', 'kept', '-q', '1'])
    await late.program.until('the retained message has come', () => late.program.log.includes('1 1 kept r'))
  })

test('while mosquitto is away clients are refused with 0x88 and 3, and come in again when it is back', async (t) => {
  const site = await startSite(t)
  const connect = async (protocolVersion: 4 | 5): Promise<number> => {
    try {
      await (await connectAsync({ port: site.port, protocolVersion, reconnectPeriod: 0 })).endAsync(true)
      return 0
    } catch (thrown) {
      return (thrown as { readonly code: number }).code
    }
  }
  const open = await connectAsync({ port: site.port, protocolVersion: 5, reconnectPeriod: 0 })
  const closed = new Promise<void>((resolve) => {
    open.once('close', () => resolve())
  })
  await site.stop()
  await closed
  assert.deepEqual([await connect(5), await connect(4)], [0x88, 3])
  await site.begin()
  await until('clients come in', async () => ((await connect(5)) === 0 ? true : undefined))
})
