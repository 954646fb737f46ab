/**
 * Ports, folders and pushed listeners that stand in the way of a start: it serves what it can, says what is wrong, and
 * takes the rest when it comes.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { freePorts } from '../../tools/free-ports.ts'
import { meshlet, nothingIsWrong, problem } from './cli.ts'
import { startSite, TestAgent, until, type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

async function taken(t: Finally): Promise<net.Server & { port: number }> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  return Object.assign(server, { port: (server.address() as net.AddressInfo).port })
}
const pushed = (name: string, address: string, port: number): object => ({
  '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
  name,
  address: { socket_address: { address, port_value: port } },
  filter_chains: [
    {
      filters: [
        {
          name: 'tcp',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
            stat_prefix: 't',
            cluster: 'c',
          },
        },
      ],
    },
  ],
})
const CLUSTER = {
  '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  name: 'c',
  type: 'STATIC',
  load_assignment: { cluster_name: 'c', endpoints: [] },
}
const write = (file: string, resources: readonly object[]): void => {
  fs.writeFileSync(file, JSON.stringify({ resources }))
}
const states = (agent: TestAgent): Record<string, string> =>
  Object.fromEntries(agent.status().listeners.map((l) => [l.name, l.state]))
const dials = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net
      .connect({ port, host: '127.0.0.1' }, () => {
        socket.destroy()
        resolve(true)
      })
      .on('error', () => {
        resolve(false)
      })
  })

test('a port that is taken and an address that is not there are told, and the others serve; what was taken is opened once it is free', async (t) => {
  const [other, ofDns] = [await taken(t), await taken(t)]
  // TEST-NET-1, RFC 5737: nobody has it.
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}
listeners:
- {name: far, kind: mqtt, address: 192.0.2.77, port: 1883}
- {name: taken, kind: mqtt, port: ${other.port}}
- {name: free, kind: mqtt, port: 0}
dns: {port: ${ofDns.port}, upstreams: []}`,
  )
  await agent.start()
  assert.deepEqual(states(agent), { far: 'failed', taken: 'failed', free: 'listening' })
  assert.equal(agent.status().state, 'ready')
  assert.ok(await dials(agent.port('free')))
  assert.match(
    (await problem(agent, 'MESH_ADDRESS_MISSING')).text,
    /192\.0\.2\.77:1883 of listener far cannot be opened: this machine does not have that address/,
  )
  assert.deepEqual(
    agent
      .status()
      .problems.filter((p) => p.code === 'MESH_PORT_IN_USE')
      .map((p) => p.text),
    [
      `the port 127.0.0.1:${other.port} of listener taken is taken by another process`,
      `the DNS port 127.0.0.1:${ofDns.port} (TCP) is taken by another process`,
    ],
  )
  other.close()
  ofDns.close()
  await until('both are open', () => !agent.problems().includes('MESH_PORT_IN_USE'))
  assert.ok((await dials(other.port)) && (await dials(ofDns.port)))
})
test('the admin port is opened once it can be had', async (t) => {
  const other = await taken(t)
  const [free] = (await freePorts(1)) as [number]
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nlisteners: [{name: free, kind: mqtt, port: ${free}}]`,
  )
  agent.admin = other.port
  await agent.start()
  assert.ok(await dials(free))
  assert.ok(agent.problems().includes('MESH_PORT_IN_USE'))
  other.close()
  await until('it answers', async () => (await meshlet(['status', '--admin', `127.0.0.1:${other.port}`])).code === 0)
})

test('a folder pushes listeners onto every port of agent.yaml: those of agent.yaml have them, and the others are told whose they are', async (t) => {
  const folder = temporaryFolder(t)
  const [mqtt, admin, dns, other] = (await freePorts(4)) as [number, number, number, number]
  write(`${folder}/all.json`, [
    CLUSTER,
    ...[mqtt, admin, dns].flatMap((port) => [
      pushed(`exact-${port}`, '127.0.0.1', port),
      pushed(`any-${port}`, '0.0.0.0', port),
    ]),
    pushed('beside', '127.0.0.1', other),
  ])
  const agent = new TestAgent(
    t,
    `directory: ${folder}\nlisteners: [{name: mqtt, kind: mqtt, port: ${mqtt}}]\ndns: {port: ${dns}, upstreams: []}`,
  )
  agent.admin = admin
  await agent.start()
  const { mqtt: own, beside, ...rest } = states(agent)
  assert.deepEqual(
    [own, beside, new Set(Object.values(rest)), Object.keys(rest).length],
    ['listening', 'listening', new Set(['failed']), 6],
  )
  assert.equal(agent.agent.adminPort, admin)
  assert.equal(agent.agent.dnsPort, dns)
  const said = agent
    .status()
    .problems.filter((p) => p.code === 'MESH_PORT_IN_USE')
    .map((p) => p.text)
  for (const [port, whose] of [
    [mqtt, 'listener mqtt of agent.yaml'],
    [admin, 'the admin port'],
    [dns, 'the DNS proxy'],
  ] as const) {
    assert.ok(said.includes(`the port 0.0.0.0:${port} of listener any-${port} belongs to ${whose}`), said.join('\n'))
  }
  write(`${folder}/all.json`, [CLUSTER])
  await until('nothing is wrong', () => agent.problems().length === 0)
})
test(
  'a listener that a control plane has pushed onto what is a port of agent.yaml now does not stop a start, with and without a link',
  { timeout: 60_000 },
  async (t) => {
    const site = await startSite(t)
    const [port] = (await freePorts(1)) as [number]
    write(path.join(site.hub.folder, 'resources/edge/pushed.json'), [CLUSTER, pushed('pushed', '0.0.0.0', port)])
    await until('it is open', () => states(site.edge)['pushed'] === 'listening')
    await site.edge.stop()
    site.edge.yaml = site.edge.yaml.replace(
      '{name: mqtt, kind: mqtt, port: 0}',
      `{name: mqtt, kind: mqtt, port: ${port}}`,
    )
    for (const link of ['down', 'up']) {
      if (link === 'down') site.links.control.cut()
      else site.links.control.restore()
      await site.edge.start()
      if (link === 'up') await site.edge.connected()
      assert.deepEqual([states(site.edge)['mqtt'], states(site.edge)['pushed']], ['listening', 'failed'], link)
      assert.ok(
        site.edge
          .status()
          .problems.some(
            (p) => p.text === `the port 0.0.0.0:${port} of listener pushed belongs to listener mqtt of agent.yaml`,
          ),
      )
      await site.edge.stop()
    }
  },
)

test('a folder that is not there, is empty, or is broken at the start prevents nothing, and is read once it can be', async (t) => {
  const root = temporaryFolder(t)
  const folder = path.join(root, 'late')
  const agent = new TestAgent(t, `directory: ${folder}\nlisteners: [{name: mqtt, kind: mqtt, port: 0}]`)
  await agent.start()
  assert.ok(await dials(agent.port('mqtt')))
  assert.match((await problem(agent, 'MESH_CONFIG_INVALID')).text, /there is no readable folder .*late/)
  assert.deepEqual([agent.status().state, agent.status().waitingFor], ['starting', ['a configuration']])
  fs.mkdirSync(folder)
  await until('an empty folder is a configuration', () => agent.status().state === 'ready')
  await nothingIsWrong(agent)
  write(`${folder}/all.json`, [CLUSTER])
  await until('it is read', () => agent.status().config.resources['clusters'] === 1)
  fs.renameSync(folder, `${folder}.away`)
  await until('that it is gone is told', () => agent.problems().includes('MESH_CONFIG_INVALID'))
  assert.equal(agent.status().config.resources['clusters'], 1)
  fs.renameSync(`${folder}.away`, folder)
  await until('nothing is wrong', () => agent.problems().length === 0)
  await agent.stop()
  fs.writeFileSync(`${folder}/all.json`, '{"resources": [')
  await agent.start()
  assert.ok(await dials(agent.port('mqtt')))
  assert.ok(agent.problems().includes('MESH_CONFIG_REJECTED'))
  assert.equal(agent.status().state, 'ready')
})
