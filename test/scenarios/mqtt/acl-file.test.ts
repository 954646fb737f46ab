/** An acl file of agent.yaml, from the disk to the client's socket and the status. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { TestAgent, until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

test('nobody connects before the acl file is there; a wrong one leaves the last in force, and is told', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'acl')
  const write = (text: string): void => {
    writeFileSync(`${file}.new`, text)
    renameSync(`${file}.new`, file)
  }
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nmqtt: {aclFile: ${file}}\nlisteners: [{name: mqtt, kind: mqtt, port: 0}]`,
  )
  await agent.start()
  const dial = async (clientId: string): Promise<MqttClient> => {
    const port = agent.port('mqtt')
    const client = await connectAsync({ host: '127.0.0.1', port, clientId, protocolVersion: 5, reconnectPeriod: 0 })
    t.after(() => {
      client.end(true)
    })
    return client
  }
  const publish = async (client: MqttClient, topic: string): Promise<number> => {
    try {
      await client.publishAsync(topic, 'x', { qos: 1 })
      return 0
    } catch (err) {
      return (err as { code?: number }).code ?? -1
    }
  }
  await assert.rejects(dial('early'), { code: 0x88 })
  assert.deepEqual(agent.problems(), ['MESH_MQTT_ACL_FILE'])

  write('topic write in/#\ntopic read #\n')
  await until('the file is in force', () => agent.problems().length === 0)
  const client = await dial('one')
  assert.deepEqual([await publish(client, 'in/a'), await publish(client, 'out/a')], [0, 0x87])

  write('topic write in/#\ntopic frobnicate #\n')
  await until('the mistake is told', () => agent.problems().includes('MESH_MQTT_ACL_FILE'))
  assert.match(agent.status().problems[0]!.text, /acl: line 2: "frobnicate" is none of/)
  assert.equal(await publish(client, 'in/a'), 0)

  write('topic write out/#\n')
  await until('the next one is in force', async () => (await publish(client, 'out/a')) === 0)
  assert.deepEqual([await publish(client, 'in/a'), agent.problems()], [0x87, []])
})
