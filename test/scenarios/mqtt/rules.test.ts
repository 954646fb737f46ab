/** MQTT rules that are pushed and change, from the resource file to the client's socket. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { freePorts } from '../../../tools/free-ports.ts'
import { TestAgent, until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

type Rule = { readonly action: string; readonly topics?: readonly string[]; readonly effect: string }
const OPEN_ONLY: readonly Rule[] = [{ action: 'subscribe', topics: ['open/#'], effect: 'allow' }]

/** Replaced at once, as a program does it: half a file is a file that cannot be read. */
function push(folder: string, port: number, rules: readonly Rule[], address = '127.0.0.1'): void {
  const filter = {
    name: 'meshlet.mqtt_proxy',
    typed_config: {
      '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
      type_url: 'meshlet/mqtt',
      value: { rules },
    },
  }
  const listener = {
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name: 'pushed',
    address: { socket_address: { address, port_value: port } },
    filter_chains: [{ filters: [filter] }],
  }
  writeFileSync(path.join(folder, '.next'), JSON.stringify({ resources: [listener] }))
  renameSync(path.join(folder, '.next'), path.join(folder, 'mqtt.json'))
}

const clientsAt =
  (t: TestContext, port: number) =>
  async (clientId: string, more: IClientOptions = {}): Promise<MqttClient> => {
    const made = await connectAsync({
      host: '127.0.0.1',
      port,
      clientId,
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...more,
    })
    made.on('error', () => {})
    t.after(() => {
      made.end(true)
    })
    return made
  }

test('rules that are pushed act on whoever is connected, on who is away, and on a bare listener in the status', async (t) => {
  const [port] = await freePorts(1)
  const folder = temporaryFolder(t)
  push(folder, port!, [])
  const agent = new TestAgent(t, `directory: ${folder}`)
  await agent.start()
  const client = clientsAt(t, port!)
  const keep: IClientOptions = { clean: false, properties: { sessionExpiryInterval: 3600 } }
  const away = await client('away', keep)
  await away.subscribeAsync('secret/#', { qos: 1 })
  await away.endAsync()
  const got: string[] = []
  const live = await client('live')
  live.on('message', (topic, payload) => {
    got.push(`${topic} ${payload.toString()}`)
  })
  await live.subscribeAsync(['secret/#', 'open/#'], { qos: 1 })
  const sender = await client('sender')
  await sender.publishAsync('secret/a', '1', { qos: 1 })
  await until('the first has come', () => got.length === 1)
  assert.equal(agent.status().spool.messages, 1, 'and one waits')

  push(folder, port!, OPEN_ONLY)
  await until(
    'both have lost their subscription',
    () => agent.agent.metrics.total('mesh_mqtt_subscriptions_revoked_total') === 2,
  )
  await sender.publishAsync('secret/a', '2', { qos: 1 })
  await sender.publishAsync('open/a', '3', { qos: 1 })
  await until('the last has come', () => got.includes('open/a 3'))
  assert.deepEqual(got, ['secret/a 1', 'open/a 3'])
  assert.equal(live.connected && sender.connected, true, 'nobody was cut off')
  assert.equal(agent.status().spool.messages, 1, 'nothing more waits for who is away')
  assert.deepEqual(
    agent.lines
      .filter((l) => l['evt'] === 'mqtt.subscription.revoked')
      .map((l) => String(l['clientId']))
      .toSorted(),
    ['away', 'live'],
  )
  const back = await client('away', keep)
  back.on('message', (topic) => {
    got.push(topic)
  })
  await until('what waited is dropped', () => agent.status().spool.messages === 0)
  assert.equal(got.length, 2)

  assert.deepEqual(agent.problems(), [])
  push(folder, port!, [], '0.0.0.0')
  await until('the bare listener is told', () => agent.problems().includes('MESH_LISTENER_OPEN'))
})

test('a bare listener of agent.yaml is told at the start, in the log and in the status', async (t) => {
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nlisteners: [{name: bare, kind: mqtt, port: 0, address: 0.0.0.0}, {name: meant, kind: mqtt, port: 0, address: 0.0.0.0, acceptAnyone: true}]`,
  )
  await agent.start()
  assert.deepEqual(
    agent.status().problems.map((p) => [p.code, p.text]),
    [['MESH_LISTENER_OPEN', 'listener bare on 0.0.0.0:0 takes MQTT in plain text from anybody, without any rules']],
  )
  assert.equal(agent.lines.filter((l) => l['evt'] === 'listener.exposed' && l['level'] === 'warn').length, 1)
})

test('an AuthorizationPolicy about topics, as istiod sends it: per packet, and not where no MQTT is spoken', async (t) => {
  const [port] = await freePorts(1)
  const folder = temporaryFolder(t)
  const metadata = (key: string, value: object): object => ({
    metadata: { filter: 'envoy.filters.network.meshlet.mqtt_proxy', path: [{ key }], value },
  })
  const exact = (text: string): object => ({ string_match: { exact: text } })
  const rbac = (action: string, permission: object): object => ({
    name: 'envoy.filters.network.rbac',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
      stat_prefix: 'tcp.',
      rules: {
        action,
        policies: { 'ns[edge]-policy[mqtt]-rule[0]': { permissions: [permission], principals: [{ any: true }] } },
      },
    },
  })
  const listener = (...policies: object[]): void => {
    const filter = {
      name: 'meshlet.mqtt_proxy',
      typed_config: {
        '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
        type_url: 'meshlet/mqtt',
        value: {},
      },
    }
    const made = {
      '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
      name: 'pushed',
      address: { socket_address: { address: '127.0.0.1', port_value: port } },
      filter_chains: [{ filters: [...policies, filter] }],
    }
    writeFileSync(path.join(folder, '.next'), JSON.stringify({ resources: [made] }))
    renameSync(path.join(folder, '.next'), path.join(folder, 'mqtt.json'))
  }
  const allow = rbac('ALLOW', {
    or_rules: { rules: [metadata('topic', exact('in/#')), metadata('action', exact('subscribe'))] },
  })
  listener(allow)
  const agent = new TestAgent(t, `directory: ${folder}`)
  await agent.start()
  const client = await clientsAt(t, port!)('one')
  const publish = (topic: string): Promise<number> =>
    client.publishAsync(topic, 'x', { qos: 1 }).then(
      () => 0,
      (err: { readonly code?: number }) => err.code ?? -1,
    )
  assert.deepEqual([await publish('in/a'), await publish('out/a')], [0, 0x87])
  listener(rbac('DENY', metadata('topic', exact('in/secret'))), allow)
  await until('the deny is in force', async () => (await publish('in/secret')) === 0x87)
  assert.deepEqual([await publish('in/a'), client.connected, agent.problems()], [0, true, []])
  await assert.rejects(client.subscribeAsync('in/#'), 'a part of it is denied')
  listener(rbac('DENY', metadata('topic', { present_match: true })))
  await until('what is not understood cuts off', () => !client.connected)
})
