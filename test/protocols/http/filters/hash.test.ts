import { test } from 'node:test'
import assert from 'node:assert/strict'
import { hash32, hashRequest, type HashFacts } from '../../../../protocols/http/filters/hash.ts'
import type { HashSource } from '../../../../model/route.ts'

const facts: HashFacts = {
  header: (name) => ({ 'x-user': 'ann', cookie: 'a=1; sid="42"; b=3' })[name],
  path: '/?tenant=t1',
  remoteIp: '192.0.2.1',
}
const from = (kind: 'header' | 'cookie' | 'query', name: string, terminal = false): HashSource => ({
  kind,
  name,
  terminal,
})

for (const { name, sources, same } of [
  { name: 'header', sources: [from('header', 'x-user')], same: hash32('ann') },
  { name: 'cookie, unquoted', sources: [from('cookie', 'sid')], same: hash32('42') },
  { name: 'query parameter', sources: [from('query', 'tenant')], same: hash32('t1') },
  { name: 'source ip', sources: [{ kind: 'source-ip', terminal: false }], same: hash32('192.0.2.1') },
  {
    name: 'nothing present leaves the choice free',
    sources: [from('header', 'none'), from('cookie', 'none')],
    same: undefined,
  },
  {
    name: 'a terminal source that is present ends the list',
    sources: [from('header', 'x-user', true), from('query', 'tenant')],
    same: hash32('ann'),
  },
  {
    name: 'a terminal source that is absent does not',
    sources: [from('header', 'none', true), from('query', 'tenant')],
    same: hash32('t1'),
  },
] satisfies { name: string; sources: HashSource[]; same: number | undefined }[])
  test(`requestHash: ${name}`, () => assert.equal(hashRequest(sources, facts), same))

test('sources combine in order', () => {
  const [ab, ba] = [
    [from('header', 'x-user'), from('query', 'tenant')],
    [from('query', 'tenant'), from('header', 'x-user')],
  ].map((s) => hashRequest(s, facts))
  assert.notEqual(ab, ba)
  assert.notEqual(ab, hash32('ann'))
})
test('10,000 neighbouring keys fall evenly into 10 parts, in 32 bits', () => {
  const parts = Array.from({ length: 10 }, () => 0)
  for (let i = 0; i < 10_000; i++) {
    const h = hash32(`user-${i}`)
    assert.ok(h >= 0 && h < 2 ** 32)
    parts[Math.floor((h / 2 ** 32) * 10)]!++
  }
  assert.ok(
    parts.every((n) => n > 850 && n < 1150),
    parts.join(' '),
  )
})
