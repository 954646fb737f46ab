import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  findHeaderOrPseudo,
  isGrpc,
  matchRoute,
  pickCluster,
  queryValue,
  withoutQuery,
  type RequestFacts,
} from '../../protocols/router.ts'
import { RouteTable } from '../../model/tables.ts'
import { compileRegex, type SafeRegex } from '../../core/regex.ts'
import { NO_HEADER_CHANGES, type PathMatch, type Route, type RouteMatch } from '../../model/route.ts'
import type { HeaderMatch, StringMatch } from '../../model/matcher.ts'
import { seededRandom } from '../helpers/random.ts'

const regex = (source: string): SafeRegex => compileRegex(source) as SafeRegex
const exact = (value: string): StringMatch => ({ kind: 'exact', value, ignoreCase: false })
const route = (name: string, path: PathMatch, over: Partial<RouteMatch> = {}): Route => ({
  name,
  match: { path, caseSensitive: true, headers: [], query: [], grpc: false, fraction: undefined, ...over },
  action: { kind: 'direct', status: 200, body: '' },
  headers: NO_HEADER_CHANGES,
})
const table = (...routes: Route[]): RouteTable =>
  new RouteTable({
    name: 't',
    ignorePortInHost: true,
    headers: NO_HEADER_CHANGES,
    virtualHosts: [
      {
        name: 'v',
        domains: ['a.example'],
        routes,
        retry: undefined,
        headers: NO_HEADER_CHANGES,
        includeAttemptCount: false,
      },
    ],
  })
const request = (
  path: string,
  { headers, ...over }: Partial<Omit<RequestFacts, 'header' | 'headers'>> & { headers?: Record<string, string> } = {},
): RequestFacts => ({
  method: 'GET',
  authority: 'a.example',
  scheme: 'http',
  ...over,
  path,
  header: (name) => headers?.[name],
})
const routed = (t: RouteTable, r: RequestFacts, random = seededRandom(1)): string | undefined =>
  matchRoute(t, r, random)?.route.name
const prefix = (value: string): PathMatch => ({ kind: 'prefix', value })

for (const { name, path, over, target, want } of [
  { name: 'prefix / takes any path', path: prefix('/'), target: '/x?y', want: true },
  { name: 'prefix / does not take the asterisk form', path: prefix('/'), target: '*', want: false },
  { name: 'prefix / does not take CONNECT without a path', path: prefix('/'), target: '', want: false },
  { name: 'prefix ends anywhere', path: prefix('/ap'), target: '/api', want: true },
  { name: 'prefix does not look into the query', path: prefix('/a?'), target: '/a?b', want: false },
  { name: 'exact without query', path: { kind: 'exact', value: '/a' }, target: '/a?b=c', want: true },
  { name: 'exact is not a prefix', path: { kind: 'exact', value: '/a' }, target: '/a/b', want: false },
  { name: 'case counts', path: prefix('/Api'), target: '/api', want: false },
  { name: 'case may be ignored', path: prefix('/Api'), over: { caseSensitive: false }, target: '/aPI/x', want: true },
  {
    name: 'separated prefix: the prefix itself',
    path: { kind: 'separated-prefix', value: '/api' },
    target: '/api?x',
    want: true,
  },
  { name: 'separated prefix: below', path: { kind: 'separated-prefix', value: '/api' }, target: '/api/x', want: true },
  {
    name: 'separated prefix: not /apis',
    path: { kind: 'separated-prefix', value: '/api' },
    target: '/apis',
    want: false,
  },
  {
    name: 'regex must match the whole path',
    path: { kind: 'regex', regex: regex('/v[0-9]') },
    target: '/v1/x',
    want: false,
  },
  { name: 'regex without the query', path: { kind: 'regex', regex: regex('/v[0-9]') }, target: '/v1?x', want: true },
] satisfies { name: string; path: PathMatch; over?: Partial<RouteMatch>; target: string; want: boolean }[]) {
  test(`path: ${name}`, () => assert.equal(routed(table(route('r', path, over)), request(target)) === 'r', want))
}

test('connect matches CONNECT only', () => {
  const t = table(route('c', { kind: 'connect' }), route('rest', prefix('/')))
  assert.equal(routed(t, request('', { method: 'CONNECT' })), 'c')
  assert.equal(routed(t, request('/')), 'rest')
})
test('the first matching route wins', () =>
  assert.equal(
    routed(table(route('a', prefix('/a')), route('b', prefix('/')), route('c', prefix('/'))), request('/b')),
    'b',
  ))
test('another host has no route', () =>
  assert.equal(
    matchRoute(table(route('a', prefix('/'))), request('/', { authority: 'b.example' }), seededRandom(1)),
    undefined,
  ))

const onHeader = (name: string, value: string): HeaderMatch => ({
  name,
  test: { kind: 'string', match: exact(value) },
  invert: false,
  missingAsEmpty: false,
})
for (const [name, value] of [
  [':method', 'POST'],
  [':authority', 'a.example:80'],
  [':scheme', 'https'],
  [':path', '/x?q=1'],
  ['x-canary', 'yes'],
  ['host', 'a.example:80'],
] as const) {
  test(`headers: ${name} is matched`, () => {
    const t = table(route('r', prefix('/'), { headers: [onHeader(name, value)] }))
    assert.equal(
      routed(
        t,
        request('/x?q=1', {
          method: 'POST',
          authority: 'a.example:80',
          scheme: 'https',
          headers: { 'x-canary': 'yes' },
        }),
      ),
      'r',
    )
    assert.equal(routed(t, request('/other', { headers: {} })), undefined)
  })
}
test('query parameters: one that is there, and one that is not', () => {
  const t = table(
    route('with', prefix('/'), { query: [{ name: 'v', test: { kind: 'present' } }] }),
    route('without', prefix('/'), { query: [{ name: 'w', test: { kind: 'absent' } }] }),
  )
  const named = (path: string): string | undefined => routed(t, request(path))
  assert.deepEqual(
    [named('/?v'), named('/?v=1&w'), named('/?x'), named('/?w=')],
    ['with', 'with', 'without', undefined],
  )
})
test('query parameters: the raw first value is compared', () => {
  const t = table(route('r', prefix('/'), { query: [{ name: 'v', test: { kind: 'string', match: exact('2') } }] }))
  assert.equal(routed(t, request('/?a=1&v=2&v=3')), 'r')
  assert.equal(routed(t, request('/?v=3&v=2')), undefined)
  assert.equal(routed(t, request('/')), undefined)
  assert.deepEqual(
    [queryValue('/?a&b=', 'a'), queryValue('/?a&b=', 'b'), queryValue('/?ab=1', 'a')],
    ['', '', undefined],
  )
})
for (const [type, want] of [
  ['application/grpc', true],
  ['application/grpc+proto', true],
  ['application/grpc;x=y', true],
  ['application/grpc-web', false],
  [undefined, false],
] as const) {
  test(`grpc: content-type ${type} is ${want ? '' : 'not '}gRPC`, () => {
    assert.equal(isGrpc(type), want)
    assert.equal(
      routed(
        table(route('g', prefix('/'), { grpc: true })),
        request('/', { headers: type ? { 'content-type': type } : {} }),
      ),
      want ? 'g' : undefined,
    )
  })
}
test('fractions of consecutive routes use one draw: 30 % then everything', () => {
  const t = table(
    route('a', prefix('/'), { fraction: 0.3 }),
    route('b', prefix('/'), { fraction: 0.6 }),
    route('c', prefix('/')),
  )
  const random = seededRandom(7)
  const count = { a: 0, b: 0, c: 0 } as Record<string, number>
  for (let i = 0; i < 10_000; i++) count[routed(t, request('/'), random)!]!++
  assert.ok(
    Math.abs(count['a']! - 3000) < 200 && Math.abs(count['b']! - 3000) < 200 && Math.abs(count['c']! - 4000) < 200,
    JSON.stringify(count),
  )
})

const weighted = (...weights: number[]) => ({
  clusters: weights.map((weight, i) => ({ name: `c${i}`, weight, headers: NO_HEADER_CHANGES })),
})
test('pickCluster: weights are shares, zero is never picked', () => {
  const random = seededRandom(3)
  const count: Record<string, number> = { c0: 0, c1: 0, c2: 0 }
  for (let i = 0; i < 10_000; i++) count[pickCluster(weighted(90, 0, 10), random)!.name]!++
  assert.equal(count['c1'], 0)
  assert.ok(Math.abs(count['c0']! - 9000) < 200, JSON.stringify(count))
})
test('pickCluster: the end of the range belongs to the last one with a weight', () =>
  assert.equal(pickCluster(weighted(1, 1, 0), { float: () => 1 - 2 ** -53 })?.name, 'c1'))
test('pickCluster: one cluster needs no draw, none gives undefined', () => {
  assert.equal(
    pickCluster(weighted(0), {
      float: () => {
        throw new Error('drawn')
      },
    })?.name,
    'c0',
  )
  assert.equal(pickCluster(weighted(), seededRandom(1)), undefined)
})
test('withoutQuery cuts at the first of ? and #', () =>
  assert.deepEqual(['/a?b#c', '/a#b?c', '/a'].map(withoutQuery), ['/a', '/a', '/a']))
test('headerOrPseudo: a CONNECT without a path has no :path', () =>
  assert.equal(findHeaderOrPseudo(request(''), ':path'), undefined))
