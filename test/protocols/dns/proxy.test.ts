import { test } from 'node:test'
import assert from 'node:assert/strict'
import { GarbageWatch } from '../../../core/runtime/garbage-watch.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { MemoryPressure } from '../../../core/runtime/memory-pressure.ts'
import { EMPTY_TABLES } from '../../../model/tables.ts'
import { a, decoded, query, soa } from '../../helpers/dns.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { AT, DnsSite, MESH, SERVER, tables } from './site.ts'

test('a name of the mesh is answered from the table; nobody else is asked', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  assert.equal(
    await site.ask(query('API.shop.svc.cluster.local')),
    'NOERROR aa, API.shop.svc.cluster.local 30 A 240.240.0.1',
  )
  assert.equal(await site.ask(query('api.shop.svc.cluster.local', 'AAAA')), 'NOERROR aa')
  assert.equal(await site.ask(query('api.shop.svc.cluster.local', 'MX')), 'NOERROR aa')
  assert.deepEqual(upstream.asked, [])
  assert.equal(site.count({ source: 'table', rcode: 'NOERROR' }), 3)
  assert.deepEqual(site.proxy.status(), {
    address: '127.0.0.1:15053',
    names: 1,
    cached: 0,
    upstreams: ['10.0.0.53:53'],
    problems: [],
  })
})
test('a new table counts from the next query on; what it no longer has is asked for upstream', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  site.tables.swap(
    tables({
      'api.shop.svc.cluster.local': { addresses: ['240.240.0.2'], service: { name: 'api', namespace: 'shop' } },
    }),
  )
  assert.equal(await site.ask(query('api.shop')), 'NOERROR aa, api.shop 30 A 240.240.0.2')
  site.tables.swap(tables({}))
  assert.equal(await site.ask(query('api.shop')), 'NOERROR, api.shop 60 A 9.9.9.9')
})
test("any type of a name that is not the mesh's goes upstream as it is, its answer comes back as it is", async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name, { type }) => ({
    answers: [{ name, type: type as 'TXT', ttl: 7, data: Buffer.from('v=1') }],
  }))
  assert.match(await site.ask(query('example.com', 'TXT')), /^NOERROR, example\.com 7 TXT v=1$/)
  await site.ask(query('example.com', 'UNKNOWN_65'))
  await site.ask(query('example.com', 'ANY'))
  assert.deepEqual(upstream.asked, ['example.com TXT udp', 'example.com UNKNOWN_65 udp', 'example.com ANY udp'])
})

test('before the first table no name is answered, but that of the control plane; afterwards all are', async (t) => {
  const site = await DnsSite.start(t, {}, { outside: new Set(['istiod.example.com']) })
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  site.awaited = 'everything'
  site.tables.swap(EMPTY_TABLES)
  assert.equal(await site.ask(query('api.shop.svc.cluster.local')), 'SERVFAIL')
  await site.clock.advance(14_999)
  assert.equal(await site.ask(query('www.example.com')), 'SERVFAIL')
  assert.deepEqual(upstream.asked, [])
  assert.equal(await site.ask(query('Istiod.Example.com')), 'NOERROR, Istiod.Example.com 60 A 9.9.9.9')
  site.awaited = 'nothing'
  assert.equal(
    await site.ask(query('www.example.com')),
    'NOERROR, www.example.com 60 A 9.9.9.9',
    'a control plane that says that it has no names',
  )
  site.tables.swap(MESH)
  assert.match(await site.ask(query('api.shop.svc.cluster.local')), /^NOERROR aa/)
})
test("a first table that does not come: after a while names that may be others' are asked for upstream, and are not kept for long", async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 3_600)] }))
  site.awaited = 'everything'
  site.tables.swap(EMPTY_TABLES)
  await site.clock.advance(15_000)
  for (const name of ['www.example.com', 'api.shop', 'cluster.local', 'svc.example.com', 'notsvc.example.com'])
    assert.equal(await site.ask(query(name)), `NOERROR, ${name} 30 A 9.9.9.9`, name)
  for (const name of [
    'api',
    'api.shop.svc',
    'api.shop.svc.cluster.local',
    'details.ns2.svc.cluster.remote',
    'x.cluster.local',
  ])
    assert.equal(await site.ask(query(name)), 'SERVFAIL', name)
  assert.deepEqual([upstream.asked.length, site.events('dns.no-table')], [5, 1])
  site.tables.swap(tables({ 'www.example.com': { addresses: ['240.240.0.5'], service: undefined } }))
  assert.equal(
    await site.ask(query('www.example.com')),
    'NOERROR aa, www.example.com 30 A 240.240.0.5',
    'the table decides, whatever was asked before',
  )
  assert.equal(await site.ask(query('api.shop')), 'NOERROR, api.shop 3600 A 9.9.9.9')
})
test('a control plane that sends everything but names has none, once they are overdue', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 3_600)] }))
  site.awaited = 'everything'
  site.tables.swap(EMPTY_TABLES)
  await site.clock.advance(60_000)
  site.awaited = 'names'
  assert.equal(await site.ask(query('api.shop.svc')), 'SERVFAIL')
  await site.clock.advance(14_999)
  assert.equal(await site.ask(query('api.shop.svc')), 'SERVFAIL')
  await site.clock.advance(1)
  assert.equal(await site.ask(query('api.shop.svc')), 'NOERROR, api.shop.svc 3600 A 9.9.9.9')
  site.awaited = 'everything'
  assert.equal(await site.ask(query('api')), 'SERVFAIL', 'another control plane, which may have some')
  assert.equal(site.events('dns.no-table'), 1)
})
test('firstTableMs 0 waits for nothing; without upstream resolvers nothing is denied before the table', async (t) => {
  const site = await DnsSite.start(t, { firstTableMs: 0 })
  await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  site.awaited = 'everything'
  site.tables.swap(EMPTY_TABLES)
  assert.deepEqual(
    [await site.ask(query('www.example.com')), await site.ask(query('api'))],
    ['NOERROR, www.example.com 30 A 9.9.9.9', 'SERVFAIL'],
  )
  const alone = await DnsSite.start(t, { firstTableMs: 0, upstreams: [] })
  alone.awaited = 'everything'
  alone.tables.swap(EMPTY_TABLES)
  assert.equal(await alone.ask(query('www.example.com')), 'SERVFAIL')
})
test('with no upstream resolver by intention, what the mesh does not know does not exist', async (t) => {
  const site = await DnsSite.start(t, { upstreams: [] })
  assert.equal(await site.ask(query('www.example.com')), 'NXDOMAIN')
  assert.deepEqual(site.proxy.status().problems, [])
})
test('search domains of resolv.conf make aliases; the file is read again when it changes', async (t) => {
  const site = await DnsSite.start(t, { upstreams: undefined, search: undefined })
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  assert.match(await site.ask(query('www.example.com')), /^SERVFAIL/)
  assert.match(site.proxy.status().problems[0]?.message ?? '', /^\/etc\/resolv\.conf names no resolver$/)
  site.files.set('/etc/resolv.conf', 'nameserver 10.0.0.53\nsearch lan\n')
  await site.clock.advance(5_000)
  assert.equal(await site.ask(query('www.example.com')), 'NOERROR, www.example.com 60 A 9.9.9.9')
  assert.equal(
    await site.ask(query('api.shop.svc.cluster.local.lan')),
    'NOERROR aa, api.shop.svc.cluster.local.lan 30 CNAME api.shop.svc.cluster.local, api.shop.svc.cluster.local 30 A 240.240.0.1',
  )
  assert.equal(upstream.asked.length, 1)
  assert.deepEqual(site.proxy.status().problems, [])
})
test('resolv.conf that names this proxy alone: nobody is asked, and status says so', async (t) => {
  const site = await DnsSite.start(t, { upstreams: undefined, port: 53 })
  site.files.set('/etc/resolv.conf', 'nameserver 127.0.0.1\n')
  await site.clock.advance(5_000)
  assert.equal(site.proxy.status().problems[0]?.message, 'the only upstream resolver is this agent itself')
})

for (const { name, bytes, want } of [
  { name: 'class CHAOS', bytes: Buffer.from('1234010000010000000000000000100003', 'hex'), want: 'REFUSED' },
  { name: 'a zone transfer', bytes: query('example.com', 'AXFR'), want: 'NOTIMP' },
  { name: 'no question', bytes: Buffer.from('123401000000000000000000', 'hex'), want: 'FORMERR' },
])
  test(`what is not served is refused: ${name}`, async (t) => {
    const site = await DnsSite.start(t)
    assert.equal(await site.ask(bytes), want)
    assert.deepEqual(
      [
        site.count({ source: 'refused', rcode: want }),
        site.metrics.total('mesh_dns_refused_total', { code: 'MESH_MALFORMED_INPUT' }),
        site.events('dns.refused'),
      ],
      [1, 1, 1],
    )
  })
test('EDNS of a later version gets BADVERS (RFC 6891 §6.1.3)', async (t) => {
  const site = await DnsSite.start(t)
  const bytes = query('a.b', 'A', { udpBytes: 1232 })
  bytes[bytes.length - 5] = 1
  const [answer] = await (async () => {
    const all = await site.send(bytes)
    await settle()
    return all
  })()
  const opt = decoded(answer!).additionals?.[0]
  assert.ok(opt?.type === 'OPT')
  assert.equal(opt.extendedRcode, 1)
})
test('what is no query is dropped and counted', async (t) => {
  const site = await DnsSite.start(t)
  for (const bytes of [Buffer.alloc(0), Buffer.from('x'), Buffer.from('123480000001000000000000', 'hex')])
    assert.deepEqual(await site.send(bytes), [])
  await settle()
  assert.equal(site.metrics.total('mesh_dns_refused_total', { code: 'MESH_MALFORMED_INPUT' }), 3)
})

test('a query that leads back to this agent is refused at once, its server left out for a while, and status says so', async (t) => {
  const site = await DnsSite.start(
    t,
    { upstreams: [{ host: '10.9.9.9', port: 53 }, SERVER] },
    {
      // As a rule that redirects port 53 would: what goes to 10.9.9.9 comes here.
      through: (sim) => ({
        dial: (...args) => sim.dial(...args),
        listen: (...args) => sim.listen(...args),
        bindUdp: async (at, events, options) => {
          const isOurs = options?.peer?.host === '10.9.9.9'
          const socket = await sim.bindUdp(at, events, isOurs ? {} : options)
          return isOurs
            ? {
                port: socket.port,
                send: (bytes) => {
                  socket.send(bytes, AT)
                },
                [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
              }
            : socket
        },
      }),
    },
  )
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  assert.equal(
    await site.ask(query('www.example.com')),
    'NOERROR, www.example.com 60 A 9.9.9.9',
    'the other one is asked, without waiting',
  )
  assert.equal(site.tries({ result: 'loop' }), 1)
  assert.match(site.proxy.status().problems[0]?.message ?? '', /10\.9\.9\.9:53 leads back to this agent/)
  assert.equal(site.events('dns.loop'), 1)
  await site.ask(query('www.example.org'))
  assert.deepEqual([site.tries({ result: 'loop' }), upstream.asked.length], [1, 2])
  await site.clock.advance(60_000)
  await site.ask(query('www.example.net'))
  assert.equal(site.tries({ result: 'loop' }), 2, 'asked again: somebody may have mended it')
})
test('the socket of a try is closed with it', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream((name) => ({
    rcode: 3,
    authorities: [soa('com', 60)],
    answers: [],
    questions: [{ name, type: 'A' }],
  }))
  assert.equal(await site.ask(query('nowhere.com')), 'NXDOMAIN')
  assert.equal(site.sim.udpSockets, 1 + 1 + 1, 'proxy, upstream, client: the socket of the try is closed')
})
test('a taken port is told with its code, and had once it is free', async (t) => {
  const site = await DnsSite.start(t)
  const problems = ({ proxy }: DnsSite): string[] => proxy.status().problems.map((p) => `${p.code}: ${p.message}`)
  const taken = await site.sim.listen({ host: '127.0.0.1', port: 1_000 }, () => {})
  const other = await DnsSite.start(t, { port: 1_000 }, { network: site.sim })
  assert.match(problems(other).join(), /^MESH_PORT_IN_USE: the DNS port 127\.0\.0\.1:1000 \(TCP\) is taken/)
  assert.equal(site.sim.udpSockets, 1, 'the UDP port of the same number is given back')
  const same = await DnsSite.start(t, {}, { network: site.sim })
  assert.match(problems(same).join(), /^MESH_PORT_IN_USE: the DNS port 127\.0\.0\.1:15053 \(UDP\) is taken/)
  await taken[Symbol.asyncDispose]()
  await other.clock.advance(600_000)
  await settle()
  assert.deepEqual([problems(other), other.proxy.port], [[], 1_000])
})
test('the end: queries under way are let go, no socket and no timer is left', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream(() => undefined)
  await site.send(query('www.example.com'))
  await settle()
  await site.proxy[Symbol.asyncDispose]()
  assert.deepEqual([site.clock.pendingTimers, site.tries({ result: 'cancelled' })], [0, 1])
})

const HOSTS = tables({
  'orders.edge.svc.cluster.local': {
    addresses: ['240.240.0.7', '2001:2::7'],
    service: { name: 'orders', namespace: 'edge' },
  },
  'example.com': { addresses: ['240.240.0.8'], service: undefined },
  '*.example.com': { addresses: ['240.240.0.9'], service: undefined },
})
test('of a host that is no service the mesh has the addresses, and others the rest; that they do not know the name denies nothing', async (t) => {
  const site = await DnsSite.start(t, { search: ['lan'] })
  const upstream = await site.upstream((name, { type }) =>
    type === 'MX'
      ? { answers: [{ type: 'MX', name, ttl: 60, data: { preference: 1, exchange: 'mail.example.com' } }] }
      : { rcode: 3, answers: [], authorities: [soa('com', 60)] },
  )
  site.tables.swap(HOSTS)
  assert.equal(
    await site.ask(query('example.com', 'MX')),
    'NOERROR, example.com 60 MX {"preference":1,"exchange":"mail.example.com"}',
  )
  assert.equal(await site.ask(query('_mqtt._tcp.example.com', 'SRV')), 'NOERROR')
  assert.equal(await site.ask(query('example.com.lan', 'TXT')), 'NOERROR')
  assert.deepEqual(upstream.asked, ['example.com MX udp', '_mqtt._tcp.example.com SRV udp', 'example.com.lan TXT udp'])
  for (const type of ['AAAA', 'CNAME', 'UNKNOWN_65', 'UNKNOWN_64'])
    assert.equal(
      await site.ask(query('example.com', type)),
      'NOERROR aa',
      `${type} holds addresses, which would lead past the mesh`,
    )
  for (const type of ['MX', 'TXT', 'SRV', 'UNKNOWN_65'])
    assert.equal(await site.ask(query('orders.edge', type)), 'NOERROR aa', 'a service is nowhere else')
  assert.equal(upstream.asked.length, 3)
})
test('without upstream resolvers a name of the mesh has no more than its addresses', async (t) => {
  const site = await DnsSite.start(t, { upstreams: [] })
  site.tables.swap(HOSTS)
  assert.deepEqual(
    [await site.ask(query('example.com', 'MX')), await site.ask(query('example.org', 'MX'))],
    ['NOERROR aa', 'NXDOMAIN'],
  )
})
test("an address of the mesh has its names; another's is asked for upstream", async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [{ type: 'PTR', name, ttl: 60, data: 'printer.lan' }] }))
  site.tables.swap(HOSTS)
  const v6 = '7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.1.0.0.2.ip6.arpa'
  assert.equal(
    await site.ask(query('7.0.240.240.In-Addr.Arpa', 'PTR')),
    'NOERROR aa, 7.0.240.240.In-Addr.Arpa 30 PTR orders.edge.svc.cluster.local',
  )
  assert.equal(await site.ask(query(v6, 'PTR')), `NOERROR aa, ${v6} 30 PTR orders.edge.svc.cluster.local`)
  assert.equal(
    await site.ask(query('8.0.240.240.in-addr.arpa', 'ANY')),
    'NOERROR aa, 8.0.240.240.in-addr.arpa 30 PTR example.com',
  )
  assert.deepEqual(upstream.asked, [])
  assert.equal(
    await site.ask(query('9.0.240.240.in-addr.arpa', 'PTR')),
    'NOERROR, 9.0.240.240.in-addr.arpa 60 PTR printer.lan',
    'a wildcard is no name',
  )
  assert.equal(
    await site.ask(query('1.0.0.10.in-addr.arpa', 'PTR')),
    'NOERROR, 1.0.0.10.in-addr.arpa 60 PTR printer.lan',
  )
  site.tables.swap(tables({ 'new.mesh': { addresses: ['10.0.0.1'], service: undefined } }))
  assert.equal(
    await site.ask(query('1.0.0.10.in-addr.arpa', 'PTR')),
    'NOERROR aa, 1.0.0.10.in-addr.arpa 30 PTR new.mesh',
  )
})

test('what datagrams, and sockets towards resolvers, leave behind is told to who watches the garbage', async (t) => {
  const budget = new MemoryBudget({ maxBytes: 1e6 })
  let looks = 0
  budget.garbage = new GarbageWatch({
    limitBytes: 96 * 1024 * 1024,
    heldBytes: () => 0,
    usage: () => {
      looks++
      return { arrayBuffers: 0, external: 0, heapUsed: 0, heapTotal: 0 }
    },
    pressure: new MemoryPressure({ limitBytes: 0, readOwnBytes: () => 0, nowMs: () => 0 }),
    trimMalloc: () => {},
    collect: () => {},
    nowMs: () => 0,
    after: () => {},
    saveMemory: () => {},
  })
  const site = await DnsSite.start(t, {}, { budget })
  await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  for (let i = 0; i < 200; i++) await site.ask(query('api.shop.svc.cluster.local'))
  const ofDatagrams = looks
  assert.ok(ofDatagrams > 0)
  for (let i = 0; i < 50; i++) await site.ask(query(`n${i}.example.com`))
  assert.ok(looks > ofDatagrams * 2, `${looks}, ${ofDatagrams} of datagrams`)
})
