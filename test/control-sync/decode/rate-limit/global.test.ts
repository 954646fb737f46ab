/** Limits that a service counts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { good, issues, withHttpFilter } from '../listener/listener-rig.ts'

const SERVICE = { grpc_service: { envoy_grpc: { cluster_name: 'l' }, timeout: '9s' } }
const chain = (limit: JsonObject): JsonObject =>
  withHttpFilter('ratelimit.v3.RateLimit', { domain: 'd', rate_limit_service: SERVICE, ...limit })

test("left out, Envoy's values count", () => {
  const { codec } = good({}, chain({})).value.filterChains[0]!
  const filter = codec.kind === 'http' ? codec.http.filters[0] : undefined
  assert.ok(filter?.kind === 'global-limit')
  assert.deepEqual(filter.limit, {
    statPrefix: 'd',
    domain: 'd',
    service: { kind: 'grpc', cluster: 'l', authority: 'l', timeoutMs: 20, headers: [] },
    stage: 0,
    rules: [],
    enabledFraction: 1,
    enforcedFraction: 1,
    deniedOnFailure: 0,
    status: 429,
    statusOnError: 500,
    isExhaustion: false,
    tellsRest: false,
    tellsLimited: true,
    metadataName: 'envoy.filters.http.ratelimit',
    answerHeaders: { remove: [], add: [] },
  })
})

test('what it says counts', () => {
  const { codec } = good(
    {},
    chain({
      disable_x_envoy_ratelimited_header: true,
      rate_limited_status: { code: 503 },
      failure_mode_deny: true,
      failure_mode_deny_percent: { default_value: { numerator: 50 } },
    }),
  ).value.filterChains[0]!
  const filter = codec.kind === 'http' ? codec.http.filters[0] : undefined
  assert.ok(filter?.kind === 'global-limit')
  const { tellsLimited, status, deniedOnFailure } = filter.limit
  assert.deepEqual([tellsLimited, status, deniedOnFailure], [false, 503, 0.5])
})

test('what cannot be counted by refuses', () => {
  const at = 'filter_chains[0].filters[0].typed_config.http_filters[0].typed_config'
  for (const [limit, issue] of [
    [{ domain: '' }, '.domain: is missing'],
    [{ stage: 11 }, '.stage: must be at most 10'],
    [{ request_type: 'mine' }, '.request_type: unknown value'],
    [{ request_type: 'internal' }, '.request_type: internal requests are not told apart'],
    [{ rate_limit_service: {} }, '.rate_limit_service.grpc_service: is missing'],
    [{ status_on_error: { code: 100 } }, '.status_on_error: is no status of an answer'],
    [{ rate_limit_service: { grpc_service: {} } }, '.rate_limit_service.grpc_service: only envoy_grpc is supported'],
  ] as const)
    assert.ok(
      issues({}, chain(limit as JsonObject)).some((found) => found.replace(at, '') === issue),
      issue,
    )
})

for (const [hits_addend, made] of [
  [{ number: 3 }, { hits: 3 }],
  [
    { number: 0, is_negative_hits: true },
    { hits: 0, givesBack: true },
  ],
] as const)
  test(`hits of its own rules: ${JSON.stringify(hits_addend)}`, () => {
    const { codec } = good({}, chain({ rate_limits: [{ actions: [{ remote_address: {} }], hits_addend }] })).value
      .filterChains[0]!
    const filter = codec.kind === 'http' ? codec.http.filters[0] : undefined
    assert.ok(filter?.kind === 'global-limit')
    assert.deepEqual(filter.limit.rules, [{ stage: 0, actions: [{ kind: 'remote-address' }], ...made }])
  })
