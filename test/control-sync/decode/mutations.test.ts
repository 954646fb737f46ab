import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { codec, good, http, issues, rbac, T } from './listener/listener-rig.ts'

const mutation = (mutations: JsonObject, more: JsonObject = {}): JsonObject => ({
  name: 'm',
  typed_config: { '@type': `${T}.filters.http.header_mutation.v3.HeaderMutation`, mutations, ...more },
})
const append = (key: string, value = '1'): JsonObject => ({ append: { header: { key, value } } })
const filtersOf = (...filters: JsonObject[]): HttpConnectionManager['filters'] => {
  const made = codec(good({}, { filters: [http({ http_filters: filters })] }).value)
  return made.kind === 'http' ? made.http.filters : []
}

test('request_mutations and response_mutations in their order, most_specific_header_mutations_wins', () => {
  const made = filtersOf(
    mutation(
      {
        request_mutations: [{ remove: 'X-A' }, append('X-B')],
        response_mutations: [{ remove_on_match: { key_matcher: { prefix: 'x-' } } }],
      },
      { most_specific_header_mutations_wins: true },
    ),
  )
  assert.deepEqual(made, [
    {
      kind: 'mutation',
      name: 'm',
      mutations: {
        request: [
          { remove: ['x-a'], add: [] },
          { remove: [], add: [{ name: 'x-b', value: '1', how: 'append' }] },
        ],
        response: [{ remove: [], add: [], removeMatching: { kind: 'prefix', value: 'x-', ignoreCase: false } }],
      },
      nearestWins: true,
    },
  ])
})
for (const [what, bad] of [
  ['a pseudo header', append(':path')],
  ['a value with a line break', append('x', 'a\r\nb')],
  ['no action', {}],
] as const)
  test(`${what} blocks the filter`, () =>
    assert.match(
      issues({}, { filters: [http({ http_filters: [mutation({ request_mutations: [bad] })] })] })[0]!,
      /request_mutations\[0\]/,
    ))
test('before a filter that asks about the request the change is made early; what is not known then blocks it', () => {
  const early = (...filters: JsonObject[]): unknown[] =>
    filtersOf(...filters).map((f) => (f.kind === 'mutation' && f.isEarly === true ? 'early' : f.kind))
  const own = mutation({ request_mutations: [append('x')] })
  const saying = (value: string): JsonObject =>
    mutation({ request_mutations: [{ append: { header: { key: 'x', value } } }] })
  assert.deepEqual(early(own, own, rbac({})), ['early', 'early', 'rbac'])
  assert.deepEqual(early(rbac({}), own), ['rbac', 'mutation'])
  assert.deepEqual(early(saying('%REQ(a)% 100%% START_TIME'), rbac({})), ['early', 'rbac'])
  for (const value of ['%START_TIME%', '-%START_TIME(%s)%', '%UPSTREAM_CLUSTER:3%'])
    assert.deepEqual(early(saying(value), rbac({})), ['blocked', 'rbac'], value)
})
