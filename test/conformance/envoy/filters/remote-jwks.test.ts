/** Keys that both fetch through a cluster (jwt_authn, remote_jwks): who is let in, and who is not while there are none. */
import { test } from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../../tools/free-ports.ts'
import { createKey, createToken } from '../../../helpers/jwt.ts'
import { serveHttp } from '../../../helpers/serve-http.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { staticCluster } from '../../package/shipped.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const [KEY, FOREIGN, OTHER] = [createKey('ES256', 'a'), createKey('ES256', 'b'), createKey('ES256', 'a')]
const CLAIMS = { iss: 'i', sub: 'ann', aud: 'x', exp: 4e9 }
const TOKENS: readonly (readonly [name: string, token: string | undefined])[] = [
  ['good', createToken(KEY, CLAIMS)],
  ['none', undefined],
  ['of a key that is not there', createToken(FOREIGN, CLAIMS)],
  ['of another key with its name', createToken(OTHER, CLAIMS)],
  ['of another issuer', createToken(KEY, { ...CLAIMS, iss: 'j' })],
  ['that is over', createToken(KEY, { ...CLAIMS, exp: 1 })],
  ['that is none', 'a.b.c'],
  ['good, again', createToken(KEY, CLAIMS)],
]
const ASKS: readonly Ask[] = TOKENS.map(([name, token]) => ({
  path: `/${encodeURIComponent(name)}`,
  fields: token === undefined ? [] : [['authorization', `Bearer ${token}`]],
}))

type Remote = { readonly path?: string; readonly cluster?: string; readonly more?: JsonObject }
function filterOf({ path = '/keys', cluster: to = 'id', more = {} }: Remote, requires: JsonObject): JsonObject {
  const http_uri = { uri: `http://id.test${path}`, cluster: to, timeout: '0.3s' }
  return {
    name: 'envoy.filters.http.jwt_authn',
    typed_config: {
      '@type': type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
      providers: {
        p: {
          issuer: 'i',
          claim_to_headers: [{ header_name: 'x-sub', claim_name: 'sub' }],
          remote_jwks: { http_uri, ...more },
        },
      },
      rules: [{ match: { prefix: '/' }, requires }],
    },
  }
}
const P: JsonObject = { provider_name: 'p' }
const MAYBE: JsonObject = { requires_any: { requirements: [P, { allow_missing: {} }] } }
const FAILING: JsonObject = { requires_any: { requirements: [P, { allow_missing_or_failed: {} }] } }
const row = (name: string, remote: Remote, requires: JsonObject = P): Row => ({
  name,
  filters: [filterOf(remote, requires)],
  asks: ASKS,
})
const ROWS: readonly Row[] = [
  row('keys that are there', {}),
  row('a query', { path: '/keys?v=1' }),
  row('with async_fetch', { more: { async_fetch: { failed_refetch_duration: '1s' }, cache_duration: '60s' } }),
  row('may be missing', {}, MAYBE),
  row('may fail', {}, FAILING),
  row('an issuer that is slow', { path: '/slow' }),
  ...['/500', '/404', '/moved', '/no-keys', '/no-json', '/empty', '/cut', '/hang'].map((path) =>
    row(`an issuer that answers ${path}`, { path }),
  ),
  row('an issuer that is not there', { cluster: 'down' }),
  row('an issuer that is not there, may be missing', { cluster: 'down' }, MAYBE),
  row('an issuer that is not there, may fail', { cluster: 'down' }, FAILING),
  row('a second try', {
    path: '/second',
    more: { retry_policy: { num_retries: 1, retry_back_off: { base_interval: '0.01s' } } },
  }),
]

function facts({ told, saw }: Compared): unknown {
  const { authorization, 'x-sub': sub } = saw?.headers ?? {}
  return {
    status: told.status,
    reached: saw !== undefined,
    authorization,
    sub,
    asked: told.headers['www-authenticate'],
  }
}

test('tokens of fetched keys', async (t) => {
  const document = JSON.stringify({ keys: [KEY.jwk] })
  /** Of Envoy, which says more of itself, and of us: they may ask at the same time. */
  const tries = { theirs: 0, ours: 0 }
  const port = await serveHttp(t, (request, response) => {
    const say = (status: number, body = document): unknown => response.writeHead(status).end(body)
    switch (request.url ?? '') {
      case '/keys':
      case '/keys?v=1':
        return say(request.headers.host === 'id.test' ? 200 : 421)
      case '/slow':
        return setTimeout(say, 100, 200)
      case '/second':
        return say(tries['x-envoy-internal' in request.headers ? 'theirs' : 'ours']++ % 2 === 0 ? 503 : 200)
      case '/moved':
        return response.writeHead(302, { location: '/keys' }).end()
      case '/no-keys':
        return say(200, '{"keys":[]}')
      case '/no-json':
        return say(200, '<html>')
      case '/empty':
        return say(200, '')
      case '/cut':
        return response.writeHead(200).write('{"keys', () => response.destroy())
      case '/hang':
        return undefined
      default:
        return say(Number(request.url!.slice(1)))
    }
  })
  const [down] = await freePorts(1)
  const pair = (name: string, at: number) => ({
    envoy: staticCluster(name, at),
    ours: cluster([endpoint('127.0.0.1', at)], { name }),
  })
  await compareRows(t, ROWS, { clusters: [pair('id', port), pair('down', down!)], facts })
})
