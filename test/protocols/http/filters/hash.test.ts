/** Where Envoy places the same requests: test/conformance/envoy/placement.test.ts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { compileRegex, type SafeRegex } from '../../../../core/regex.ts'
import { hash64 } from '../../../../protocols/xx-hash.ts'
import { formatCookie, findPlacement, type HashFacts } from '../../../../protocols/http/filters/hash.ts'
import type { HashSource } from '../../../../model/route.ts'
import { Both } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

const FIELDS: Readonly<Record<string, string | string[]>> = {
  'x-user': 'ann',
  'x-many': ['b', 'a'],
  cookie: 'a=1; sid="42"; b=3',
}
const facts: HashFacts = {
  header: (name) => FIELDS[name]?.toString(),
  values: (name) => FIELDS[name],
  path: '/?tenant=t1',
  remoteIp: '192.0.2.1',
  connection: '192.0.2.1:1 192.0.2.2:2',
}
const from = (kind: 'header' | 'cookie' | 'query', name: string, terminal = false): HashSource => ({
  kind,
  name,
  terminal,
})
const rewrite = { regex: compileRegex('^a(.)n$') as SafeRegex, by: '\\1' }

for (const { name, sources, same } of [
  { name: 'header', sources: [from('header', 'x-user')], same: hash64('ann') },
  {
    name: 'header of several lines, in whatever order',
    sources: [from('header', 'x-many')],
    same: hash64('b', hash64('a')),
  },
  {
    name: 'header with regex_rewrite',
    sources: [{ kind: 'header', name: 'x-user', rewrite, terminal: false }],
    same: hash64('n'),
  },
  { name: 'cookie, unquoted', sources: [from('cookie', 'sid')], same: hash64('42') },
  { name: 'query parameter', sources: [from('query', 'tenant')], same: hash64('t1') },
  { name: 'source ip', sources: [{ kind: 'source-ip', terminal: false }], same: hash64('192.0.2.1') },
  {
    name: 'nothing present leaves the choice free',
    sources: [from('header', 'none'), from('cookie', 'none')],
    same: undefined,
  },
  {
    name: 'a terminal source that is present ends the list',
    sources: [from('header', 'x-user', true), from('query', 'tenant')],
    same: hash64('ann'),
  },
  {
    name: 'a terminal source that is absent does not',
    sources: [from('header', 'none', true), from('query', 'tenant')],
    same: hash64('t1'),
  },
  {
    name: 'unless there is a number already',
    sources: [from('header', 'x-user'), from('header', 'none', true), from('query', 'tenant')],
    same: hash64('ann'),
  },
] satisfies { name: string; sources: HashSource[]; same: bigint | undefined }[])
  test(`placement: ${name}`, () => assert.deepEqual(findPlacement(sources, facts), { hash: same, cookie: undefined }))

test('sources combine in order', () => {
  const [ab, ba] = [
    [from('header', 'x-user'), from('query', 'tenant')],
    [from('query', 'tenant'), from('header', 'x-user')],
  ].map((s) => findPlacement(s, facts).hash)
  assert.notEqual(ab, ba)
  const rotated = BigInt.asUintN(64, hash64('ann') << 1n) | (hash64('ann') >> 63n)
  assert.equal(ab, rotated ^ hash64('t1'))
})

const COOKIE: HashSource = { kind: 'cookie', name: 'stick', ttlSec: 60, path: '/p', terminal: false }
test('a cookie with ttl that the client does not have is made, places the request, and is the same for its connection', () => {
  const { hash, cookie } = findPlacement([COOKIE], facts)
  const value = /^stick="([0-9a-f]{16})"; Max-Age=60; Path=\/p; HttpOnly$/.exec(cookie ?? '')?.[1]
  assert.equal(hash, hash64(value!))
  assert.deepEqual(findPlacement([COOKIE], facts), { hash, cookie })
  assert.notEqual(findPlacement([COOKIE], { ...facts, connection: 'another' }).hash, hash)
})
test('one that the client has is not', () =>
  assert.deepEqual(findPlacement([{ ...COOKIE, name: 'sid' }], facts), { hash: hash64('42'), cookie: undefined }))
test('a ttl of 0 is a session of the browser', () =>
  assert.equal(formatCookie('a', 'b', { ttlSec: 0 }), 'a="b"; HttpOnly'))

for (const codec of ['http1', 'http2'] as const)
  test(`${codec}: the endpoint's answer brings the cookie`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo({ hash: [COOKIE] }))]), {
      cluster: { balancer: { kind: 'maglev', tableSize: 7 } },
    })
    const told = await both.ask(codec)
    assert.match(String(told.headers['set-cookie']), /^stick="[0-9a-f]{16}"; Max-Age=60; Path=\/p; HttpOnly$/)
    const cookie = /^stick="[0-9a-f]+"/.exec(String(told.headers['set-cookie']))![0]
    assert.equal((await both.ask(codec, { fields: [['cookie', cookie]] })).headers['set-cookie'], undefined)
  })
