/**
 * Configuration and neighbours that are wrong around an agent that runs: it serves what it can, says what is wrong, and
 * recovers by itself.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import { App } from '../../demo/services.ts'
import { nothingIsWrong, problem } from './cli.ts'
import { device, MQTT, publish } from './mqtt/devices.ts'
import { Service, TestAgent, until, type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

function resources(t: Finally, text: string): string {
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/all.yaml`, text)
  return folder
}
const routesTo = (good: string): string => `resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: http_proxy
  virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /bad}, route: {cluster: gone}}, {match: {prefix: /}, direct_response: {status: ${good}}}]}]
`
const clusterGone = (port: number): string => `resources:
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: gone, type: STATIC, load_assignment: {cluster_name: gone, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}}}]}]}}
`

test('a cluster that nobody knows: the route that names it answers 503 with the code, the others serve, status names every place', async (t) => {
  const folder = resources(t, routesTo('204'))
  const agent = new TestAgent(
    t,
    `directory: ${folder}
listeners: [{name: proxy, kind: http_proxy, port: 0}, {name: plain, kind: http, port: 0, routes: nothing}, {name: tcp, kind: tcp, port: 0, cluster: nowhere}]
mqtt: {routes: [{match: "up/#", direction: up, cluster: far}]}`,
  )
  await agent.start()
  using app = new App(agent.port('proxy'))
  const [bad, good] = [await app.call('a.example', '/bad'), await app.call('a.example', '/good')]
  assert.deepEqual([bad.status, bad.error, good.status], [503, 'MESH_NO_CLUSTER', 204])
  await problem(agent, 'MESH_NO_CLUSTER')
  await problem(agent, 'MESH_NO_ROUTE')
  assert.deepEqual(
    agent
      .status()
      .problems.map((p) => `${p.code} ${p.text}`)
      .sort(),
    [
      'MESH_NO_CLUSTER agent.yaml listeners.tcp names the cluster nowhere, which does not exist',
      'MESH_NO_CLUSTER agent.yaml mqtt.routes up/# names the cluster far, which does not exist',
      'MESH_NO_CLUSTER route http_proxy names the cluster gone, which does not exist',
      'MESH_NO_ROUTE agent.yaml listeners.plain names the route table nothing, which does not exist',
    ],
  )
  fs.writeFileSync(`${folder}/more.yaml`, clusterGone((await Service.start(t)).port))
  await until('the cluster is there', async () => (await app.call('a.example', '/bad')).status === 200)
  assert.equal(
    agent.status().problems.some((p) => p.text.includes('cluster gone')),
    false,
  )
})

test('YAML that breaks under a running agent: the last good content serves on, status names file and line, and the correction is taken', async (t) => {
  const folder = resources(t, routesTo('204'))
  fs.writeFileSync(`${folder}/more.yaml`, clusterGone((await Service.start(t)).port))
  const agent = new TestAgent(t, `directory: ${folder}\nlisteners: [{name: proxy, kind: http_proxy, port: 0}]`)
  await agent.start()
  using app = new App(agent.port('proxy'))
  const answers = async (): Promise<number[]> => [
    (await app.call('a.example', '/bad')).status,
    (await app.call('a.example', '/good')).status,
  ]
  assert.deepEqual(await answers(), [200, 204])
  await nothingIsWrong(agent)
  for (const broken of ['resources:\n- {', `${routesTo('204')}nonsense: [`, routesTo('much'), '']) {
    fs.writeFileSync(`${folder}/all.yaml`, broken)
    await until('it is reported', () => agent.problems().length > 0)
    const [{ code } = assert.fail()] = agent.status().problems
    assert.match((await problem(agent, code)).text, /all\.yaml/)
    assert.deepEqual(await answers(), [200, 204])
    fs.writeFileSync(`${folder}/all.yaml`, routesTo('204'))
    await until('it is taken back', () => agent.problems().length === 0)
  }
  fs.writeFileSync(`${folder}/all.yaml`, routesTo('205'))
  await until('the correction is in force', async () => (await answers()).join() === '200,205')
})

test('a pushed port that somebody else has is reported while the rest serves, and opened once it is free', async (t) => {
  const other = net.createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.after(() => {
    other.close()
  })
  const { port } = other.address() as net.AddressInfo
  const folder = resources(
    t,
    `resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: pushed
  address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}
  filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c}}]}]
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: c, type: STATIC, load_assignment: {cluster_name: c, endpoints: []}}
`,
  )
  const agent = new TestAgent(t, `directory: ${folder}\n${MQTT}`)
  await agent.start()
  assert.match(
    (await problem(agent, 'MESH_PORT_IN_USE')).text,
    new RegExp(`the port 127\\.0\\.0\\.1:${port} of listener pushed is taken`),
  )
  assert.equal(agent.status().listeners.find((l) => l.name === 'pushed')?.state, 'failed')
  assert.equal(await publish(await device(t, agent, 'plain'), 'hello'), 0)
  other.close()
  await until(
    'the port is open',
    () => agent.status().listeners.find((l) => l.name === 'pushed')?.state === 'listening',
  )
  await nothingIsWrong(agent)
})
