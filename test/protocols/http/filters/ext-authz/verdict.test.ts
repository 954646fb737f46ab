/** What a service may change of a request, and how. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  applyVerdict,
  findBadChange,
  findImpossible,
  toRefusalEdit,
  toResponseEdit,
  type HeaderChange,
  type Verdict,
} from '../../../../../protocols/http/filters/ext-authz/verdict.ts'
import { editHeaders } from '../../../../../protocols/http/filters/header-edit.ts'
import { facts } from '../../../../helpers/substitution-facts.ts'
import type { RequestFacts } from '../../../../../protocols/router.ts'

const ok = (over: Partial<Extract<Verdict, { kind: 'ok' }>>): Extract<Verdict, { kind: 'ok' }> => ({
  kind: 'ok',
  request: [],
  remove: [],
  response: [],
  query: [],
  metadata: undefined,
  ...over,
})
const request = (path = '/'): RequestFacts => ({
  method: 'GET',
  path,
  authority: 'a',
  scheme: 'http',
  header: () => undefined,
})

for (const [how, before, after] of [
  ['set', ['x', '1', 'x', '2'], ['x', 'new']],
  ['set', [], ['x', 'new']],
  ['append', ['x', '1'], ['x', '1,new']],
  ['append', [], []],
  ['add', ['x', '1'], ['x', '1', 'x', 'new']],
  ['if-absent', ['x', '1'], ['x', '1']],
  ['if-absent', [], ['x', 'new']],
  ['overwrite-present', [], []],
  ['overwrite-present', ['x', '1'], ['x', 'new']],
] as const)
  test(`a header of the service: ${how} where there is [${before.join()}]`, () => {
    const headers = [...before]
    const isChanged = applyVerdict(ok({ request: [{ name: 'x', value: 'new', how }] }), request(), headers)
    assert.deepEqual(headers, after)
    assert.equal(isChanged, before.join() !== after.join())
  })

for (const [name, value] of [
  ['host', 'evil'],
  ['content-length', '0'],
  ['transfer-encoding', 'chunked'],
  ['connection', 'x'],
  [':path', '/admin'],
  ['x-envoy-peer-metadata', 'x'],
  ['', 'x'],
  ['x y', 'x'],
  ['x', 'a\r\nb: c'],
] as const)
  test(`out of a service's reach: ${name || '(no name)'}`, () => {
    const change: HeaderChange = { name, value, how: 'set' }
    const headers: string[] = []
    assert.equal(applyVerdict(ok({ request: [change], remove: [name] }), request(), headers), false)
    assert.deepEqual(headers, [])
    assert.deepEqual(toRefusalEdit([change]), { remove: [], add: [] })
    assert.equal(toResponseEdit([change]), undefined)
    assert.equal(findBadChange(ok({ response: [change] })), name)
  })

for (const { name, value, want } of [
  { name: 'x', value: 'a', want: undefined },
  { name: 'x', value: 'a\r\nb: c', want: 'x' },
  { name: 'x', value: 'a\0', want: 'x' },
  { name: 'x y', value: 'a', want: 'x y' },
  { name: ':method', value: 'PUT', want: ':method' },
  { name: ':scheme', value: 'https', want: ':scheme' },
  { name: ':path', value: '/other', want: undefined },
  { name: ':authority', value: 'other', want: undefined },
  { name: 'host', value: 'other', want: undefined },
  // Ours, and it stays as it is.
  { name: 'content-length', value: '7', want: undefined },
])
  test(`part of what the service agrees to, and possible or not: ${JSON.stringify([name, value])}`, () => {
    assert.equal(findImpossible(ok({ request: [{ name, value, how: 'set' }] })), want)
  })

test('what the service sets or removes nobody else says under a name that reads as it, nor in trailers', () => {
  const asked = request()
  const headers = ['x_user', 'root', 'x.user', 'root', 'x-user', 'root', 'x_gone', '1', 'x-users', '1', 'x-more', 'a']
  const changes: HeaderChange[] = [
    { name: 'x-user', value: 'ann', how: 'set' },
    { name: 'x-more', value: 'b', how: 'add' },
  ]
  assert.equal(applyVerdict(ok({ request: changes, remove: ['x-gone'] }), asked, headers), true)
  assert.deepEqual(headers, ['x-users', '1', 'x-more', 'a', 'x-user', 'ann', 'x-more', 'b'])
  assert.deepEqual([...asked.written!], ['x-user', 'x-gone'])
})
test('parameters of the query', () => {
  const asked = request('/p?a=1&b=2')
  const query = [
    ['a', undefined],
    ['b', 'x&y'],
    ['c', ''],
  ] as const
  assert.equal(applyVerdict(ok({ query }), asked, []), true)
  assert.equal(asked.path, '/p?b=x&y&c=')
})
test('a parameter stands as the service writes it, but for what no request line may hold', () => {
  const asked = request('/p?a%20b=1&a=1&a=2')
  const query = [
    ['a b', 'x y'],
    ['a', '%20'],
    ['#', '\ud800ü'],
  ] as const
  applyVerdict(ok({ query }), asked, [])
  assert.equal(asked.path, '/p?a%20b=x%20y&a=%20&%23=%EF%BF%BD%C3%BC')
})
test('what a value says is text, and stands for nothing', () => {
  assert.deepEqual(toResponseEdit([{ name: 'x', value: '%REQ(x)%', how: 'set' }])?.add, [
    { name: 'x', value: '%%REQ(x)%%', how: 'overwrite', keepEmpty: true },
  ])
})

test('fields of a refusal come in place of what the route says of those names, each a line of its own', () => {
  const edit = toRefusalEdit([
    { name: 'x-a', value: '100%', how: 'set' },
    { name: 'x-a', value: '2', how: 'append' },
  ])
  const headers = ['x-a', 'of the route', 'x-b', 'of the route']
  editHeaders(headers, [edit], facts)
  assert.deepEqual(headers, ['x-b', 'of the route', 'x-a', '100%', 'x-a', '2'])
})
