/** A real mosquitto whose bridge has meshlet as its upstream broker, in every version that it speaks. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { start, temporaryFolder, until, type Finally } from '../programs.ts'
import { Agent, directoryMode, writeResources } from '../package/shipped.ts'

async function client(t: Finally, port: number, clientId: string): Promise<{ mqtt: MqttClient; heard: string[] }> {
  const mqtt = await connectAsync({ host: '127.0.0.1', port, clientId, protocolVersion: 5 })
  t.after(async () => {
    await mqtt.endAsync(true)
  })
  const heard: string[] = []
  mqtt.on('message', (topic, payload, { retain }) =>
    heard.push(`${topic} ${payload.toString()}${retain ? ' retain' : ''}`),
  )
  return { mqtt, heard }
}

for (const { name, lines } of [
  { name: 'as it is by default (3.1.1, try_private)', lines: '' },
  { name: 'mqttv31', lines: 'bridge_protocol_version mqttv31\n' },
  { name: 'mqttv50', lines: 'bridge_protocol_version mqttv50\n' },
]) {
  test(`mosquitto's bridge ${name}: both ways, each message once`, { timeout: 120_000 }, async (t) => {
    const [port, downPort] = (await freePorts(2)) as [number, number]
    const agent = await Agent.create(t, (home, adminPort) =>
      directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\n`),
    )
    writeResources(agent.folder, [])
    await agent.start()
    const up = await client(t, port, 'cloud')
    await up.mqtt.publishAsync('a/before', 'kept', { qos: 1, retain: true })
    const folder = temporaryFolder(t)
    fs.writeFileSync(
      path.join(folder, 'mosquitto.conf'),
      `user root\nlistener ${downPort} 127.0.0.1\nallow_anonymous true\nconnection up\naddress 127.0.0.1:${port}\n${lines}topic a/# both 1\nremote_clientid site\n`,
    )
    const mosquitto = start(t, findDebianProgram('mosquitto'), ['-c', path.join(folder, 'mosquitto.conf')])
    await mosquitto.listening(downPort)
    const down = await client(t, downPort, 'device')
    await down.mqtt.subscribeAsync('a/#', { qos: 1, rap: true })
    await up.mqtt.subscribeAsync('a/#', { qos: 1, rap: true })
    await until(
      'the retained message has come down',
      () => down.heard.some((one) => one.startsWith('a/before kept')),
      20_000,
      () => mosquitto.log,
    )
    up.heard.length = down.heard.length = 0
    for (let i = 0; i < 20; i++) {
      await up.mqtt.publishAsync(`a/up/${i}`, 'x', { qos: 1 })
      await down.mqtt.publishAsync(`a/down/${i}`, 'y', { qos: 1 })
    }
    const own = (from: string, text: string): string[] => Array.from({ length: 20 }, (_, i) => `a/${from}/${i} ${text}`)
    const all = new Set([...own('up', 'x'), ...own('down', 'y')])
    await until('all has come', () => up.heard.length >= 40 && down.heard.length >= 40)
    // A loop would go on.
    await down.mqtt.publishAsync('a/last', 'z', { qos: 1 })
    await until('the last has come', () => up.heard.includes('a/last z') && down.heard.includes('a/last z'))
    for (const { heard } of [up, down]) {
      assert.deepEqual(new Set(heard.filter((one) => one !== 'a/last z')), all)
      assert.equal(heard.length, 41, 'each once')
    }
  })
}
