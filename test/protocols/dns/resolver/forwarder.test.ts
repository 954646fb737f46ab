import { test } from 'node:test'
import assert from 'node:assert/strict'
import { a, query, soa, told } from '../../../helpers/dns.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { AT, DnsSite, OTHER, SERVER } from '../site.ts'

const TWO = { upstreams: [SERVER, OTHER] }
const www = 'www.example.com'

test('the cache answers until the TTL is over; TTLs count down', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 60)] }))
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 60 A 9.9.9.9`)
  await site.clock.advance(20_000)
  assert.equal(
    await site.ask(query('WWW.Example.com')),
    `NOERROR, ${www} 40 A 9.9.9.9`,
    'letter case makes no other question',
  )
  await site.clock.advance(39_999)
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 1 A 9.9.9.9`)
  assert.equal(upstream.asked.length, 1)
  await site.clock.advance(1)
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 60 A 9.9.9.9`)
  assert.equal(upstream.asked.length, 2)
  assert.deepEqual([site.count({ source: 'forwarded' }), site.count({ source: 'cache' })], [2, 2])
})

test('TTLs have a ceiling', async (t) => {
  const site = await DnsSite.start(t, { maxTtlSec: 100 })
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 604_800)] }))
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 100 A 9.9.9.9`)
  await site.clock.advance(100_000)
  await site.ask(query(www))
  assert.equal(upstream.asked.length, 2)
})

test('a TTL of 0 is not kept', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 0)] }))
  for (let i = 0; i < 2; i++) assert.equal(await site.ask(query(www)), `NOERROR, ${www} 0 A 9.9.9.9`)
  assert.deepEqual([upstream.asked.length, site.proxy.status().cached], [2, 0])
})

test('that there is no such name is kept as the SOA record says, within a ceiling (RFC 2308 §5)', async (t) => {
  const site = await DnsSite.start(t, { maxNegativeTtlSec: 100 })
  const upstream = await site.upstream((name) => ({
    rcode: 3,
    answers: [],
    authorities: [soa('example.com', name === www ? 30 : 9_999)],
  }))
  for (const [name, keptSec] of [
    [www, 30],
    ['b.example.com', 100],
  ] as const) {
    upstream.asked.length = 0
    assert.equal(await site.ask(query(name)), 'NXDOMAIN')
    await site.clock.advance(keptSec * 1_000 - 1)
    assert.equal(await site.ask(query(name)), 'NXDOMAIN')
    assert.equal(upstream.asked.length, 1, name)
    await site.clock.advance(1)
    await site.ask(query(name))
    assert.equal(upstream.asked.length, 2, name)
  }
})

test('a CD query and a DNSSEC query have answers of their own', async (t) => {
  const site = await DnsSite.start(t)
  const seen: string[] = []
  await site.upstream((name, { packet }) => {
    const [opt] = packet.additionals ?? []
    seen.push(`${packet.flag_cd} ${opt?.type === 'OPT' && opt.flag_do} ${opt?.type === 'OPT' && opt.udpPayloadSize}`)
    return { answers: [a(name, '9.9.9.9')] }
  })
  for (let i = 0; i < 2; i++)
    for (const bytes of [
      query(www),
      query(www, 'A', { flags: 0x110 }),
      query(www, 'A', { udpBytes: 4_096, dnssecOk: true }),
    ])
      await site.ask(bytes)
  assert.deepEqual(seen, ['false false 1232', 'true false 1232', 'false true 1232'])
})

test('when no server answers, an answer past its time is given with TTL 30, at once after the first time (RFC 8767 §5)', async (t) => {
  const site = await DnsSite.start(t, { maxStaleSec: 3_600 })
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 60)] }))
  await site.ask(query(www))
  await site.clock.advance(60_000)
  site.sim.blackhole(SERVER)
  const answers = await site.send(query(www))
  await site.clock.advance(1_799)
  assert.equal(answers.length, 0, 'a fresh answer is waited for')
  await site.clock.advance(1)
  assert.equal(answers.length, 1)
  await site.clock.advance(8_000) // the tries have failed by now
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 30 A 9.9.9.9`)
  const tries = site.tries({ result: 'timeout' })
  assert.equal(tries, 2)
  await site.clock.advance(21_000)
  await site.ask(query(www))
  assert.equal(site.tries({ result: 'timeout' }), tries, 'nobody is asked again for 30 s')
  assert.match(
    site.proxy.status().problems[0]?.message ?? '',
    /no upstream resolver answers \(10\.0\.0\.53:53; asked in vain for \d+ s\)/,
  )
  assert.deepEqual([site.events('dns.upstream-silent'), upstream.asked.length], [1, 1])

  site.sim.restore(SERVER)
  await site.clock.advance(10_000)
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 60 A 9.9.9.9`)
  assert.deepEqual([site.proxy.status().problems, site.events('dns.upstream-back')], [[], 1])
  assert.equal(site.count({ source: 'stale' }), 3)
})

test('a stale answer is given no longer than maxStaleSec, and never when that is 0', async (t) => {
  for (const maxStaleSec of [100, 0]) {
    const site = await DnsSite.start(t, { maxStaleSec })
    await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 60)] }))
    await site.ask(query(www))
    site.sim.refuse(SERVER)
    await site.clock.advance(60_000 + maxStaleSec * 1_000)
    assert.equal(await site.ask(query(www)), 'SERVFAIL')
  }
})

test('a slow server: the client gets the stale answer, the cache the fresh one', async (t) => {
  const site = await DnsSite.start(t)
  let address = '9.9.9.9'
  const upstream = await site.upstream((name) => ({ answers: [a(name, address, 60)] }))
  await site.ask(query(www))
  await site.clock.advance(60_000)
  address = '8.8.8.8'
  const { script } = upstream
  upstream.script = () => undefined // the first datagram is lost
  assert.equal(await site.ask(query(www), 1_800), `NOERROR, ${www} 30 A 9.9.9.9`)
  upstream.script = script
  await site.clock.advance(200)
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 60 A 8.8.8.8`)
})

test('servers that fail are no better than silent ones: the stale answer is given (RFC 8767 §4)', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9', 60)] }))
  await site.ask(query(www))
  await site.clock.advance(60_000)
  upstream.script = () => ({ rcode: 2 })
  assert.equal(await site.ask(query(www)), `NOERROR, ${www} 30 A 9.9.9.9`)
  upstream.script = () => ({ rcode: 3, authorities: [soa('example.com', 60)] })
  await site.clock.advance(30_000)
  assert.equal(await site.ask(query(www)), 'NXDOMAIN', 'that it is gone is an answer')
})

test('when all refuse, the client hears what the first said; the failure is remembered for a short while (RFC 9520 §3.2)', async (t) => {
  const site = await DnsSite.start(t, TWO)
  const [first, second] = [await site.upstream(() => ({ rcode: 5 })), await site.upstream(() => ({ rcode: 2 }), OTHER)]
  for (let i = 0; i < 3; i++) assert.equal(await site.ask(query(www)), 'REFUSED')
  assert.deepEqual([first.asked.length, second.asked.length], [1, 1])
  await site.clock.advance(5_000)
  await site.ask(query(www))
  assert.equal(first.asked.length, 2)
})

test('equal questions at the same time are asked once, and each client gets its answer', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  const all = await Promise.all(Array.from({ length: 20 }, (_, id) => site.send(query(www, 'A', { id }))))
  await settle()
  await settle()
  assert.equal(upstream.asked.length, 1)
  assert.deepEqual(
    all.map((answers) => answers[0]?.readUInt16BE(0)),
    Array.from({ length: 20 }, (_, id) => id),
  )
})

test('equal questions that wait for a silent server are bounded for each client: the others hear SERVFAIL at once', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream(() => undefined)
  let heard = 0
  const handlers = {
    onDatagram: () => {
      heard++
    },
    onError: () => {},
  }
  const flood = await site.sim.bindUdp({ host: '10.0.0.9', port: 6_000 }, handlers)
  for (let i = 0; i < 200; i++) flood.send(query(www), AT)
  await settle()
  // One asks, 64 wait with it.
  assert.deepEqual(
    [heard, site.metrics.total('mesh_dns_refused_total', { code: 'MESH_UPSTREAM_OVERFLOW' })],
    [135, 135],
  )
  const others = await site.send(query(www), '10.0.0.10')
  await site.clock.advance(10_000)
  await settle()
  assert.deepEqual([heard, others.length], [200, 1])
  for (let i = 0; i < 60; i++) flood.send(query('b.example.com'), AT)
  await settle()
  assert.equal(heard, 200, 'all places are given back')
})

test('too many questions at the same time: the others hear SERVFAIL at once, and it is counted', async (t) => {
  const site = await DnsSite.start(t, { maxInFlight: 3 })
  await site.upstream(() => undefined)
  const all = await Promise.all(Array.from({ length: 5 }, (_, i) => site.send(query(`n${i}.example`))))
  await settle()
  assert.deepEqual(
    all.map((answers) => answers.length),
    [0, 0, 0, 1, 1],
  )
  assert.equal(site.metrics.total('mesh_dns_refused_total', { code: 'MESH_UPSTREAM_OVERFLOW' }), 2)
  assert.equal(site.sim.udpSockets, 1 + 1 + 5 + 3)
})

test('a client with names that nobody answers keeps no other from its own: it loses its oldest', async (t) => {
  const site = await DnsSite.start(t, { maxInFlight: 8 })
  await site.upstream((name) => (name.includes('silent') ? undefined : { answers: [a(name, '9.9.9.9')] }))
  const greedy = await Promise.all(
    Array.from({ length: 20 }, (_, i) => site.send(query(`silent${i}.example`), '10.1.1.1')),
  )
  await settle()
  assert.deepEqual(
    greedy.map((answers) => answers.length),
    Array.from({ length: 20 }, (_, i) => (i < 8 ? 0 : 1)),
  )
  for (let i = 0; i < 3; i++) {
    const answers = await site.send(query(`good${i}.example`), `10.1.1.${2 + i}`)
    await settle()
    assert.equal(told(answers[0]!), `NOERROR, good${i}.example 60 A 9.9.9.9`)
  }
  assert.deepEqual(
    greedy.map((answers) => answers.length).slice(0, 8),
    [1, 0, 0, 0, 0, 0, 0, 0],
    'the place of one is enough for those who come one after the other',
  )
  assert.equal(told(greedy[0]![0]!), 'SERVFAIL')
  assert.equal(site.count({ source: 'stale' }), 0)
  assert.equal(
    (await site.send(query('silent0.example'), '10.1.1.9')).length,
    0,
    'who lost its place is not remembered as a failure',
  )
})

test('a program of this machine that asks for silent names keeps no other from its own, with one socket or with many', async (t) => {
  for (const sockets of ['one', 'many']) {
    const site = await DnsSite.start(t, { maxInFlight: 8, port: 15_054 })
    await site.upstream((name) => (name.includes('silent') ? undefined : { answers: [a(name, '9.9.9.9')] }))
    const at = { host: '127.0.0.1', port: 15_054 }
    const one = await site.sim.bindUdp({ host: '127.0.0.1', port: 40_000 }, { onDatagram: () => {}, onError: () => {} })
    for (let i = 0; i < 20; i++) {
      const bytes = query(sockets === 'one' ? `x.silent${i}.example` : `n${i}.silent.example`)
      if (sockets === 'one') one.send(bytes, at)
      else
        (
          await site.sim.bindUdp({ host: '127.0.0.1', port: 41_000 + i }, { onDatagram: () => {}, onError: () => {} })
        ).send(bytes, at)
    }
    await settle()
    const answers: Buffer[] = []
    const other = await site.sim.bindUdp(
      { host: '127.0.0.1', port: 42_000 },
      {
        onDatagram: (got) => {
          answers.push(got)
        },
        onError: () => {},
      },
    )
    other.send(query('www.good.example'), at)
    await settle()
    assert.deepEqual(answers.map(told), ['NOERROR, www.good.example 60 A 9.9.9.9'], sockets)
  }
})

test('the same client gets a name in place of one that has waited for half an attempt', async (t) => {
  const site = await DnsSite.start(t, { maxInFlight: 4 })
  await site.upstream((name) => (name.includes('silent') ? undefined : { answers: [a(name, '9.9.9.9')] }))
  await Promise.all(Array.from({ length: 4 }, (_, i) => site.send(query(`silent${i}.example`))))
  await settle()
  assert.equal(await site.ask(query('early.example')), 'SERVFAIL')
  await site.clock.advance(1_000)
  assert.equal(await site.ask(query('good.example')), 'NOERROR, good.example 60 A 9.9.9.9')
})
