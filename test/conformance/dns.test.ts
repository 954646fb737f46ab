/** dig, c-ares and glibc against the shipped bundle's DNS proxy, with unbound as the upstream resolver. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { promises as dns } from 'node:dns'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../tools/free-ports.ts'
import { findDebianProgram } from '../../tools/debian.ts'
import { run, temporaryFolder, type Finally, type Running } from './programs.ts'
import { Agent, directoryMode, writeResources } from './package/shipped.ts'
import { unbound } from './unbound.ts'

const LARGE = Array.from({ length: 120 }, (_, i) => `10.20.0.${i}`)
/** A zone of unbound's own; everything else is refused, so that nothing leaves this machine. */
const ZONE = [
  'example.test. 3600 SOA ns.example.test. admin.example.test. 1 1 1 1 60',
  'www.example.test. 60 A 192.0.2.1',
  'www.example.test. 60 AAAA 2001:db8::1',
  'alias.example.test. 60 CNAME www.example.test.',
  'example.test. 60 MX 10 mail.example.test.',
  '_mqtt._tcp.example.test. 60 SRV 0 5 8883 www.example.test.',
  'www.example.test. 60 CAA 0 issue "ca.test"',
  'short.example.test. 1 A 192.0.2.9',
  'mesh.example.test. 60 A 192.0.2.66',
  'mesh.example.test. 60 TXT "of its owner"',
  'mesh.example.test. 60 HTTPS 1 . ipv4hint=192.0.2.66',
  '9.2.0.192.in-addr.arpa. 60 PTR short.example.test.',
  ...LARGE.map((ip) => `large.example.test. 60 A ${ip}`),
]

const resolver = (t: Finally, port: number): Promise<Running> =>
  unbound(t, { port, zone: ZONE, zones: ['"." refuse', '"example.test." static', '"2.0.192.in-addr.arpa." static'] })

const NAMES = {
  '@type': 'type.googleapis.com/istio.networking.nds.v1.NameTable',
  table: {
    'orders.edge.svc.cluster.local': {
      ips: ['240.240.0.7', 'fd00::7'],
      registry: 'Kubernetes',
      shortname: 'orders',
      namespace: 'edge',
    },
    'many.edge.svc.cluster.local': {
      ips: Array.from({ length: 100 }, (_, i) => `10.9.0.${i}`),
      registry: 'Kubernetes',
      shortname: 'many',
      namespace: 'edge',
    },
    '*.wild.mesh': { ips: ['240.240.0.9'], registry: 'External' },
    'mesh.example.test': { ips: ['240.240.0.11'], registry: 'External' },
  },
}

type Rig = {
  readonly port: number
  readonly upstreamPort: number
  readonly agent: Agent
  readonly upstream: Running
  /** What dig prints. It must end well and find nothing odd in the answer. */
  dig(...args: string[]): Promise<string>
}

async function startRig(t: Finally): Promise<Rig> {
  const [port, upstreamPort] = (await freePorts(2)) as [number, number]
  const upstream = await resolver(t, upstreamPort)
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `dns: {port: ${port}, upstreams: ["127.0.0.1:${upstreamPort}"], search: [lan], attemptMs: 500}\n`,
    ).replace('{name: conformance}', '{name: conformance, namespace: edge}'),
  )
  writeResources(agent.folder, [NAMES])
  await agent.start()
  const dig = async (...args: string[]): Promise<string> => {
    const { out, err, code } = await run(findDebianProgram('dig'), [
      '@127.0.0.1',
      '-p',
      String(port),
      '+tries=1',
      '+timeout=5',
      ...args,
    ])
    assert.equal(code, 0, `dig ${args.join(' ')}: ${out}${err}`)
    assert.doesNotMatch(out, /malformed|mismatch|extra bytes/i)
    return out
  }
  return { port, upstreamPort, agent, upstream, dig }
}

/** Status and flags; then the records, without TTL. */
const facts = (out: string): string =>
  [
    /status: (\w+)/.exec(out)![1]!,
    /flags: ([a-z ]+);/.exec(out)![1]!,
    ...[...out.matchAll(/^([^;\s]\S*)\s+\d+\s+IN\s+(\S+)\s+(.+)$/gm)].map((m) => `${m[1]} ${m[2]} ${m[3]}`),
  ].join(' | ')

test('the DNS proxy with dig and unbound', { timeout: 300_000 }, async (t) => {
  const rig = await startRig(t)
  await namesOfTheMesh(t, rig)
  await namesOfOthers(t, rig)
  await extensionsAndSizes(t, rig)
  await manyQueries(t, rig)
  await outageOfUpstream(t, rig)
  await t.test('SIGTERM ends it with exit code 0', async () => {
    assert.equal(await rig.agent.process.stop('SIGTERM'), 0, rig.agent.process.log.slice(-2000))
  })
})

async function namesOfTheMesh(t: TestContext, { dig }: Rig): Promise<void> {
  await t.test(
    'names of the mesh: in full, short, behind a search domain, by wildcard; both families; no other type',
    async () => {
      for (const over of ['+notcp', '+tcp']) {
        assert.equal(
          facts(await dig(over, 'orders.edge.svc.cluster.local', 'A')),
          'NOERROR | qr aa rd ra | orders.edge.svc.cluster.local. A 240.240.0.7',
        )
        assert.equal(facts(await dig(over, 'orders', 'AAAA')), 'NOERROR | qr aa rd ra | orders. AAAA fd00::7')
        assert.equal(
          facts(await dig(over, 'orders.lan', 'A')),
          'NOERROR | qr aa rd ra | orders.lan. CNAME orders. | orders. A 240.240.0.7',
        )
        assert.equal(
          facts(await dig(over, 'a.b.wild.mesh', 'A')),
          'NOERROR | qr aa rd ra | a.b.wild.mesh. A 240.240.0.9',
        )
        assert.equal(facts(await dig(over, 'a.b.wild.mesh', 'AAAA')), 'NOERROR | qr aa rd ra')
        assert.equal(facts(await dig(over, 'orders', 'MX')), 'NOERROR | qr aa rd ra')
      }
    },
  )
  await t.test('letter case comes back as it was asked; names of addresses, by dig -x', async () => {
    assert.equal(facts(await dig('oRdErS.EdGe', 'A')), 'NOERROR | qr aa rd ra | oRdErS.EdGe. A 240.240.0.7')
    assert.equal(
      facts(await dig('-x', '240.240.0.7')),
      'NOERROR | qr aa rd ra | 7.0.240.240.in-addr.arpa. PTR orders.edge.svc.cluster.local.',
    )
    assert.match(facts(await dig('-x', 'fd00::7')), /ip6\.arpa\. PTR orders\.edge\.svc\.cluster\.local\.$/)
    assert.equal(
      facts(await dig('-x', '192.0.2.9')),
      'NOERROR | qr rd ra | 9.2.0.192.in-addr.arpa. PTR short.example.test.',
    )
  })
  await t.test("a ServiceEntry's host has the mesh's addresses, and its owner's other records", async () => {
    assert.equal(
      facts(await dig('mesh.example.test', 'A')),
      'NOERROR | qr aa rd ra | mesh.example.test. A 240.240.0.11',
    )
    assert.equal(
      facts(await dig('mesh.example.test', 'TXT')),
      'NOERROR | qr rd ra | mesh.example.test. TXT "of its owner"',
    )
    assert.equal(
      facts(await dig('mesh.example.test', 'HTTPS')),
      'NOERROR | qr aa rd ra',
      'its hints would lead past the mesh',
    )
    assert.match(await dig('x.wild.mesh', 'MX'), /status: REFUSED/)
  })
}

async function namesOfOthers(t: TestContext, { dig, upstreamPort }: Rig): Promise<void> {
  await t.test("names that are not the mesh's are what unbound says, type by type", async () => {
    for (const [name, type] of [
      ['www.example.test', 'A'],
      ['www.example.test', 'AAAA'],
      ['alias.example.test', 'A'],
      ['example.test', 'MX'],
      ['example.test', 'SOA'],
      ['_mqtt._tcp.example.test', 'SRV'],
      ['www.example.test', 'CAA'],
      ['www.example.test', 'TXT'],
      ['none.example.test', 'A'],
      ['www.example.test', 'ANY'],
      ['www.example.test', 'TYPE65'],
    ] as const) {
      const [ours, theirs] = [
        await dig('+noall', '+answer', '+authority', '+comments', '+nottlid', name, type),
        (
          await run(findDebianProgram('dig'), [
            '@127.0.0.1',
            '-p',
            String(upstreamPort),
            '+noall',
            '+answer',
            '+authority',
            '+comments',
            '+nottlid',
            name,
            type,
          ])
        ).out,
      ]
      const [left, right] = [ours, theirs].map((out) => [
        /status: (\w+)/.exec(out)![1],
        ...out
          .split('\n')
          .filter((l) => /^[^;\s]/.test(l))
          .toSorted(),
      ])
      assert.deepEqual(left, right, `${name} ${type}`)
      if (type !== 'ANY') assert.ok(theirs.includes('status'), theirs)
    }
    assert.match(await dig('www.elsewhere.example', 'A'), /status: REFUSED/)
  })
}

async function extensionsAndSizes(t: TestContext, { dig }: Rig): Promise<void> {
  await t.test(
    'EDNS, cookies, DNSSEC OK, client subnet, padding, no recursion, CD: answered all the same',
    async () => {
      for (const flags of [
        ['+noedns'],
        ['+bufsize=4096'],
        ['+dnssec'],
        ['+subnet=192.0.2.0/24'],
        ['+padding=128', '+tcp'],
        ['+norecurse'],
        ['+cdflag'],
        ['+adflag'],
        ['+keepalive', '+tcp'],
        ['+cookie'],
        ['+nocookie'],
        ['+ednsopt=65001:00ff'],
        ['+zflag'],
      ]) {
        assert.match(await dig(...flags, 'www.example.test', 'A'), /status: NOERROR[^]*192\.0\.2\.1/, flags.join())
        assert.match(await dig(...flags, 'orders', 'A'), /status: NOERROR[^]*240\.240\.0\.7/, flags.join())
      }
      assert.match(await dig('+edns=1', '+noednsnegotiation', 'orders', 'A'), /status: BADVERS/)
      assert.match(await dig('+header-only', 'orders', 'A'), /status: FORMERR/)
      assert.match(await dig('+opcode=update', 'orders', 'A'), /status: NOTIMP/)
    },
  )
  await t.test('what does not fit into a datagram comes over TCP', async () => {
    for (const name of ['many', 'large.example.test']) {
      assert.match(await dig('+ignore', '+noedns', name, 'A'), /flags: [a-z ]*\btc\b/)
      const whole = await dig(name, 'A')
      assert.doesNotMatch(whole, /flags: [a-z ]*\btc\b/)
      assert.equal([...whole.matchAll(/\sIN\s+A\s+10\./g)].length, name === 'many' ? 100 : 120)
    }
  })
}

async function manyQueries(t: TestContext, { dig, port }: Rig): Promise<void> {
  await t.test('several queries on one connection', async () => {
    const out = await dig(
      '+tcp',
      '+keepopen',
      'orders',
      'A',
      '+tcp',
      '+keepopen',
      'www.example.test',
      'A',
      '+tcp',
      '+keepopen',
      'many',
      'A',
    )
    assert.equal([...out.matchAll(/status: NOERROR/g)].length, 3)
  })
  await t.test('c-ares, as many programs use it', async () => {
    const resolver = new dns.Resolver({ timeout: 5_000, tries: 1 })
    resolver.setServers([`127.0.0.1:${port}`])
    assert.deepEqual(await resolver.resolve4('orders.edge', { ttl: true }), [{ address: '240.240.0.7', ttl: 30 }])
    assert.deepEqual(await resolver.resolve6('orders.edge.svc'), ['fd00::7'])
    assert.equal((await resolver.resolve4('large.example.test')).length, 120)
    assert.deepEqual(
      (await resolver.resolveSrv('_mqtt._tcp.example.test')).map((s) => `${s.name}:${s.port}`),
      ['www.example.test:8883'],
    )
    await assert.rejects(resolver.resolve6('a.wild.mesh'), { code: 'ENODATA' })
    await assert.rejects(resolver.resolve4('none.example.test'), { code: 'ENOTFOUND' })
  })
  await t.test('four clients at once with 1,000 queries each: all are answered', async () => {
    const file = path.join(temporaryFolder(t), 'queries')
    fs.writeFileSync(
      file,
      Array.from(
        { length: 1_000 },
        (_, i) => `${['orders', 'www.example.test', `n${i}.example.test`, `n${i}.wild.mesh`][i % 4]} A`,
      ).join('\n'),
    )
    // Each from an address of its own: dig sets SO_REUSEPORT, so two of one user are given the same port at times, and
    // the answer to one reaches the other.
    const parts = await Promise.all(
      Array.from({ length: 4 }, (_, i) => dig('-b', `127.0.0.${10 + i}`, '+noall', '+comments', '-f', file)),
    )
    for (const out of parts) assert.equal([...out.matchAll(/status: (NOERROR|NXDOMAIN)/g)].length, 1_000)
  })
}

async function outageOfUpstream(t: TestContext, { agent, dig, upstream, upstreamPort }: Rig): Promise<void> {
  await t.test(
    'unbound gone: the mesh resolves, what was known comes stale and says so, what was not fails; then it is back',
    async () => {
      await dig('short.example.test', 'A')
      assert.equal(await upstream.stop('SIGKILL'), 'SIGKILL')
      await agent.process.until('the answer is stale', async () =>
        /EDE: 3 \(Stale Answer\)/.test(await dig('short.example.test', 'A')),
      )
      assert.match(await dig('short.example.test', 'A'), /short\.example\.test\.\s+30\s+IN\s+A\s+192\.0\.2\.9/)
      assert.match(await dig('orders', 'A'), /240\.240\.0\.7/)
      assert.match(await dig('unknown.example.test', 'A'), /status: SERVFAIL[^]*EDE: 22 \(No Reachable Authority\)/)
      const status = await agent.status()
      assert.deepEqual(
        status?.problems.map((p) => p.code),
        ['MESH_DNS_UPSTREAM'],
      )
      assert.match(
        (await agent.cli(['status', '--admin', `127.0.0.1:${agent.adminPort}`])).out,
        /^dns .*others from 127\.0\.0\.1:\d+$[^]*! MESH_DNS_UPSTREAM: no upstream resolver answers/m,
      )
      assert.equal(await agent.process.stop('SIGTERM'), 0)
      await agent.start()
      assert.match(
        await dig('short.example.test', 'A'),
        /status: NOERROR[^]*EDE: 3 [^]*short\.example\.test\.\s+30\s+IN\s+A\s+192\.0\.2\.9/,
        'after a restart',
      )
      assert.match(await dig('unknown.example.test', 'A'), /status: SERVFAIL/)
      assert.equal(fs.statSync(path.join(agent.folder, 'state/dns-answers')).mode & 0o777, 0o600)
      await resolver(t, upstreamPort)
      await agent.process.until(
        'a fresh answer',
        async () =>
          /status: NOERROR/.test(await dig('www.example.test', 'AAAA')) &&
          /status: NXDOMAIN/.test(await dig(`n${Math.floor(performance.now())}.example.test`, 'A')),
      )
      assert.deepEqual((await agent.status())?.problems, [])
    },
  )
}

test('glibc, with this proxy in resolv.conf', { timeout: 120_000 }, async (t) => {
  // resolv.conf has no ports; an address of this test's own has its port 53.
  const [address, upstreamAddress] = ['127.71.3.1', '127.71.3.2']
  const upstream = await unbound(t, {
    address: upstreamAddress,
    port: 53,
    zone: ZONE,
    zones: ['"." static', '"example.test." static'],
  })
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `dns: {address: ${address}, port: 53, upstreams: [${upstreamAddress}], search: [lan, corp.test]}\n`,
    ).replace('{name: conformance}', '{name: conformance, namespace: edge}'),
  )
  writeResources(agent.folder, [NAMES])
  await agent.start()
  const getent = getentWith(path.join(agent.folder, 'resolv.conf'), address)
  for (const options of ['ndots:1', 'ndots:5', 'ndots:5 single-request', 'ndots:1 edns0', 'ndots:1 use-vc']) {
    assert.deepEqual(await getent(options, 'ahosts', 'orders'), ['240.240.0.7', 'fd00::7'], options)
    assert.deepEqual(
      await getent(options, 'ahosts', 'orders.edge.svc.cluster.local'),
      ['240.240.0.7', 'fd00::7'],
      options,
    )
    assert.deepEqual(await getent(options, 'ahosts', 'a.b.wild.mesh'), ['240.240.0.9'], `${options}: one family only`)
    assert.deepEqual(await getent(options, 'ahosts', 'www.example.test'), ['192.0.2.1', '2001:db8::1'], options)
    assert.deepEqual(await getent(options, 'ahosts', 'none.example.test'), [], options)
    assert.equal((await getent(options, 'ahosts', 'many')).length, 100, `${options}: what does not fit comes over TCP`)
    assert.deepEqual(await getent(options, 'hosts', '240.240.0.7'), ['orders.edge.svc.cluster.local'], options)
  }
  await upstream.stop('SIGKILL')
  assert.deepEqual(await getent('ndots:1', 'ahosts', 'orders'), ['240.240.0.7', 'fd00::7'])
  assert.equal(await agent.process.stop('SIGTERM'), 0)
  await agent.start()
  assert.deepEqual(
    await getent('ndots:1', 'ahosts', 'www.example.test'),
    ['192.0.2.1', '2001:db8::1'],
    'after a restart without the uplink',
  )
})

/** glibc's answer under these options of resolv.conf: addresses or names, without repetitions. */
function getentWith(conf: string, address: string): (options: string, ...args: string[]) => Promise<string[]> {
  return async (options, ...args) => {
    fs.writeFileSync(conf, `nameserver ${address}\nsearch lan corp.test\noptions ${options}\n`)
    // In a mount namespace of its own, so that only this program sees the file.
    const { out, err, code } = await run('/usr/bin/unshare', [
      '-m',
      'sh',
      '-c',
      'mount --bind "$0" /etc/resolv.conf && exec getent "$@"',
      conf,
      ...args,
    ])
    assert.ok(code === 0 || code === 2, `getent ${args.join(' ')}: ${out}${err}`)
    return [
      ...new Set(
        out
          .split('\n')
          .filter((l) => l !== '')
          .map((l) => (args[0] === 'hosts' ? l.split(/\s+/)[1]! : l.split(/\s+/)[0]!)),
      ),
    ].toSorted()
  }
}
