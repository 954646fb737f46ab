/** Where keys are fetched from, as istiod and users write it (remote_jwks). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { isRemote, type RemoteJwks } from '../../../../model/http/jwt.ts'
import { collectReferences } from '../../../../control-sync/references.ts'
import { decodeFilter, type } from '../fields/filter-rig.ts'

const URI = { uri: 'https://id.test/keys?x=1', cluster: 'id', timeout: '2s' }
function decoded(remote: JsonObject): { readonly remote: RemoteJwks | undefined; readonly blocked: readonly string[] } {
  const { filter, blocked, ignored } = decodeFilter('jwt', {
    '@type': type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
    providers: { p: { issuer: 'i', remote_jwks: remote } },
  })
  assert.deepEqual(ignored, [])
  const jwks = filter.kind === 'jwt' ? filter.jwt.providers[0]!.jwks : undefined
  return { remote: jwks && isRemote(jwks) ? jwks : undefined, blocked }
}

test('without more it has the defaults of Envoy', () => {
  assert.deepEqual(decoded({ http_uri: URI }), {
    blocked: [],
    remote: {
      cluster: 'id',
      scheme: 'https',
      authority: 'id.test',
      path: '/keys?x=1',
      timeoutMs: 2_000,
      refreshMs: 600_000,
      failedRefetchMs: 1_000,
      retries: 0,
      backoff: { baseMs: 1_000, capMs: 10_000 },
    },
  })
})
test('every field', () => {
  const { remote, blocked } = decoded({
    http_uri: URI,
    cache_duration: '60s',
    async_fetch: { fast_listener: true, failed_refetch_duration: '7s' },
    retry_policy: { num_retries: 3, retry_back_off: { base_interval: '0.1s', max_interval: '0.5s' } },
  })
  assert.deepEqual(blocked, [])
  const { refreshMs, failedRefetchMs, retries, backoff } = remote!
  assert.deepEqual(
    { refreshMs, failedRefetchMs, retries, backoff },
    { refreshMs: 60_000, failedRefetchMs: 7_000, retries: 3, backoff: { baseMs: 100, capMs: 500 } },
  )
})
test('a policy that says nothing is one more try; what would ask without end is bounded', () => {
  assert.equal(decoded({ http_uri: URI, retry_policy: {} }).remote?.retries, 1)
  const { remote } = decoded({
    http_uri: { ...URI, timeout: '3600s' },
    cache_duration: '0.001s',
    async_fetch: { failed_refetch_duration: '0.001s' },
    retry_policy: { num_retries: 4_000_000_000 },
  })
  const { timeoutMs, refreshMs, failedRefetchMs, retries } = remote!
  assert.deepEqual([timeoutMs, refreshMs, failedRefetchMs, retries], [60_000, 1_000, 1_000, 16])
})

for (const [uri, want] of [
  ['http://h', ['http', 'h', '/']],
  ['HTTPS://h:8443/a#part', ['https', 'h:8443', '/a']],
  ['h.test/a/b', ['http', 'h.test', '/a/b']],
  ['https://[fd00::1]:1/a', ['https', '[fd00::1]:1', '/a']],
  ['https://h?q', ['https', 'h', '/?q']],
  ['', undefined],
  ['https://', undefined],
  ['/only/a/path', undefined],
  ['https://h/a b', undefined],
  ['https://h/a\r\nx: y', undefined],
  ['https://user@h/a', undefined],
  ['ftp://h/a', undefined],
  [`https://h/${'a'.repeat(2_048)}`, undefined],
] as const)
  test(`${JSON.stringify(uri.slice(0, 40))} is ${want ? want.join(' ') : 'no address'}`, () => {
    const { remote, blocked } = decoded({ http_uri: { ...URI, uri } })
    assert.deepEqual(remote && [remote.scheme, remote.authority, remote.path], want)
    if (want) assert.deepEqual(blocked, [])
    else assert.match(blocked.join(), /http_uri\.uri: is no address of a document/)
  })

test('its cluster counts among those that a listener names', () => {
  const { filter } = decodeFilter('jwt', {
    '@type': type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
    providers: { p: { issuer: 'i', remote_jwks: { http_uri: URI } } },
  })
  const http = { filters: [filter], routes: { from: 'rds', name: 'r' } }
  const listener = { filterChains: [{ codec: { kind: 'http', http }, tls: undefined }] }
  assert.deepEqual(collectReferences('listener', listener), { route: ['r'], cluster: ['id'] })
})
