/** jwt_authn as istiod and users write it: what becomes of each field, and what refuses everything. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { isRemote } from '../../../../model/http/jwt.ts'
import { decodeFilter, type } from '../fields/filter-rig.ts'
import { createKey } from '../../../helpers/jwt.ts'

const JWKS = { inline_string: JSON.stringify({ keys: [createKey().jwk] }) }
const PROVIDER: JsonObject = { issuer: 'i', local_jwks: JWKS }

const decoded = (config: JsonObject): ReturnType<typeof decodeFilter> =>
  decodeFilter('jwt', { '@type': type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'), ...config })

test('a provider without more has the defaults of Envoy', () => {
  const { filter, blocked, ignored } = decoded({ providers: { p: PROVIDER } })
  assert.deepEqual([blocked, ignored], [[], []])
  assert.ok(filter.kind === 'jwt')
  const { jwks, ...rest } = filter.jwt.providers[0]!
  assert.ok(!isRemote(jwks) && jwks.keys.length === 1)
  assert.deepEqual(rest, {
    name: 'p',
    issuer: 'i',
    audiences: [],
    subjects: undefined,
    leewayMs: 60_000,
    needsExpiry: false,
    maxLifetimeMs: undefined,
    headers: [{ name: 'authorization', prefix: 'Bearer ' }],
    params: ['access_token'],
    cookies: [],
    forwards: false,
    payloadHeader: undefined,
    claimHeaders: [],
    payloadKey: undefined,
    headerKey: undefined,
    failureKey: undefined,
    spaced: [],
    reroutes: false,
    remembered: 0,
  })
})
test('every field of a provider', () => {
  const { filter, blocked, ignored } = decoded({
    providers: {
      p: {
        ...PROVIDER,
        audiences: ['a'],
        subjects: { prefix: 's' },
        require_expiration: true,
        max_lifetime: '60s',
        forward: true,
        from_headers: [{ name: 'X-Jwt', value_prefix: 'jwt ' }],
        from_params: ['q'],
        from_cookies: ['c'],
        forward_payload_header: 'X-Payload',
        pad_forward_payload_header: true,
        payload_in_metadata: 'payload',
        header_in_metadata: 'header',
        failed_status_in_metadata: 'failed',
        normalize_payload_in_metadata: { space_delimited_claims: ['scope'] },
        clock_skew_seconds: 5,
        jwt_cache_config: { jwt_cache_size: 7 },
        claim_to_headers: [{ header_name: 'X-Sub', claim_name: 'deep.er' }],
        clear_route_cache: true,
      },
    },
    bypass_cors_preflight: true,
    strip_failure_response: true,
  })
  assert.deepEqual([blocked, ignored], [[], []])
  assert.ok(filter.kind === 'jwt')
  const { jwks: _, ...rest } = filter.jwt.providers[0]!
  assert.deepEqual(rest, {
    name: 'p',
    issuer: 'i',
    audiences: ['a'],
    subjects: { kind: 'prefix', value: 's', ignoreCase: false },
    leewayMs: 5_000,
    needsExpiry: true,
    maxLifetimeMs: 60_000,
    headers: [{ name: 'x-jwt', prefix: 'jwt ' }],
    params: ['q'],
    cookies: ['c'],
    forwards: true,
    payloadHeader: { name: 'x-payload', padded: true },
    claimHeaders: [{ name: 'x-sub', claim: ['deep', 'er'] }],
    payloadKey: 'payload',
    headerKey: 'header',
    failureKey: 'failed',
    spaced: ['scope'],
    reroutes: true,
    remembered: 7,
  })
  assert.deepEqual([filter.jwt.bypassesPreflight, filter.jwt.hidesReason], [true, true])
})
test('rules and requirements, by name and in place', () => {
  const { filter } = decoded({
    providers: { p: PROVIDER },
    requirement_map: { named: { provider_and_audiences: { provider_name: 'p', audiences: ['x'] } } },
    rules: [
      { match: { prefix: '/open' } },
      { match: { prefix: '/named' }, requirement_name: 'named' },
      {
        match: { prefix: '/' },
        requires: { requires_any: { requirements: [{ provider_name: 'p' }, { allow_missing: {} }] } },
      },
    ],
  })
  assert.ok(filter.kind === 'jwt')
  const [provider] = filter.jwt.providers
  assert.deepEqual(
    filter.jwt.rules.map(({ requires }) => requires),
    [
      undefined,
      { kind: 'provider', provider, audiences: ['x'] },
      {
        kind: 'any',
        of: [
          { kind: 'provider', provider },
          { kind: 'optional', failed: false },
        ],
      },
    ],
  )
})

test('all of several, and whatever may fail', () => {
  const { filter } = decoded({
    providers: { p: PROVIDER },
    rules: [
      {
        match: { prefix: '/' },
        requires: { requires_all: { requirements: [{ provider_name: 'p' }, { allow_missing_or_failed: {} }] } },
      },
    ],
  })
  assert.ok(filter.kind === 'jwt')
  const [provider] = filter.jwt.providers
  assert.deepEqual(filter.jwt.rules[0]!.requires, {
    kind: 'all',
    of: [
      { kind: 'provider', provider },
      { kind: 'optional', failed: true },
    ],
  })
})

for (const [name, config, where] of [
  [
    'keys that are none',
    { providers: { p: { issuer: 'i', local_jwks: { inline_string: '{}' } } } },
    /local_jwks: it has no list `keys`/,
  ],
  [
    'keys from nowhere',
    { providers: { p: { issuer: 'i', remote_jwks: { http_uri: { uri: 'https://k', timeout: '1s' } } } } },
    /remote_jwks\.http_uri\.cluster: is missing/,
  ],
  ['no keys', { providers: { p: { issuer: 'i' } } }, /names no keys/],
  [
    'a provider that is not there',
    { rules: [{ match: { prefix: '/' }, requires: { provider_name: 'q' } }] },
    /names no provider/,
  ],
  [
    'a requirement that is not there',
    { rules: [{ match: { prefix: '/' }, requirement_name: 'q' }] },
    /is not in requirement_map/,
  ],
  ['requirements by filter state', { filter_state_rules: { name: 'x' } }, /filter_state_rules: is not supported/],
] as const)
  test(`${name}: everything is refused`, () => {
    const { filter, blocked } = decoded(config as unknown as JsonObject)
    assert.equal(filter.kind, 'blocked')
    assert.match(blocked.join('\n'), where)
  })
