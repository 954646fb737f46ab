/** A whole agent on a control link that does what links and control planes do. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import path from 'node:path'
import { formatStatus } from '../../agent/admin/status-text.ts'
import { FakeIstiod } from '../helpers/control-plane/fake-istiod.ts'
import { serveFakeIstiod, type FakeServerOptions } from '../helpers/control-plane/fake-istiod-server.ts'
import { edsCluster, load } from '../helpers/control-plane/synced-agent.ts'
import { testCa } from '../helpers/test-ca.ts'
import { startSite, TestAgent, until, type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

async function agentOf(t: Finally, istiod: FakeIstiod, control: string, o: FakeServerOptions = {}): Promise<TestAgent> {
  const server = await serveFakeIstiod(istiod, o)
  t.after(async () => {
    await server[Symbol.asyncDispose]()
  })
  const folder = temporaryFolder(t)
  const own = server.ca.issue('edge', 'gateway')
  for (const [name, text] of [
    ['cert-chain.pem', own.chainPem],
    ['key.pem', own.keyPem],
    ['root-cert.pem', server.ca.rootsPem],
  ] as const)
    fs.writeFileSync(path.join(folder, name), text)
  return new TestAgent(
    t,
    `node: {name: edge, namespace: edge, serviceAccount: gateway}
control: {address: "127.0.0.1:${server.port}", serverName: istiod.istio-system.svc, roots: ${folder}/root-cert.pem, ${control}}
identity: {folder: ${folder}}\n`,
  )
}

test('a control plane that comes back with an empty registry: status says what is held back and for how long, until the time is over', async (t) => {
  const istiod = new FakeIstiod()
  const services = Array.from({ length: 12 }, (_, i) => `s${i}`)
  istiod.put(...services.flatMap((s) => [edsCluster(s), load(s, '10.0.0.1')]))
  const edge = await agentOf(t, istiod, 'shrinkHoldMs: 3000')
  await edge.start()
  await edge.connected()
  istiod.drop('cluster', ...services)
  istiod.drop('endpoint', ...services)
  istiod.restart()
  await until('the shrunken push is reported', () => edge.problems().includes('MESH_CONTROL_SHRUNK'))
  const status = edge.status()
  assert.equal(status.control.heldClusters, 12)
  assert.match(
    formatStatus(status),
    /! MESH_CONTROL_SHRUNK: the control plane took away 12 of 12 clusters at once; they serve on for \d s\n {2}Check the control plane's registry/,
  )
  assert.equal(status.config.resources['clusters'], 12)
  assert.match((await edge.ask('/stats/prometheus')).body, /^mesh_control_held_clusters 12$/m)
  await until('they are gone', () => edge.status().config.resources['clusters'] === undefined)
  assert.deepEqual(edge.problems(), [])
})

test('a server that speaks only the state of the world programs an agent that was told nothing of it', async (t) => {
  const istiod = new FakeIstiod()
  istiod.put(edsCluster('a'), load('a', '10.0.0.1'))
  const edge = await agentOf(t, istiod, 'shrinkHoldMs: 0', { flavours: ['sotw'] })
  await edge.start()
  await edge.connected()
  assert.deepEqual(
    [edge.status().config.resources['clusters'], edge.status().config.resources['endpoint sets']],
    [1, 1],
  )
})

test("bytes on the control link are counted by purpose, the CA's among them", async (t) => {
  const site = await startSite(t)
  const { body } = await site.edge.ask('/stats/prometheus')
  for (const purpose of ['cluster', 'endpoint', 'listener', 'route', 'certificate']) {
    for (const direction of ['sent', 'received'])
      assert.match(
        body,
        new RegExp(`^mesh_control_bytes_total\\{purpose="${purpose}",direction="${direction}"\\} [1-9]`, 'm'),
      )
  }
})

test('through the HTTP proxy of the environment: the stream comes, for the certificate of who is behind it', async (t) => {
  const istiod = new FakeIstiod()
  istiod.put(edsCluster('a'), load('a', '10.0.0.1'))
  const edge = await agentOf(t, istiod, 'shrinkHoldMs: 0')
  const asked: string[] = []
  const proxy = http.createServer().on('connect', (req, socket: Duplex, head: Buffer) => {
    asked.push(`${req.url} ${req.headers['proxy-authorization']}`)
    const [, host = '', port] = /^(.*):(\d+)$/.exec(req.url ?? '') ?? []
    const upstream = net.connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      if (head.length > 0) upstream.write(head)
      socket.pipe(upstream).pipe(socket)
    })
    for (const one of [socket, upstream]) one.on('error', () => undefined)
    t.after(() => void upstream.destroy())
  })
  await new Promise<void>((resolve) => void proxy.listen(0, '127.0.0.1', resolve))
  t.after(() => void proxy.close())
  const { port } = proxy.address() as AddressInfo
  edge.proxy = { address: { host: '127.0.0.1', port }, credentials: 'me:pw', noProxy: [] }
  await edge.start()
  await edge.connected()
  assert.equal(edge.status().config.resources['clusters'], 1)
  assert.equal(asked.length, 1)
  assert.match(asked[0]!, new RegExp(`^127\\.0\\.0\\.1:\\d+ Basic ${Buffer.from('me:pw').toString('base64')}$`))
})

test('a reload moves the node to another control plane and back; what is in force serves on until the other has spoken', async (t) => {
  const ca = testCa()
  const [stable, canary] = [new FakeIstiod(), new FakeIstiod()]
  stable.put(edsCluster('a'), load('a', '10.0.0.1'))
  canary.put(edsCluster('a'), load('a', '10.0.0.1'), edsCluster('b'), load('b', '10.0.0.2'))
  const next = await serveFakeIstiod(canary, { ca })
  const edge = await agentOf(t, stable, 'shrinkHoldMs: 0', { ca })
  const before = edge.yaml
  await edge.start()
  await edge.connected()
  const first = edge.status()
  const port = (yaml: string, to: number): string => yaml.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${to}`)
  edge.yaml = port(before, next.port)
  assert.deepEqual(await edge.agent.reload(), { applied: ['control.address'], needsRestart: [], reasons: {} })
  await until('the other control plane has the node', () => edge.status().config.resources['clusters'] === 2)
  const moved = edge.status()
  assert.deepEqual([moved.control.address, moved.control.link], [`127.0.0.1:${next.port}`, 'connected'])
  assert.equal(moved.certificate?.serial, first.certificate?.serial)
  assert.deepEqual(edge.problems(), [])

  // Nobody is there: what was said last serves on.
  await next[Symbol.asyncDispose]()
  edge.yaml = port(before, 1)
  await edge.agent.reload()
  await until('it is told', () => edge.status().control.link !== 'connected')
  assert.equal(edge.status().config.resources['clusters'], 2)

  edge.yaml = before
  await edge.agent.reload()
  await until('it is back', () => edge.status().config.resources['clusters'] === 1)
  assert.equal(edge.status().control.address, first.control.address)
})
