/**
 * A device whose address is late, changes or is missing, with and without a link: it serves what it has, and is
 * registered under what it is.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { systemClock, type Clock } from '../../core/os/clock.ts'
import { FakeIstiod } from '../helpers/control-plane/fake-istiod.ts'
import { serveFakeIstiod, type FakeServer } from '../helpers/control-plane/fake-istiod-server.ts'
import { edsCluster, httpListener, load, table } from '../helpers/control-plane/synced-agent.ts'
import { problem } from './cli.ts'
import { TestAgent, until, type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

/** The machine is asked for its addresses every 3 s: too long for a test. */
const quick: Clock = { ...systemClock, after: (ms, fire) => systemClock.after(ms === 3_000 ? 10 : ms, fire) }

class Device {
  addresses: string[] = []
  readonly agent: TestAgent
  constructor(t: Finally, server: Pick<FakeServer, 'port' | 'ca'>, address = `127.0.0.1:${server.port}`) {
    const folder = temporaryFolder(t)
    const { keyPem, chainPem, rootsPem } = server.ca.issue('edge', 'gateway')
    for (const [name, pem] of [
      ['cert-chain.pem', chainPem],
      ['key.pem', keyPem],
      ['root-cert.pem', rootsPem],
      ['roots.pem', server.ca.rootsPem],
    ] as const)
      fs.writeFileSync(path.join(folder, name), pem)
    this.agent = new TestAgent(
      t,
      `node: {name: edge-1, namespace: edge, serviceAccount: gateway}
control: {address: "${address}", serverName: istiod.istio-system.svc, roots: ${folder}/roots.pem}
identity: {folder: ${folder}}
listeners: [{name: mqtt, kind: mqtt, port: 0}]`,
    )
    this.agent.ip = undefined
    this.agent.over = { clock: quick, addresses: () => this.addresses }
  }
}
async function mesh(t: Finally): Promise<{ istiod: FakeIstiod; server: FakeServer; ids(): string[] }> {
  const istiod = new FakeIstiod()
  istiod.put(edsCluster('a'), load('a', '10.0.0.1'), httpListener('l', '80', { port: 0 }), table('80', 'a'))
  const server = await serveFakeIstiod(istiod)
  t.after(async () => {
    await server[Symbol.asyncDispose]()
  })
  return { istiod, server, ids: () => server.nodes.map((n) => n.id.split('~')[1]!) }
}
const serves = (agent: TestAgent): unknown[] => {
  const { state, config } = agent.status()
  return [state, config.stale, config.resources['clusters']]
}

test('the address changes while it runs: the control plane is told on a new stream, under the new one', async (t) => {
  const { server, ids } = await mesh(t)
  const d = new Device(t, server)
  const { agent } = d
  d.addresses = ['10.0.0.5']
  await agent.start()
  await agent.connected()
  assert.deepEqual([ids(), agent.status().node], [['10.0.0.5'], 'sidecar~10.0.0.5~edge-1.edge~edge.svc.cluster.local'])
  d.addresses = ['10.0.0.6']
  await until('it is registered anew', () => ids().length === 2)
  await agent.connected()
  assert.deepEqual(
    [ids(), serves(agent)],
    [
      ['10.0.0.5', '10.0.0.6'],
      ['ready', false, 1],
    ],
  )
  assert.equal(agent.status().node, 'sidecar~10.0.0.6~edge-1.edge~edge.svc.cluster.local')
  // The link goes, and comes back as it was.
  d.addresses = []
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  d.addresses = ['10.0.0.6']
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  assert.equal(ids().length, 2)
})
for (const [what, addresses] of [
  ['another address', ['172.16.0.9']],
  ['no address', []],
] as const) {
  test(`a start with ${what} and the control plane away: what is on disk serves, and the snapshot is kept`, async (t) => {
    const { server } = await mesh(t)
    const first = new Device(t, server)
    first.addresses = ['10.0.0.5']
    await first.agent.start()
    await first.agent.connected()
    await until('it is on disk', () => first.agent.lines.length > 0 && first.agent.status().config.generation > 0)
    await first.agent.stop()
    await server[Symbol.asyncDispose]()
    first.addresses = [...addresses]
    for (let i = 0; i < 2; i++) {
      await first.agent.start()
      assert.deepEqual(serves(first.agent), ['ready', true, 1])
      await first.agent.stop()
    }
  })
}
test('no address, and a control plane beyond this machine: it serves, nobody is asked, status says what it waits for; then the address comes', async (t) => {
  const { server } = await mesh(t)
  // TEST-NET-1, RFC 5737: nobody answers there.
  const device = new Device(t, server, '192.0.2.99:15012')
  await device.agent.start()
  await until('it is told', () => device.agent.problems().includes('MESH_NO_ADDRESS'))
  assert.match((await problem(device.agent, 'MESH_NO_ADDRESS')).text, /no address yet/)
  assert.equal(device.agent.status().listeners[0]?.state, 'listening')
  device.addresses = ['10.0.0.5']
  await until('it is asked', () => !device.agent.problems().includes('MESH_NO_ADDRESS'))
})
test("a snapshot of a version that named it by the node id is this node's, whatever its address was; another node's is not", async (t) => {
  const { server } = await mesh(t)
  const device = new Device(t, server)
  device.addresses = ['10.0.0.5']
  await device.agent.start()
  await device.agent.connected()
  await device.agent.stop()
  await server[Symbol.asyncDispose]()
  const { default: Database } = await import('better-sqlite3')
  const rename = (node: string): void => {
    const db = new Database(`${device.agent.folder}/state/snapshot.db`)
    db.prepare("UPDATE state SET value = ? WHERE key = 'node'").run(node)
    db.close()
  }
  rename('sidecar~10.9.9.9~edge-1.edge~edge.svc.cluster.local')
  for (let i = 0; i < 2; i++) {
    await device.agent.start()
    assert.deepEqual(serves(device.agent), ['ready', true, 1])
    await device.agent.stop()
  }
  rename('sidecar~10.0.0.5~edge-2.edge~edge.svc.cluster.local')
  fs.rmSync(`${device.agent.folder}/state/snapshot.previous.db`, { force: true })
  await device.agent.start()
  assert.equal(device.agent.status().config.resources['clusters'], undefined)
})
