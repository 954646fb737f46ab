import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeLease } from '../../../../core/lease.ts'
import type { ForwardProxy } from '../../../../model/cluster.ts'
import { ForwardHosts, readForwardTarget } from '../../../../protocols/upstream/discovery/forward-hosts.ts'
import type { Resolve } from '../../../../protocols/upstream/discovery/dns.ts'
import { SimClock, settle } from '../../../helpers/sim-clock.ts'
import { cluster, Harness, OK, ORIGIN } from '../../http/harness.ts'

const SETTINGS: ForwardProxy = {
  kind: 'forward-proxy',
  lookupFamily: 'all',
  refreshMs: 60_000,
  hostTtlMs: 300_000,
  maxHosts: 3,
}
const at = (name: string, port = 80) => ({ name, port })

function rig(answers: Record<string, readonly string[]>, more: Partial<ForwardProxy> = {}) {
  const clock = new SimClock()
  const asked: string[] = []
  const forgotten: string[] = []
  const resolve: Resolve = async (name) => {
    asked.push(name)
    return answers[name] ?? []
  }
  const hosts = new ForwardHosts({ ...SETTINGS, ...more }, { clock, resolve, forgotten: (h) => forgotten.push(h.key) })
  return { clock, asked, forgotten, hosts, answers }
}

test('a host is resolved when it is asked for, once for all who wait', async () => {
  const { hosts, asked } = rig({ 'a.test': ['10.0.0.1', '10.0.0.2'] })
  assert.equal(hosts.find(at('a.test')), undefined)
  await Promise.all([hosts.resolve(at('a.test')), hosts.resolve(at('a.test'))])
  assert.deepEqual(asked, ['a.test'])
  const { endpoint } = hosts.find(at('a.test'))!
  assert.deepEqual([endpoint.address, endpoint.port, endpoint.hostname], ['10.0.0.1', 80, 'a.test'])
  assert.equal(hosts.find(at('a.test', 81)), undefined, 'another port is another host')
})
test('addresses are not resolved', async () => {
  const { hosts, asked } = rig({})
  await hosts.resolve(at('10.0.0.9'))
  assert.deepEqual([hosts.find(at('10.0.0.9'))?.endpoint.address, asked], ['10.0.0.9', []])
})
test('a name without an address fails, and nothing of it stays', async () => {
  const { hosts, asked } = rig({})
  for (let i = 0; i < 3; i++) await assert.rejects(hosts.resolve(at('no.test')), { code: 'MESH_DNS_FAILED' })
  assert.deepEqual([asked.length, [...hosts.all]], [3, []])
})
test('a resolver that never answers is given up', async () => {
  const clock = new SimClock()
  const resolve = (): Promise<never> => new Promise(() => {})
  const hosts = new ForwardHosts(SETTINGS, { clock, resolve, forgotten: () => assert.fail() })
  const failed = assert.rejects(hosts.resolve(at('slow.test')), { code: 'MESH_DNS_FAILED' })
  await clock.advance(15_000)
  await failed
})
test('names are asked for anew after dns_refresh_rate, and the last answer counts meanwhile and where there is none', async () => {
  const { hosts, clock, answers, forgotten } = rig({ 'a.test': ['10.0.0.1'] })
  await hosts.resolve(at('a.test'))
  answers['a.test'] = ['10.0.0.2']
  await clock.advance(60_000)
  assert.equal(hosts.find(at('a.test'))?.endpoint.address, '10.0.0.1')
  await settle()
  assert.equal(hosts.find(at('a.test'))?.endpoint.address, '10.0.0.2')
  assert.deepEqual(forgotten, ['10.0.0.1:80'])
  answers['a.test'] = []
  for (let i = 0; i < 5; i++) {
    await clock.advance(60_000)
    assert.equal(hosts.find(at('a.test'))?.endpoint.address, '10.0.0.2')
    await settle()
  }
})
test('a host stays while its address is one of those of its name', async () => {
  const { hosts, clock, answers } = rig({ 'a.test': ['10.0.0.1', '10.0.0.2'] })
  await hosts.resolve(at('a.test'))
  const host = hosts.find(at('a.test'))
  answers['a.test'] = ['10.0.0.2', '10.0.0.1']
  await clock.advance(61_000)
  hosts.find(at('a.test'))
  await settle()
  assert.equal(hosts.find(at('a.test')), host)
})
test('who was not asked for host_ttl is forgotten', async () => {
  const { hosts, clock, forgotten } = rig({ 'a.test': ['10.0.0.1'] })
  await hosts.resolve(at('a.test'))
  await clock.advance(300_000)
  assert.equal(hosts.find(at('a.test')), undefined)
  assert.deepEqual(forgotten, ['10.0.0.1:80'])
})
test('hosts are bounded: the one asked longest ago goes, and none that is in use', async () => {
  const { hosts, clock, forgotten } = rig({})
  for (const n of [1, 2, 3]) {
    await hosts.resolve(at(`10.0.0.${n}`))
    await clock.advance(10)
  }
  hosts.find(at('10.0.0.1'))
  await hosts.resolve(at('10.0.0.4'))
  assert.deepEqual(forgotten, ['10.0.0.2:80'])
  const busy = [...hosts.all].map((host) => takeLease(host.active))
  await assert.rejects(hosts.resolve(at('10.0.0.5')), { code: 'MESH_UPSTREAM_OVERFLOW' })
  for (const lease of busy) lease[Symbol.dispose]()
  await hosts.resolve(at('10.0.0.5'))
  assert.equal([...hosts.all].length, 3)
})
test('ten thousand names leave max_hosts behind', async () => {
  const { hosts } = rig({}, { maxHosts: 100 })
  for (let i = 0; i < 10_000; i++) await hosts.resolve(at(`10.1.${i >> 8}.${i & 255}`))
  assert.equal([...hosts.all].length, 100)
})

test('what may be asked for', () => {
  for (const [text, want] of [
    ['a.test', at('a.test')],
    ['A.Test:8080', at('a.test', 8080)],
    ['10.0.0.1:81', at('10.0.0.1', 81)],
    ['[::1]:82', at('::1', 82)],
    ['[::1]', at('::1')],
    ['a_b.test.', at('a_b.test.')],
  ] as const)
    assert.deepEqual(readForwardTarget(text, 80), want)
  for (const bad of [
    undefined,
    '',
    ':80',
    'a b',
    'a.test:0',
    'a.test:65536',
    'a.test:x',
    '::1',
    '-a.test',
    'a..test',
    'a/b',
    'a@b',
    `${'a'.repeat(300)}.test`,
    `${'a-'.repeat(126)}`,
  ])
    assert.equal(readForwardTarget(bad, 80), undefined, String(bad))
})

test('requests go to the host that they name', async () => {
  const asked: string[] = []
  await using h = new Harness([cluster([], { discovery: SETTINGS })], {}, async (name) => {
    asked.push(name)
    return name === 'none.test' ? [] : [ORIGIN.host]
  })
  const origin = await h.origin()
  const client = h.connect()
  const get = (host: string): string => `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`
  for (let i = 0; i < 2; i++) {
    await client.send(get(`www.wild.test:${ORIGIN.port}`))
    assert.match(await origin.last.take(), /host: www\.wild\.test:8080/)
    await origin.answer(OK)
    assert.match(await client.take(), /^HTTP\/1\.1 200/)
  }
  assert.deepEqual([asked, origin.connections.length], [['www.wild.test'], 1])
  await client.send(get('none.test'))
  assert.match(await client.take(), /^HTTP\/1\.1 503[^]*MESH_DNS_FAILED/)
  await client.send(get('no host'))
  assert.match(await client.take(), /^HTTP\/1\.1 (400|503)/)
})

test('lookups that nobody waits for any more keep their places: names are not looked up without end', async () => {
  const asked: string[] = []
  const breakers = { ...cluster().breakers, maxPendingRequests: 8 }
  await using h = new Harness([cluster([], { discovery: SETTINGS, breakers })], {}, (name) => {
    asked.push(name)
    return new Promise(() => {})
  })
  for (let i = 0; i < 50; i++) {
    const client = h.connect()
    await client.send(`GET / HTTP/1.1\r\nhost: ${i}.wild.test\r\n\r\n`)
    client.stream.destroy()
    await client.outcome
  }
  const client = { id: 'c', remote: { host: '10.0.0.2', port: 1 }, local: { host: '10.0.0.1', port: 80 } }
  for (let i = 50; i < 100; i++) {
    const gone = new AbortController()
    const connecting = h.upstreams.connect(h.tables.get().cluster('origin')!, {
      signal: gone.signal,
      speaks: 'tcp',
      host: `${i}.wild.test`,
      client,
    })
    gone.abort(new Error('gone'))
    await assert.rejects(connecting)
  }
  assert.equal(asked.length, 8)
  await h.clock.advance(15_000)
  await settle()
  await h.connect().send('GET / HTTP/1.1\r\nhost: late.wild.test\r\n\r\n')
  assert.equal(asked.at(-1), 'late.wild.test', 'the places come back when the lookups are over')
})
