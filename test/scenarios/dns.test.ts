/** The DNS proxy of a whole agent on real loopback sockets. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { systemNetwork } from '../../core/os/network.ts'
import { isSealed } from '../../core/pki/sealing.ts'
import { formatStatus } from '../../agent/admin/status-text.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { frame } from '../../protocols/dns/resolver/exchange.ts'
import { a, query, told, Upstream, type Script } from '../helpers/dns.ts'
import { controlYaml, startSite, TestAgent, until, type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

async function overUdp(port: number, bytes: Buffer): Promise<string> {
  const got = Promise.withResolvers<Buffer>()
  await using socket = await systemNetwork.bindUdp(
    { host: '127.0.0.1', port: 0 },
    { onDatagram: (answer) => got.resolve(answer), onError: (err) => got.reject(err) },
    { peer: { host: '127.0.0.1', port } },
  )
  socket.send(bytes, { host: '127.0.0.1', port })
  return told(await got.promise)
}
async function overTcp(port: number, bytes: Buffer): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.end(frame(bytes))
  const answer = Buffer.concat((await socket.toArray()) as Buffer[])
  return told(answer.subarray(2))
}
async function upstream(t: Finally, script: Script): Promise<Upstream> {
  const [port] = (await freePorts(1)) as [number]
  const made = await Upstream.start(systemNetwork, { host: '127.0.0.1', port }, script)
  t.after(async () => {
    await made[Symbol.asyncDispose]()
  })
  return made
}
const nameTable = (hosts: Readonly<Record<string, string>>): string =>
  JSON.stringify({
    resources: [
      {
        '@type': 'type.googleapis.com/istio.networking.nds.v1.NameTable',
        table: Object.fromEntries(
          Object.entries(hosts).map(([host, ip]) => {
            const [shortname, namespace] = host.split('.')
            return [
              host,
              {
                ips: [ip],
                ...(host.endsWith('.svc.cluster.local')
                  ? { registry: 'Kubernetes', shortname, namespace }
                  : { registry: 'External' }),
              },
            ]
          }),
        ),
      },
    ],
  })

/** An agent in directory mode with a name table. */
async function directoryAgent(
  t: Finally,
  dns: string,
): Promise<{ agent: TestAgent; port: number; write(text: string): void }> {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  const write = (text: string): void => {
    fs.writeFileSync(path.join(folder, 'resources/names.json'), text)
  }
  write(nameTable({ 'orders.edge.svc.cluster.local': '10.96.0.7', '*.example.mesh': '240.240.0.9' }))
  const agent = new TestAgent(t, `node: {name: edge, namespace: edge}\ndirectory: ${folder}/resources\ndns: ${dns}`)
  await agent.start()
  return { agent, port: agent.agent.dnsPort!, write }
}

test("names of a folder's name table are served over UDP and TCP, others from the upstream resolver; a changed file counts at once", async (t) => {
  const server = await upstream(t, (name) => ({ answers: [a(name, '9.9.9.9')] }))
  const { agent, port, write } = await directoryAgent(
    t,
    `{port: 0, upstreams: ["127.0.0.1:${server.address.port}"], search: [lan]}`,
  )
  for (const ask of [overUdp, overTcp]) {
    assert.equal(await ask(port, query('orders')), 'NOERROR aa, orders 30 A 10.96.0.7')
    assert.equal(
      await ask(port, query('orders.edge.lan')),
      'NOERROR aa, orders.edge.lan 30 CNAME orders.edge, orders.edge 30 A 10.96.0.7',
    )
    assert.equal(await ask(port, query('any.example.mesh')), 'NOERROR aa, any.example.mesh 30 A 240.240.0.9')
    assert.equal(await ask(port, query('www.example.com')), 'NOERROR, www.example.com 60 A 9.9.9.9')
  }
  assert.deepEqual(server.asked, ['www.example.com A udp'], 'the second time from the cache')
  write(nameTable({ 'orders.edge.svc.cluster.local': '10.96.0.8' }))
  await until('the new table counts', async () => (await overUdp(port, query('orders'))).endsWith('10.96.0.8'))

  const status = agent.status()
  assert.deepEqual(status.dns, {
    address: `127.0.0.1:${port}`,
    names: 1,
    cached: 1,
    upstreams: [`127.0.0.1:${server.address.port}`],
  })
  assert.match(
    formatStatus(status),
    /^dns +127\.0\.0\.1:\d+, 1 names, 1 answers cached, others from 127\.0\.0\.1:\d+$/m,
  )
  assert.match(
    (await agent.ask('/stats/prometheus')).body,
    /^mesh_dns_queries_total\{source="cache",rcode="NOERROR"\} 1$/m,
  )
  assert.deepEqual(agent.problems(), [])

  await server[Symbol.asyncDispose]()
  assert.equal(await overUdp(port, query('www.example.org')), 'SERVFAIL')
  assert.deepEqual(agent.problems(), ['MESH_DNS_UPSTREAM'])
})

test('answers of the upstream resolver are there after a restart without it, sealed on disk; a damaged file is set aside and shown', async (t) => {
  const server = await upstream(t, (name) => ({ answers: [a(name, '9.9.9.9')] }))
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  fs.writeFileSync(path.join(folder, 'key'), Buffer.alloc(32, 7))
  const agent = new TestAgent(
    t,
    `identity: {encryptionKey: ${folder}/key}\ndirectory: ${folder}/resources\ndns: {port: 0, upstreams: ["127.0.0.1:${server.address.port}"], attemptMs: 100}`,
  )
  await agent.start()
  assert.equal(await overUdp(agent.agent.dnsPort!, query('www.example.com')), 'NOERROR, www.example.com 60 A 9.9.9.9')
  await server[Symbol.asyncDispose]()
  await agent.stop()
  const file = path.join(agent.folder, 'state/dns-answers')
  const stored = fs.readFileSync(file)
  assert.deepEqual([isSealed(stored), stored.includes('example'), fs.statSync(file).mode & 0o777], [true, false, 0o600])

  await agent.start()
  assert.equal(await overUdp(agent.agent.dnsPort!, query('www.example.com')), 'NOERROR, www.example.com 30 A 9.9.9.9')
  await agent.stop()
  assert.deepEqual(fs.readFileSync(file), stored, 'nothing new, nothing written')

  stored[stored.length - 1]! ^= 1
  fs.writeFileSync(file, stored)
  await agent.start()
  assert.deepEqual(agent.problems(), [], 'not looked at before it is needed')
  assert.equal(await overUdp(agent.agent.dnsPort!, query('www.example.com')), 'SERVFAIL')
  assert.deepEqual(agent.problems().toSorted(), ['MESH_DNS_UPSTREAM', 'MESH_STORAGE_DAMAGED'])
  assert.ok(fs.readdirSync(path.dirname(file)).some((name) => name.startsWith('dns-answers.damaged-')))
})

test('names come through the hub, are there after a restart without it, and before the first table nothing is answered', async (t) => {
  const site = await startSite(t)
  const server = await upstream(t, (name) => ({ answers: [a(name, '9.9.9.9')] }))
  const dns = `\ndns: {port: 0, upstreams: ["127.0.0.1:${server.address.port}"]}`
  await site.edge.stop()
  site.edge.yaml += dns
  await site.edge.start()
  await site.edge.connected()
  await until(
    'a hub without names says so',
    async () =>
      (await overUdp(site.edge.agent.dnsPort!, query('orders.cloud'))) === 'NOERROR, orders.cloud 60 A 9.9.9.9',
  )
  site.hub.write('edge/names.json', nameTable({ 'orders.cloud.svc.cluster.local': '240.240.0.1' }))
  await until(
    'the table is there',
    async () =>
      (await overUdp(site.edge.agent.dnsPort!, query('orders.cloud'))) === 'NOERROR aa, orders.cloud 30 A 240.240.0.1',
  )

  site.links.control.cut()
  await site.edge.stop()
  await site.edge.start()
  assert.equal(site.edge.status().config.stale, true)
  assert.equal(
    await overUdp(site.edge.agent.dnsPort!, query('orders.cloud.svc.cluster.local')),
    'NOERROR aa, orders.cloud.svc.cluster.local 30 A 240.240.0.1',
  )

  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'roots.pem'), site.hub.hub.rootsPem)
  fs.writeFileSync(path.join(folder, 'edge.token'), 'none')
  const fresh = new TestAgent(
    t,
    `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(folder, 'edge', site.links.control.port)}${dns}`,
  )
  await fresh.start()
  assert.equal(await overUdp(fresh.agent.dnsPort!, query('www.example.com')), 'SERVFAIL')
  assert.equal(fresh.status().dns?.names, undefined)
})

test('a DNS port that is taken ends nothing: it is told', async (t) => {
  const [port] = (await freePorts(1)) as [number]
  const taken = net.createServer().listen(port, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => {
    taken.close()
  })
  const { agent } = await directoryAgent(t, `{port: ${port}}`)
  assert.match(
    agent
      .status()
      .problems.map((p) => `${p.code}: ${p.text}`)
      .join(),
    new RegExp(`MESH_PORT_IN_USE: the DNS port 127\\.0\\.0\\.1:${port} \\(TCP\\) is taken`),
  )
})
test('without a dns section there is no DNS, and status says nothing of it', async (t) => {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  const agent = new TestAgent(t, `directory: ${folder}/resources`)
  await agent.start()
  assert.deepEqual([agent.agent.dnsPort, agent.status().dns], [undefined, undefined])
  assert.doesNotMatch(formatStatus(agent.status()), /dns/)
})
