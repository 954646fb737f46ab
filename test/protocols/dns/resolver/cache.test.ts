import { test } from 'node:test'
import assert from 'node:assert/strict'
import { NO_RECORDS, type Answer } from '../../../../protocols/dns/codec/answer.ts'
import { Cache, type Entry } from '../../../../protocols/dns/resolver/cache.ts'
import { parseResolvConf } from '../../../../protocols/dns/resolver/resolv-conf.ts'

const answer = (bytes: number): Answer => ({
  rcode: 0,
  flags: 0,
  records: { ...NO_RECORDS, body: Buffer.alloc(bytes) },
})
const entry = (p: Partial<Entry> = {}, bytes = 10): Entry => ({
  answer: answer(bytes),
  storedMs: 0,
  freshUntilMs: 1_000,
  staleUntilMs: 5_000,
  restUntilMs: 0,
  ...p,
})

test('an entry is there until it is too stale, and then its memory is given back', () => {
  const cache = new Cache({ maxEntries: 10, maxBytes: 100_000 })
  cache.set('a', entry())
  assert.ok(cache.get('a', 0))
  assert.ok(cache.get('a', 4_999))
  assert.equal(cache.get('a', 5_000), undefined)
  assert.deepEqual([cache.size, cache.bytes], [0, 0])
})
test('the longest unused entry makes room', () => {
  const cache = new Cache({ maxEntries: 3, maxBytes: 100_000 })
  for (const key of 'abc') cache.set(key, entry())
  cache.get('a', 0)
  cache.set('d', entry())
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((k) => cache.get(k, 0) !== undefined),
    [true, false, true, true],
  )
})
test('bytes are bounded too, also for one entry that is too large', () => {
  const cache = new Cache({ maxEntries: 1_000, maxBytes: 10_000 })
  for (let i = 0; i < 100; i++) {
    cache.set(String(i), entry({}, 1_000))
    assert.ok(cache.bytes <= 10_000)
  }
  assert.ok(cache.size >= 5)
  cache.set('huge', entry({}, 20_000))
  assert.deepEqual([cache.get('huge', 0), cache.bytes], [undefined, 0])
})
test('a new entry replaces the one before, and its bytes are not counted twice', () => {
  const cache = new Cache({ maxEntries: 3, maxBytes: 100_000 })
  cache.set('a', entry({}, 100))
  const { bytes } = cache
  cache.set('a', entry({ freshUntilMs: 9 }, 100))
  assert.deepEqual([cache.bytes, cache.get('a', 0)?.freshUntilMs], [bytes, 9])
})
test('a cache of no entries keeps none', () => {
  const cache = new Cache({ maxEntries: 0, maxBytes: 100_000 })
  cache.set('a', entry())
  assert.equal(cache.size, 0)
})

for (const { name, text, want } of [
  {
    name: 'as DHCP writes it',
    text: '# by dhcp\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch lan Corp.Example.\n',
    want: { servers: ['10.0.0.1', 'fe80::1%eth0'], search: ['lan', 'corp.example'] },
  },
  {
    name: 'tabs, spaces, comments, options',
    text: ' nameserver\t1.1.1.1  \n;nameserver 2.2.2.2\noptions ndots:5\nsortlist 1.2.3.4\n',
    want: { servers: ['1.1.1.1'], search: [] },
  },
  {
    name: 'the last of search and domain counts',
    text: 'search a b\ndomain c d\n',
    want: { servers: [], search: ['c'] },
  },
  {
    name: 'three servers at most, what is no address is none',
    text: 'nameserver a.example\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n',
    want: { servers: ['1.1.1.1', '2.2.2.2', '3.3.3.3'], search: [] },
  },
  {
    name: 'lines of Windows',
    text: 'nameserver 1.1.1.1\r\nsearch lan\r\n',
    want: { servers: ['1.1.1.1'], search: ['lan'] },
  },
  {
    name: 'what is no domain',
    text: 'search . ..a a..b ok_1.example -\n',
    want: { servers: [], search: ['ok_1.example', '-'] },
  },
  { name: 'nothing', text: '', want: { servers: [], search: [] } },
])
  test(`resolv.conf: ${name}`, () => assert.deepEqual(parseResolvConf(text), want))
