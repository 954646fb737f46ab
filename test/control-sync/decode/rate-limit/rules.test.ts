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
          routes: [{ match: { prefix: '/' }, route: { cluster: 'c', rate_limits: [rule] } }],
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

for (const [action, made] of [
  [{ remote_address: {} }, { kind: 'remote-address' }],
  [{ masked_remote_address: {} }, { kind: 'masked-remote-address', v4Bits: 32, v6Bits: 128 }],
  [{ destination_cluster: {} }, { kind: 'destination-cluster' }],
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
    actions: [{ source_cluster: {} }, { generic_key: { descriptor_value: '%REQ(x)%' } }],
  })
  assert.deepEqual(rules, [
    {
      stage: 0,
      actions: [
        { kind: 'unsupported', what: 'source_cluster' },
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
] as readonly (readonly [JsonObject, RegExp])[])
  test(`refused: ${JSON.stringify(rule)}`, () => {
    const { rules, blocked } = decoded(rule)
    assert.equal(rules, 'blocked')
    assert.match(String(blocked), problem)
  })
