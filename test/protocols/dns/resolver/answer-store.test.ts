import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createSealer, type Sealer } from '../../../../core/pki/sealing.ts'
import type { DnsSettings } from '../../../../protocols/dns/settings.ts'
import { a, query, soa, type Script } from '../../../helpers/dns.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { DnsSite } from '../site.ts'

const FILE = '/state/dns-answers'
const HOUR = 3_600_000
const sealer = (byte: number): Sealer => createSealer(Buffer.alloc(32, byte), 'the key')
type Run = { readonly before?: DnsSite; readonly key?: Sealer; readonly settings?: Partial<DnsSettings> }
const run = (t: TestContext, o: Run = {}): Promise<DnsSite> =>
  DnsSite.start(t, o.settings, { store: { file: FILE, sealer: () => o.key }, ...(o.before && { before: o.before }) })
const answers: Script = (name, { type }) =>
  type === 'A' ? { answers: [a(name, '9.9.9.9', 300)] } : { rcode: 3, answers: [], authorities: [soa('com', 60)] }

/** A run that has answered these names, and has ended. */
async function ended(t: TestContext, names: readonly string[], o: Run = {}): Promise<DnsSite> {
  const site = await run(t, o)
  await using _up = await site.upstream(answers)
  for (const name of names) assert.match(await site.ask(query(name)), /9\.9\.9\.9/)
  await site.proxy[Symbol.asyncDispose]()
  return site
}
/** The answer once all resolvers have been waited for. */
const late = (site: DnsSite, name: string, type = 'A'): Promise<string> => site.ask(query(name, type), 20_000)

test('a start without an uplink has the answers of the run before, stale, and a resolver that answers goes before them', async (t) => {
  const first = await run(t)
  const up = await first.upstream(answers)
  for (const type of ['A', 'AAAA']) await first.ask(query('www.example.com', type))
  await up[Symbol.asyncDispose]()
  assert.deepEqual(first.written, [])
  await first.proxy[Symbol.asyncDispose]()
  assert.deepEqual([first.written, first.clock.pendingTimers], [[`${FILE} 600`], 0])

  const second = await run(t, { before: first })
  assert.equal(
    await late(second, 'www.example.com'),
    'NOERROR, www.example.com 30 A 9.9.9.9',
    'still in its time, as far as the clock can be believed',
  )
  assert.equal(await late(second, 'www.example.com', 'AAAA'), 'NXDOMAIN')
  assert.equal(await late(second, 'www.example.org'), 'SERVFAIL')
  assert.deepEqual([second.count({ source: 'stale' }), second.events('dns.answers-read')], [2, 1])
  await second.clock.advance(60_000)
  await using _up = await second.upstream((name) => ({ answers: [a(name, '8.8.8.8', 300)] }))
  assert.equal(await second.ask(query('www.example.com')), 'NOERROR, www.example.com 300 A 8.8.8.8')
})

test('nothing is read before a name is asked for upstream, and nothing is written that did not change', async (t) => {
  const first = await ended(t, ['www.example.com'])
  const second = await run(t, { before: first })
  assert.match(await second.ask(query('api.shop.svc.cluster.local')), /240\.240\.0\.1/)
  assert.equal(second.events('dns.answers-read'), 0)
  await late(second, 'www.example.com')
  await second.proxy[Symbol.asyncDispose]()
  assert.deepEqual([second.events('dns.answers-read'), second.written], [1, []])
})

test('while it runs answers are written at most so often, and not when there was no new one', async (t) => {
  const site = await run(t)
  await using _up = await site.upstream(answers)
  for (let i = 0; i < 5; i++) {
    await site.ask(query(`n${i}.example.com`))
    await site.clock.advance(HOUR / 10)
  }
  assert.equal(site.written.length, 0)
  await site.clock.advance(HOUR / 2)
  assert.equal(site.written.length, 1)
  await site.clock.advance(10 * HOUR)
  assert.equal(site.written.length, 1)
  await site.ask(query('n0.example.com'))
  await site.clock.advance(HOUR)
  assert.deepEqual([site.written.length, site.metrics.total('mesh_dns_stores_total', { result: 'saved' })], [2, 2])
})

for (const { name, settings } of [
  { name: 'storeEveryMs 0', settings: { storeEveryMs: 0 } },
  { name: 'nothing may be stale', settings: { maxStaleSec: 0 } },
])
  test(`nothing is kept on disk: ${name}`, async (t) => {
    const site = await ended(t, ['www.example.com'], { settings })
    assert.deepEqual(site.written, [])
  })

test('the time that a node was off counts, and a clock that stands before the time of writing is not believed', async (t) => {
  const first = await run(t)
  const up = await first.upstream(answers)
  await first.ask(query('www.example.com')) // 300 s, and stale for a day
  await up[Symbol.asyncDispose]()
  await first.clock.advance(3_500_000)
  await first.proxy[Symbol.asyncDispose]()
  await first.clock.advance(86_400_000 - 3_560_000)
  const second = await run(t, { before: first })
  assert.match(await late(second, 'www.example.com'), /30 A 9\.9\.9\.9/)
  await second.clock.advance(600_000)
  const third = await run(t, { before: first })
  assert.equal(await late(third, 'www.example.com'), 'SERVFAIL')
  third.clock.setWallMs(0)
  const fourth = await run(t, { before: first })
  assert.match(await late(fourth, 'www.example.com'), /30 A 9\.9\.9\.9/)
  await fourth.clock.advance(86_400_000 - 3_000_000)
  assert.equal(await late(fourth, 'www.example.com'), 'SERVFAIL', 'nor does it give more than was left')
  const shorter = await run(t, { before: first, settings: { maxStaleSec: 60 } })
  assert.match(await late(shorter, 'www.example.com'), /30 A 9\.9\.9\.9/)
  await shorter.clock.advance(60_000)
  assert.equal(await late(shorter, 'www.example.com'), 'SERVFAIL', 'maxStaleSec of now')
})

test('a damaged file is set aside and said so; the proxy goes on without', async (t) => {
  const first = await ended(t, ['www.example.com'])
  const bytes = Buffer.from(first.files.get(FILE) as Uint8Array)
  bytes[bytes.length - 1]! ^= 1
  first.files.set(FILE, bytes)
  const second = await run(t, { before: first })
  assert.equal(await late(second, 'www.example.com'), 'SERVFAIL')
  assert.deepEqual(
    [[...second.files.keys()], second.events('dns.answers-damaged')],
    [[`${FILE}.damaged-${1_700_000_000_000}`], 1],
  )
  assert.match(
    second.proxy
      .status()
      .problems.map((p) => `${p.code} ${p.message}`)
      .join(),
    /MESH_STORAGE_DAMAGED the stored DNS answers were damaged; their file is now \/state\/dns-answers\.damaged-/,
  )
})

test('a file of another version is left alone until there is something to write', async (t) => {
  const first = await ended(t, ['www.example.com'])
  const bytes = Buffer.from(first.files.get(FILE) as Uint8Array)
  bytes[11] = 2
  first.files.set(FILE, bytes)
  const second = await run(t, { before: first })
  assert.equal(await late(second, 'www.example.com'), 'SERVFAIL')
  assert.deepEqual(
    [[...second.files.keys()], second.lines.find((l) => l['evt'] === 'dns.answers-not-read')?.['code']],
    [[FILE], 'MESH_STORAGE_NEWER'],
  )
})

test('with a key the file is sealed; a plain one is sealed next, one of another key is not used', async (t) => {
  const plain = await ended(t, ['www.example.com'])
  assert.ok(Buffer.from(plain.files.get(FILE) as Uint8Array).includes('example'))
  const sealed = await run(t, { before: plain, key: sealer(1) })
  assert.match(await late(sealed, 'www.example.com'), /9\.9\.9\.9/)
  await sealed.proxy[Symbol.asyncDispose]()
  assert.equal(Buffer.from(sealed.files.get(FILE) as Uint8Array).includes('example'), false)
  const other = await run(t, { before: plain, key: sealer(2) })
  assert.equal(await late(other, 'www.example.com'), 'SERVFAIL')
  const without = await run(t, { before: plain })
  assert.equal(await late(without, 'www.example.com'), 'SERVFAIL')
  const same = await run(t, { before: plain, key: sealer(1) })
  assert.match(await late(same, 'www.example.com'), /9\.9\.9\.9/)
  assert.deepEqual(
    [other, without].map((s) => s.lines.find((l) => l['evt'] === 'dns.answers-not-read')?.['code']),
    ['MESH_STATE_LOCKED', 'MESH_STATE_LOCKED'],
  )
})

test('a key that cannot be had writes nothing in plain text', async (t) => {
  const site = await DnsSite.start(
    t,
    {},
    {
      store: {
        file: FILE,
        sealer: () => {
          throw new Error('no key')
        },
      },
    },
  )
  await using _up = await site.upstream(answers)
  await site.ask(query('www.example.com'))
  await site.proxy[Symbol.asyncDispose]()
  assert.deepEqual([site.written, site.events('dns.answers-not-stored')], [[], 1])
})

test('a full disk is a problem until there is room, and the answers are kept for then', async (t) => {
  const site = await run(t)
  await using _up = await site.upstream(answers)
  site.diskError = Object.assign(new Error('full'), { code: 'ENOSPC' })
  await site.ask(query('www.example.com'))
  await site.clock.advance(HOUR)
  assert.deepEqual(
    [
      site.proxy.status().problems.map((p) => p.code),
      site.metrics.total('mesh_dns_stores_total', { result: 'failed' }),
    ],
    [['MESH_STORAGE_FULL'], 1],
  )
  site.diskError = undefined
  await site.proxy[Symbol.asyncDispose]()
  assert.deepEqual([site.proxy.status().problems, site.written.length], [[], 1])
})

test('the end: the store waits for what is under way', async (t) => {
  const site = await run(t)
  await site.upstream(() => undefined)
  await site.send(query('www.example.com'))
  await settle()
  await site.proxy[Symbol.asyncDispose]()
  assert.deepEqual([site.clock.pendingTimers, site.written], [0, []])
})
