/** dig and c-ares against the shipped bundle's DNS proxy, with unbound as the upstream resolver. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { promises as dns } from 'node:dns'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../deploy/tools/free-ports.ts'
import { debianProgram } from './peers.ts'
import { run, start, temporaryFolder, type Finally, type Running } from './programs.ts'
import { Agent, directoryMode, writeResources } from './shipped.ts'

const LARGE = Array.from({ length: 120 }, (_, i) => `10.20.0.${i}`)
/** A zone of unbound's own; everything else is refused, so that nothing leaves this machine. */
const ZONE = [
  'example.test. 3600 SOA ns.example.test. admin.example.test. 1 1 1 1 60', 'www.example.test. 60 A 192.0.2.1', 'www.example.test. 60 AAAA 2001:db8::1', 'alias.example.test. 60 CNAME www.example.test.',
  'example.test. 60 MX 10 mail.example.test.', '_mqtt._tcp.example.test. 60 SRV 0 5 8883 www.example.test.', 'www.example.test. 60 CAA 0 issue ca.test', 'short.example.test. 1 A 192.0.2.9',
  ...LARGE.map((ip) => `large.example.test. 60 A ${ip}`),
]

async function unbound(t: Finally, port: number): Promise<Running> {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'unbound.conf')
  const text = ZONE.map((record) => (`  local-data: ${record.includes('CAA') ? `'${record.replace('issue ca.test', 'issue "ca.test"')}'` : `"${record}"`}\n`)).join('')
  fs.writeFileSync(file, `server:
  interface: 127.0.0.1
  port: ${port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "${folder}"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: yes
  local-zone: "." refuse
  local-zone: "example.test." static
${text}remote-control:
  control-enable: no
`)
  const running = start(t, debianProgram('unbound'), ['-d', '-c', file])
  await running.listening(port)
  return running
}

const NAMES = { '@type': 'type.googleapis.com/istio.networking.nds.v1.NameTable', table: {
  'orders.edge.svc.cluster.local': { ips: ['240.240.0.7', 'fd00::7'], registry: 'Kubernetes', shortname: 'orders', namespace: 'edge' },
  'many.edge.svc.cluster.local': { ips: Array.from({ length: 100 }, (_, i) => `10.9.0.${i}`), registry: 'Kubernetes', shortname: 'many', namespace: 'edge' },
  '*.wild.mesh': { ips: ['240.240.0.9'], registry: 'External' },
} }

test('the DNS proxy with dig and unbound', { timeout: 300_000 }, async (t) => {
  const [port, upstreamPort] = (await freePorts(2)) as [number, number]
  let upstream = await unbound(t, upstreamPort)
  const agent = await Agent.create(t, (home, adminPort) => directoryMode(home, adminPort, `dns: {port: ${port}, upstreams: ["127.0.0.1:${upstreamPort}"], search: [lan], attemptMs: 500}\n`).replace('{name: conformance}', '{name: conformance, namespace: edge}'))
  writeResources(agent.folder, [NAMES])
  await agent.start()
  const dig = async (...args: string[]): Promise<string> => {
    const { out, err, code } = await run(debianProgram('dig'), ['@127.0.0.1', '-p', String(port), '+tries=1', '+timeout=5', ...args])
    assert.equal(code, 0, `dig ${args.join(' ')}: ${out}${err}`)
    assert.doesNotMatch(out, /malformed|mismatch|extra bytes/i, out)
    return out
  }
  /** Status and flags; then the records, without TTL. */
  const facts = (out: string): string => [/status: (\w+)/.exec(out)![1]!, /flags: ([a-z ]+);/.exec(out)![1]!,
    ...[...out.matchAll(/^([^;\s]\S*)\s+\d+\s+IN\s+(\S+)\s+(.+)$/gm)].map((m) => `${m[1]} ${m[2]} ${m[3]}`)].join(' | ')

  await t.test('names of the mesh: in full, short, behind a search domain, by wildcard; both families; no other type', async () => {
    for (const over of ['+notcp', '+tcp']) {
      assert.equal(facts(await dig(over, 'orders.edge.svc.cluster.local', 'A')), 'NOERROR | qr aa rd ra | orders.edge.svc.cluster.local. A 240.240.0.7')
      assert.equal(facts(await dig(over, 'orders', 'AAAA')), 'NOERROR | qr aa rd ra | orders. AAAA fd00::7')
      assert.equal(facts(await dig(over, 'orders.lan', 'A')), 'NOERROR | qr aa rd ra | orders.lan. CNAME orders. | orders. A 240.240.0.7')
      assert.equal(facts(await dig(over, 'a.b.wild.mesh', 'A')), 'NOERROR | qr aa rd ra | a.b.wild.mesh. A 240.240.0.9')
      assert.equal(facts(await dig(over, 'a.b.wild.mesh', 'AAAA')), 'NOERROR | qr aa rd ra')
      assert.equal(facts(await dig(over, 'orders', 'MX')), 'NOERROR | qr aa rd ra')
    }
  })
  await t.test('names that are not the mesh\'s are what unbound says, type by type', async () => {
    for (const [name, type] of [['www.example.test', 'A'], ['www.example.test', 'AAAA'], ['alias.example.test', 'A'], ['example.test', 'MX'], ['example.test', 'SOA'], ['_mqtt._tcp.example.test', 'SRV'], ['www.example.test', 'CAA'],
      ['www.example.test', 'TXT'], ['none.example.test', 'A'], ['www.example.test', 'ANY'], ['www.example.test', 'TYPE65']] as const) {
      const [ours, theirs] = [await dig('+noall', '+answer', '+authority', '+comments', '+nottlid', name, type),
        (await run(debianProgram('dig'), ['@127.0.0.1', '-p', String(upstreamPort), '+noall', '+answer', '+authority', '+comments', '+nottlid', name, type])).out]
      const [left, right] = [ours, theirs].map((out) => [/status: (\w+)/.exec(out)![1], ...out.split('\n').filter((l) => /^[^;\s]/.test(l)).toSorted()])
      assert.deepEqual(left, right, `${name} ${type}`)
      if (type !== 'ANY') assert.ok(theirs.includes('status'), theirs)
    }
    assert.match(await dig('www.elsewhere.example', 'A'), /status: REFUSED/)
  })
  await t.test('EDNS, cookies, DNSSEC OK, client subnet, padding, no recursion, CD: answered all the same', async () => {
    for (const flags of [['+noedns'], ['+bufsize=4096'], ['+dnssec'], ['+subnet=192.0.2.0/24'], ['+padding=128', '+tcp'], ['+norecurse'], ['+cdflag'], ['+adflag'], ['+keepalive', '+tcp'], ['+cookie'], ['+nocookie'], ['+ednsopt=65001:00ff'], ['+zflag']]) {
      assert.match(await dig(...flags, 'www.example.test', 'A'), /status: NOERROR[^]*192\.0\.2\.1/, flags.join())
      assert.match(await dig(...flags, 'orders', 'A'), /status: NOERROR[^]*240\.240\.0\.7/, flags.join())
    }
    assert.match(await dig('+edns=1', '+noednsnegotiation', 'orders', 'A'), /status: BADVERS/)
    assert.match(await dig('+header-only', 'orders', 'A'), /status: FORMERR/)
    assert.match(await dig('+opcode=update', 'orders', 'A'), /status: NOTIMP/)
  })
  await t.test('what does not fit into a datagram comes over TCP', async () => {
    for (const name of ['many', 'large.example.test']) {
      assert.match(await dig('+ignore', '+noedns', name, 'A'), /flags: [a-z ]*\btc\b/)
      const whole = await dig(name, 'A')
      assert.doesNotMatch(whole, /flags: [a-z ]*\btc\b/)
      assert.equal([...whole.matchAll(/\sIN\s+A\s+10\./g)].length, name === 'many' ? 100 : 120)
    }
  })
  await t.test('several queries on one connection', async () => {
    const out = await dig('+tcp', '+keepopen', 'orders', 'A', '+tcp', '+keepopen', 'www.example.test', 'A', '+tcp', '+keepopen', 'many', 'A')
    assert.equal([...out.matchAll(/status: NOERROR/g)].length, 3)
  })
  await t.test('c-ares, as many programs use it', async () => {
    const resolver = new dns.Resolver({ timeout: 5_000, tries: 1 })
    resolver.setServers([`127.0.0.1:${port}`])
    assert.deepEqual(await resolver.resolve4('orders.edge', { ttl: true }), [{ address: '240.240.0.7', ttl: 30 }])
    assert.deepEqual(await resolver.resolve6('orders.edge.svc'), ['fd00::7'])
    assert.equal((await resolver.resolve4('large.example.test')).length, 120)
    assert.deepEqual((await resolver.resolveSrv('_mqtt._tcp.example.test')).map((s) => `${s.name}:${s.port}`), ['www.example.test:8883'])
    await assert.rejects(resolver.resolve6('a.wild.mesh'), { code: 'ENODATA' })
    await assert.rejects(resolver.resolve4('none.example.test'), { code: 'ENOTFOUND' })
  })
  await t.test('1,000 queries at once are all answered', async () => {
    const file = path.join(temporaryFolder(t), 'queries')
    fs.writeFileSync(file, Array.from({ length: 1_000 }, (_, i) => `${['orders', 'www.example.test', `n${i}.example.test`, `n${i}.wild.mesh`][i % 4]} A`).join('\n'))
    const parts = await Promise.all(Array.from({ length: 4 }, () => dig('+noall', '+comments', '-f', file)))
    for (const out of parts) assert.equal([...out.matchAll(/status: (NOERROR|NXDOMAIN)/g)].length, 1_000)
  })

  await t.test('unbound gone: the mesh resolves, what was known comes stale and says so, what was not fails; then it is back', async () => {
    await dig('short.example.test', 'A')
    assert.equal(await upstream.stop('SIGKILL'), 'SIGKILL')
    await agent.process.until('the answer is stale', async () => /EDE: 3 \(Stale Answer\)/.test(await dig('short.example.test', 'A')))
    assert.match(await dig('short.example.test', 'A'), /short\.example\.test\.\s+30\s+IN\s+A\s+192\.0\.2\.9/)
    assert.match(await dig('orders', 'A'), /240\.240\.0\.7/)
    assert.match(await dig('unknown.example.test', 'A'), /status: SERVFAIL[^]*EDE: 22 \(No Reachable Authority\)/)
    const status = await agent.status()
    assert.deepEqual(status?.problems.map((p) => p.code), ['MESH_DNS_UPSTREAM'])
    assert.match((await agent.cli(['status', '--admin', `127.0.0.1:${agent.adminPort}`])).out, /^dns .*others from 127\.0\.0\.1:\d+$[^]*! MESH_DNS_UPSTREAM: no upstream resolver answers/m)
    upstream = await unbound(t, upstreamPort)
    await agent.process.until('a fresh answer', async () => /status: NOERROR/.test(await dig('www.example.test', 'AAAA')) && /status: NXDOMAIN/.test(await dig(`n${Math.floor(performance.now())}.example.test`, 'A')))
    assert.deepEqual((await agent.status())?.problems, [])
  })
  await t.test('SIGTERM ends it with exit code 0', async () => { assert.equal(await agent.process.stop('SIGTERM'), 0, agent.process.log.slice(-2000)) })
})
