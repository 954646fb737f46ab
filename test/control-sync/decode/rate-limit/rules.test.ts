/** rate_limits of routes, hosts and filters. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'

function decoded(rule: JsonObject): {
  readonly rules: unknown
  readonly ignored: readonly string[]
  readonly blocked: unknown
} {
  const table = decode(
    'route',
    sample({
      '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/' },
              route: { cluster: 'c', rate_limits: [rule] },
              metadata: { filter_metadata: { f: { a: 'of the route' } } },
            },
          ],
        },
      ],
    }).bytes,
  )
  assert.ok(table.ok)
  const action = table.value.virtualHosts[0]?.routes[0]?.action
  return {
    rules: action?.kind === 'forward' ? action.rateLimits?.rules : action?.kind,
    ignored: table.ignored,
    blocked: table.blocked.map(({ path, problem }) => `${path}: ${problem}`),
  }
}

const KEY = { key: 'f', path: [{ key: 'a' }] }
const PATH = { filter: 'f', path: ['a'] }

for (const [action, made] of [
  [{ remote_address: {} }, { kind: 'remote-address' }],
  [{ masked_remote_address: {} }, { kind: 'masked-remote-address', v4Bits: 32, v6Bits: 128 }],
  [{ destination_cluster: {} }, { kind: 'destination-cluster' }],
  [{ source_cluster: {} }, { kind: 'source-cluster' }],
  [
    { metadata: { descriptor_key: 'k', metadata_key: KEY, skip_if_absent: true } },
    { kind: 'metadata', key: 'k', from: PATH, byDefault: '', mayLack: true },
  ],
  [
    { metadata: { descriptor_key: 'k', metadata_key: KEY, default_value: 'd', source: 'ROUTE_ENTRY' } },
    { kind: 'constant', key: 'k', value: 'of the route' },
  ],
  [{ generic_key: { descriptor_value: 'v' } }, { kind: 'constant', key: 'generic_key', value: 'v' }],
  [
    { request_headers: { header_name: 'X-User', descriptor_key: 'k', skip_if_absent: true } },
    { kind: 'header', name: 'x-user', key: 'k', mayLack: true },
  ],
  [
    { query_parameters: { query_parameter_name: 'Q', descriptor_key: 'k' } },
    { kind: 'query', name: 'Q', key: 'k', mayLack: false },
  ],
] as const)
  test(`an action: ${JSON.stringify(action)}`, () =>
    assert.deepEqual(decoded({ actions: [action] }), {
      rules: [{ stage: 0, actions: [made] }],
      ignored: [],
      blocked: [],
    }))

test('what cannot be asked for is told, and stays in the rule, so that who limits by it refuses', () => {
  const { rules, ignored, blocked } = decoded({
    actions: [
      { metadata: { descriptor_key: 'k', metadata_key: KEY, source: 'CLUSTER_LOCALITY_ENTRY' } },
      { generic_key: { descriptor_value: '%REQ(x)%' } },
    ],
  })
  assert.deepEqual(rules, [
    {
      stage: 0,
      actions: [
        { kind: 'unsupported', what: 'metadata of CLUSTER_LOCALITY_ENTRY' },
        { kind: 'unsupported', what: 'a formatted descriptor_value' },
      ],
    },
  ])
  assert.equal(ignored.length, 2)
  assert.deepEqual(blocked, [])
})

test('a rule with a disable key is known by it: who counts by it depends', () =>
  assert.deepEqual(decoded({ disable_key: 'k', actions: [{ remote_address: {} }] }).rules, [
    { stage: 0, actions: [{ kind: 'remote-address' }], hasRuntimeKey: true },
  ]))

for (const [rule, problem] of [
  [{ actions: [] }, /actions: is empty/],
  [{ stage: 11, actions: [{ remote_address: {} }] }, /stage: must be at most 10/],
  [{ actions: [{ masked_remote_address: { v4_prefix_mask_len: 33 } }] }, /v4_prefix_mask_len: must be at most 32/],
  [{ actions: [{}] }, /actions\[0\]: has no action/],
  [{ actions: [{ metadata: { descriptor_key: 'k' } }] }, /metadata_key: needs a key, and a path of keys/],
  [{ actions: [{ metadata: { metadata_key: KEY } }] }, /descriptor_key: is missing/],
  [
    { actions: [{ remote_address: {} }], limit: { dynamic_metadata: { metadata_key: { key: 'f' } } } },
    /metadata_key: needs a key/,
  ],
] as readonly (readonly [JsonObject, RegExp])[])
  test(`refused: ${JSON.stringify(rule)}`, () => {
    const { rules, blocked } = decoded(rule)
    assert.equal(rules, 'blocked')
    assert.match(String(blocked), problem)
  })

const ADDRESS = { actions: [{ remote_address: {} }] }
const MADE = { stage: 0, actions: [{ kind: 'remote-address' }] }
for (const [rule, made] of [
  [{ x_ratelimit_option: 'OFF' }, { tellsRest: false }],
  [{ x_ratelimit_option: 'DRAFT_VERSION_03' }, { tellsRest: true }],
  [{ limit: { dynamic_metadata: { metadata_key: KEY } } }, { limit: PATH }],
] as const)
  test(`a rule with ${JSON.stringify(rule)}`, () =>
    assert.deepEqual(decoded({ ...ADDRESS, ...rule }), { rules: [{ ...MADE, ...made }], ignored: [], blocked: [] }))

for (const [rule, what] of [
  [{ apply_on_stream_done: true }, 'apply_on_stream_done'],
  [{ limit: {} }, 'limit of another kind'],
  [
    { actions: [{ metadata: { descriptor_key: 'k', metadata_key: KEY, source: 'CLUSTER_ENTRY' } }] },
    'metadata of CLUSTER_ENTRY',
  ],
] as readonly (readonly [JsonObject, string])[])
  test(`who limits by it refuses: ${JSON.stringify(rule)}`, () => {
    const { rules, ignored } = decoded({ ...ADDRESS, ...rule })
    assert.ok(JSON.stringify(rules).includes(JSON.stringify({ kind: 'unsupported', what })))
    assert.equal(ignored.length, 1)
  })

test('hits count in the rules of filters only, and are reported elsewhere', () => {
  const { rules, ignored } = decoded({ ...ADDRESS, hits_addend: { number: 3 } })
  assert.deepEqual(rules, [MADE])
  assert.match(String(ignored), /hits_addend \(counts in the rules of filters only\)/)
})
