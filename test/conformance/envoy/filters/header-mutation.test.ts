/** header_mutation in front of filters that ask about the request: what they see, and what the endpoint gets. */
import { test } from 'node:test'
import { once } from 'node:events'
import http from 'node:http'
import type { JsonObject } from '@bufbuild/protobuf'
import { createKey, createToken } from '../../../helpers/jwt.ts'
import { portOf } from '../../../helpers/raw-h2.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { staticCluster } from '../../package/shipped.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const named = (name: string, of: string, config: JsonObject): JsonObject => ({
  name,
  typed_config: { '@type': type(`extensions.filters.${of}`), ...config },
})
const append = (key: string, value: string, append_action = 'OVERWRITE_IF_EXISTS_OR_ADD'): JsonObject => ({
  append: { header: { key, value }, append_action },
})
const remove = (name: string): JsonObject => ({ remove: name })
const mutation = (edits: JsonObject[], answer: JsonObject[] = [], name = 'm', more: JsonObject = {}): JsonObject =>
  named(name, 'http.header_mutation.v3.HeaderMutation', {
    mutations: { request_mutations: edits, response_mutations: answer },
    ...more,
  })
const perRoute = (edits: JsonObject[]): JsonObject => ({
  typed_per_filter_config: {
    m: {
      '@type': type('extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute'),
      mutations: { request_mutations: edits },
    },
  },
})
/** Of those with this field. */
const rbac = (name: string, value: string, action = 'ALLOW', filterName = `rbac-${name}`): JsonObject =>
  named(filterName, 'http.rbac.v3.RBAC', {
    rules: {
      action,
      policies: {
        p: { permissions: [{ header: { name, string_match: { exact: value } } }], principals: [{ any: true }] },
      },
    },
  })
const authz = named('authz', 'http.ext_authz.v3.ExtAuthz', {
  transport_api_version: 'V3',
  allowed_headers: { patterns: [{ prefix: 'x-' }] },
  http_service: {
    server_uri: { uri: 'http://auth.test', cluster: 'auth', timeout: '1s' },
    authorization_response: { allowed_upstream_headers: { patterns: [{ prefix: 'x-up' }] } },
  },
})
const KEY = createKey('ES256', 'a')
const TOKEN = createToken(KEY, { iss: 'one', sub: 'alice', exp: 4_000_000_000 })
const jwt = named('jwt', 'http.jwt_authn.v3.JwtAuthentication', {
  providers: {
    one: { issuer: 'one', forward: true, local_jwks: { inline_string: JSON.stringify({ keys: [KEY.jwk] }) } },
  },
  rules: [{ match: { prefix: '/' }, requires: { provider_name: 'one' } }],
})
const limit = named('limit', 'http.local_ratelimit.v3.LocalRateLimit', {
  stat_prefix: 'l',
  token_bucket: { max_tokens: 100, tokens_per_fill: 100, fill_interval: '60s' },
  filter_enabled: { default_value: { numerator: 100 } },
  filter_enforced: { default_value: { numerator: 100 } },
  descriptors: [
    {
      entries: [{ key: 'a', value: 'new' }],
      token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: '60s' },
    },
  ],
})
const ask = (...fields: [string, string][]): Ask => ({ path: '/', fields })
const A = ask(['x-a', '1'])
const ASKS: readonly Ask[] = [A, ask(), ask(['x-a', '1'], ['x-a', '2'], ['x-b', 'b'])]

const ROWS: readonly Row[] = [
  { name: 'a policy sees what was set', filters: [mutation([append('x-a', 'new')]), rbac('x-a', 'new')], asks: ASKS },
  {
    name: 'a policy sees what was removed',
    filters: [mutation([remove('x-a')]), rbac('x-a', '1', 'DENY')],
    asks: ASKS,
  },
  {
    name: 'a policy before sees what came',
    filters: [rbac('x-a', '1'), mutation([remove('x-a'), append('x-b', 'new')]), rbac('x-b', 'new')],
    asks: ASKS,
  },
  {
    name: 'who is refused gets the changes of answers',
    filters: [mutation([append('x-a', 'new')], [append('r-a', '%REQ(x-a)%')]), rbac('x-a', '1')],
    asks: ASKS,
  },
  {
    name: 'who is refused before gets them, too',
    filters: [rbac('x-a', '1'), mutation([append('x-a', 'new')], [append('r-a', '%REQ(x-a)%')]), authz],
    asks: ASKS,
  },
  {
    name: 'an authorization service sees it, and changes it anew',
    filters: [
      mutation([append('x-a', 'new', 'APPEND_IF_EXISTS_OR_ADD'), append('x-up', 'mine'), remove('x-b')]),
      authz,
    ],
    asks: ASKS,
  },
  {
    name: 'filters before and behind',
    filters: [
      mutation([append('x-a', 'one', 'APPEND_IF_EXISTS_OR_ADD')], [], 'first'),
      authz,
      mutation([append('x-a', 'two', 'APPEND_IF_EXISTS_OR_ADD')], [], 'second'),
      rbac('x-up', 'up'),
      mutation([append('x-a', 'three', 'APPEND_IF_EXISTS_OR_ADD')], [], 'third'),
    ],
    asks: ASKS,
  },
  { name: 'a token', filters: [mutation([append('authorization', `Bearer ${TOKEN}`)]), jwt], asks: ASKS },
  {
    name: 'a token is taken away',
    filters: [mutation([remove('authorization')]), jwt],
    asks: [ask(['authorization', `Bearer ${TOKEN}`])],
  },
  {
    name: 'a rate limit',
    filters: [mutation([append('x-a', 'new')]), limit],
    route: {
      route: {
        cluster: 'origin',
        rate_limits: [{ actions: [{ request_headers: { header_name: 'x-a', descriptor_key: 'a' } }] }],
      },
    },
    asks: [A, A, ask()],
  },
  {
    name: 'the route of before stays',
    filters: [mutation([append('x-a', 'new')]), authz],
    host: {
      routes: [
        {
          match: { prefix: '/', headers: [{ name: 'x-a', string_match: { exact: 'new' } }] },
          direct_response: { status: 418 },
        },
        { match: { prefix: '/' }, route: { cluster: 'origin' } },
      ],
    },
    asks: ASKS,
  },
  ...[true, false].map((most_specific_header_mutations_wins) => ({
    name: `of the route, the nearest ${most_specific_header_mutations_wins ? 'last' : 'first'}`,
    filters: [
      mutation([append('x-a', 'filter')], [], 'm', { most_specific_header_mutations_wins }),
      authz,
      rbac('x-b', 'route'),
    ],
    host: perRoute([append('x-a', 'host'), append('x-c', 'host')]),
    route: perRoute([append('x-a', 'route'), append('x-b', 'route')]),
    asks: ASKS,
  })),
  {
    name: 'operators',
    filters: [
      mutation([
        append('x-b', '%REQ(x-a)%/%REQ(:path)%/%PROTOCOL%/%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%/%ROUTE_NAME%/100%%'),
        append('x-c', '%REQ(x-b)%'),
      ]),
      authz,
    ],
    route: { name: 'named' },
    asks: ASKS,
  },
  {
    name: 'off',
    filters: [{ ...mutation([append('x-a', 'new')]), disabled: true }, rbac('x-a', '1')],
    asks: ASKS,
  },
]

const NAMES = ['x-a', 'x-b', 'x-c', 'x-up', 'authorization']

test('the same questions, and the same requests', async (t) => {
  const asked: unknown[] = []
  const service = http
    .createServer((request, response) => {
      asked.push(NAMES.map((name) => String(request.headers[name]).replaceAll(', ', ',')))
      response.writeHead(request.headers['x-deny'] ? 403 : 200, { 'x-up': 'up' }).end()
    })
    .listen(0, '127.0.0.1')
  await once(service, 'listening')
  t.after(() => {
    service.closeAllConnections()
    service.close()
  })
  const port = portOf(service)
  const facts = ({ told: { status, headers }, saw }: Compared): unknown => ({
    asked: asked.splice(0),
    status,
    told: headers['r-a'],
    saw: saw && NAMES.map((name) => String(saw.headers[name]).replaceAll(', ', ',')),
  })
  const auth = { envoy: staticCluster('auth', port), ours: cluster([endpoint('127.0.0.1', port)], { name: 'auth' }) }
  await compareRows(t, ROWS, { facts, clusters: [auth] })
})
