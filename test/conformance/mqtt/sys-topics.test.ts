/** `$SYS` of a real mosquitto and of meshlet after the same traffic: the same topics, and values that mean the same. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { run, start, temporaryFolder } from '../programs.ts'
import { TestAgent } from '../../scenarios/site.ts'

async function mosquitto(t: TestContext): Promise<number> {
  const [port] = (await freePorts(1)) as [number]
  const conf = path.join(temporaryFolder(t), 'mosquitto.conf')
  fs.writeFileSync(conf, `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n`)
  await start(t, findDebianProgram('mosquitto'), ['-c', conf]).listening(port)
  return port
}
async function meshlet(t: TestContext): Promise<number> {
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nlisteners: [{name: mqtt, kind: mqtt, port: 0}]\nmqtt: {sysIntervalSec: 1}\n`,
  )
  await agent.start()
  return agent.port('mqtt')
}

/** What a subscriber of mosquitto's own clients hears in three seconds, the last of each topic. */
async function heard(port: number): Promise<ReadonlyMap<string, string>> {
  const clients = findDebianProgram('mosquittoClients')
  const client = (verb: string, ...args: readonly string[]) =>
    run(clients.replace(/pub$/, verb), ['-h', '127.0.0.1', '-p', String(port), ...args])
  assert.equal((await client('sub', '-c', '-i', 'away', '-q', '1', '-t', 'a/#', '-E')).code, 0)
  for (let i = 0; i < 3; i++) assert.equal((await client('pub', '-t', 'a/b', '-m', 'four', '-q', '1')).code, 0)
  assert.equal((await client('pub', '-t', 'kept', '-m', 'x', '-r')).code, 0)
  const { out } = await client('sub', '-i', 'watcher', '-t', '$SYS/broker/#', '-q', '2', '-W', '4', '-F', '%t\t%p\t%q')
  const found = new Map<string, string>()
  for (const line of out.trim().split('\n')) {
    const [topic, value, qos] = line.split('\t')
    assert.equal(qos, '2', line)
    found.set(topic!, value!)
  }
  return found
}

test('all topics that mosquitto has, with values of the same form, and the same where both count the same', async (t) => {
  const [theirs, ours] = [await heard(await mosquitto(t)), await heard(await meshlet(t))]
  assert.ok(theirs.size > 45, `${theirs.size} topics`)
  assert.deepEqual(
    [...theirs.keys()].filter((topic) => !ours.has(topic)),
    [],
  )
  assert.deepEqual(
    [...ours.keys()].filter((topic) => !theirs.has(topic)),
    // In mosquitto(8), but not in every build of it.
    ['$SYS/broker/messages/inflight'],
  )
  const form = (value: string): string =>
    value.replace(/^(meshlet|mosquitto) version .*/, 'version').replace(/\d+/g, 'N')
  for (const [topic, value] of theirs) assert.equal(form(ours.get(topic)!), form(value), topic)
  // mosquitto 2.0.11 counts one PUBLISH less than it says in bytes, so that is not compared.
  for (const name of [
    'clients/total',
    'clients/connected',
    'clients/active',
    'clients/disconnected',
    'clients/inactive',
    'clients/expired',
    'shared_subscriptions/count',
    'publish/bytes/received',
    'publish/messages/dropped',
    'subscriptions/count',
  ])
    assert.equal(ours.get(`$SYS/broker/${name}`), theirs.get(`$SYS/broker/${name}`), name)
  assert.equal(ours.get('$SYS/broker/retained messages/count'), '1', 'mosquitto counts its own, too')
})
