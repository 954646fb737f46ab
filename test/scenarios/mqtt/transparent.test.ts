/** A listener of mode transparent that is pushed: to the broker, in the pages of the admin port, and by hand. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { freePorts } from '../../../tools/free-ports.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { TestAgent, until } from '../site.ts'

const TYPES = 'type.googleapis.com'

function push(folder: string, p: { readonly port: number; readonly broker: number; readonly value: object }): void {
  const at = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } })
  const listener = {
    '@type': `${TYPES}/envoy.config.listener.v3.Listener`,
    name: 'pushed',
    address: at(p.port),
    filter_chains: [
      {
        filters: [
          {
            name: 'meshlet.mqtt_proxy',
            typed_config: { '@type': `${TYPES}/xds.type.v3.TypedStruct`, type_url: 'meshlet/mqtt', value: p.value },
          },
        ],
      },
    ],
  }
  const cluster = {
    '@type': `${TYPES}/envoy.config.cluster.v3.Cluster`,
    name: 'broker',
    type: 'STATIC',
    load_assignment: {
      cluster_name: 'broker',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: at(p.broker) } }] }],
    },
  }
  fs.writeFileSync(path.join(folder, '.next'), JSON.stringify({ resources: [listener, cluster] }))
  fs.renameSync(path.join(folder, '.next'), path.join(folder, 'mqtt.json'))
}

test('a pushed transparent listener: proxied, listed, kicked, and another one when its cluster is taken away', async (t) => {
  const [port, broker] = (await freePorts(2)) as [number, number]
  const folder = temporaryFolder(t)
  const rules = [
    { action: 'publish', topics: ['open/#'], effect: 'allow' },
    { action: 'subscribe', effect: 'allow' },
  ]
  push(folder, { port, broker, value: { mode: 'transparent', cluster: 'broker', rules } })
  const site = new TestAgent(t, `directory: ${folder}\nlisteners: [{name: broker, kind: mqtt, port: ${broker}}]`)
  const agent = await site.start()
  const connect = async (clientId: string): Promise<MqttClient> => {
    const client = await connectAsync({ host: '127.0.0.1', port, clientId, protocolVersion: 5, reconnectPeriod: 0 })
    client.on('error', () => undefined)
    t.after(() => void client.end(true))
    return client
  }
  const admin = async (method: string, page: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${agent.adminPort}${page}`, { method })).text()
  const reader = await connect('reader')
  const got: string[] = []
  reader.on('message', (topic) => got.push(topic))
  await reader.subscribeAsync('#', { qos: 1 })
  const sender = await connect('sender')
  await sender.publishAsync('open/a', 'x', { qos: 1 })
  await assert.rejects(sender.publishAsync('secret/a', 'x', { qos: 1 }), { code: 0x87 })
  await until('it has come through both listeners', () => got.includes('open/a'))

  const { items } = JSON.parse(await admin('GET', '/mqtt/clients')) as {
    items: { clientId: string; listener: string; cluster: string }[]
  }
  assert.deepEqual(
    items.map(({ clientId, listener, cluster }) => `${clientId} ${listener} ${cluster}`),
    ['reader broker ', 'reader pushed broker', 'sender broker ', 'sender pushed broker'],
  )
  assert.match(await admin('GET', '/stats/prometheus'), /mesh_mqtt_proxied_connections 2/)
  const gone = new Promise((resolve) => void reader.once('close', () => resolve(undefined)))
  assert.equal(await admin('POST', '/mqtt/kick?id=reader'), 'disconnected reader\n')
  await gone
  assert.ok(sender.connected)

  const closed = new Promise((resolve) => void sender.once('close', () => resolve(undefined)))
  push(folder, { port, broker, value: {} })
  await closed
  const direct = await connect('direct')
  await direct.publishAsync('secret/a', 'x', { qos: 1 })
  assert.match(await admin('GET', '/stats/prometheus'), /mesh_mqtt_proxied_connections 0/)
})
