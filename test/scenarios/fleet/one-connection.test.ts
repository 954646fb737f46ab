/** A network in which nothing but the relay's port can be reached, through a proxy that asks who comes. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { askDevice } from '../../../hub/reports/ask-device.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { services } from '../../hub/relay/rig.ts'
import { passage } from '../../control-sync/fleet/passage.ts'
import { testHub } from '../../hub/start-hub.ts'
import { until } from '../site.ts'
import { device, joinAs, startDevice } from './device.ts'

const RELAY = 'dnsNames: [127.0.0.1, hub.demo.mesh]\nrelay: {listen: "127.0.0.1:0"}\n'

test('an agent joins, takes its configuration and renews over one port, and over one connection at a time', async (t) => {
  const hub = await testHub(t, RELAY)
  hub.write('mesh.json', services(10))
  const at = hub.hub.relayPort!
  const permitted = new RegExp(
    `^CONNECT hub\\.demo\\.mesh:${at} HTTP/1\\.1\r\n[^]*Proxy-Authorization: Basic ZWRnZTpzZWNyZXQ=\r\n`,
  )
  const { state, port } = await passage(t, at, (head) =>
    permitted.test(head) ? 'HTTP/1.1 200 OK\r\n\r\n' : 'HTTP/1.1 403 Forbidden\r\n\r\n',
  )
  const d = device(
    t,
    { hub: { apiPort: at } },
    { host: 'hub.demo.mesh', env: { HTTPS_PROXY: `http://edge:secret@127.0.0.1:${port}` } },
  )
  await joinAs('gw-1', d, hub)
  const yaml = fs.readFileSync(d.file, 'utf8')
  assert.match(yaml, new RegExp(`address: wss://hub\\.demo\\.mesh:${at}\n`))
  assert.doesNotMatch(yaml, /https:/, 'there is no other address')
  fs.writeFileSync(d.file, yaml.replace('trustBundle: true', 'trustBundle: true\n  commands: [renew]'))

  const proxy = { address: { host: '127.0.0.1', port }, credentials: 'edge:secret', noProxy: [] }
  const agent = await startDevice(t, d, undefined, proxy)
  await until('clusters are there', () => agent.status().config.resources['clusters'] === 10)
  const { registry } = hub.hub
  const counter = async (): Promise<number> => (await registry.enrollments.byName('gw-1'))!.counter
  const before = await counter()
  await until('the hub shows it', async () =>
    (await registry.devices()).some((r) => r.name === 'gw-1' && r.connectedMs !== null),
  )
  await askDevice(registry, {
    device: 'gw-1',
    request: { command: 'renew', operator: 'test' } as never,
    clock: systemClock,
  })
  await until('it has renewed', async () => (await counter()) > before)
  assert.equal(state.connections, 2, 'one for joining, and one for everything else')
  assert.equal(agent.status().control.link, 'connected')
  assert.match(hub.metrics.text(), /mesh_hub_connections\{port="grpc"\} 0/)
})
