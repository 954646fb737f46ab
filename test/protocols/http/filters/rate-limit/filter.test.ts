/** Local rate limits as they are configured, asked in simulated time. Envoy's answers: test/conformance/envoy/filters. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../../control-sync/decode/decode.ts'
import type { HttpConnectionManager } from '../../../../../model/listener.ts'
import { planExchange } from '../../../../../protocols/http/exchange/planning/plan-exchange.ts'
import type { Plan } from '../../../../../protocols/http/exchange/planning/plan.ts'
import { sample } from '../../../../helpers/control-plane/resources.ts'
import { seededRandom } from '../../../../helpers/random.ts'
import { SimClock } from '../../../../helpers/sim-clock.ts'
import { cluster, tablesOf } from '../../harness.ts'
import { LOCAL_CLIENT } from '../../../parts.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const ALWAYS = { default_value: { numerator: 100 } }
const BUCKET = { max_tokens: 1, fill_interval: '100s' }
const descriptor = (key: string, value: string, more: JsonObject = {}): JsonObject => ({
  entries: [{ key, value }],
  token_bucket: BUCKET,
  ...more,
})

class Limited {
  readonly clock = new SimClock()
  readonly #http: HttpConnectionManager

  constructor(limit: JsonObject, route: JsonObject = {}, host: JsonObject = {}) {
    const listener = {
      '@type': type('config.listener.v3.Listener'),
      name: 'l',
      address: { socket_address: { address: '127.0.0.1', port_value: 80 } },
      filter_chains: [
        {
          filters: [
            {
              name: 'hcm',
              typed_config: {
                '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
                stat_prefix: 's',
                http_filters: [
                  {
                    name: 'l',
                    typed_config: {
                      '@type': type('extensions.filters.http.local_ratelimit.v3.LocalRateLimit'),
                      stat_prefix: 's',
                      token_bucket: BUCKET,
                      filter_enabled: ALWAYS,
                      filter_enforced: ALWAYS,
                      ...limit,
                    },
                  },
                ],
                route_config: {
                  name: 'r',
                  virtual_hosts: [
                    {
                      name: 'v',
                      domains: ['*'],
                      routes: [{ match: { prefix: '/' }, route: { cluster: 'a', ...route } }],
                      ...host,
                    },
                  ],
                },
              },
            },
          ],
        },
      ],
    }
    const decoded = decode('listener', sample(listener).bytes)
    assert.ok(decoded.ok)
    assert.deepEqual(decoded.blocked, [])
    const { codec } = decoded.value.filterChains[0]!
    assert.ok(codec.kind === 'http')
    this.#http = codec.http
  }

  ask(path = '/', headers: string[] = [], connection: object = this): Plan {
    const valueOf = (name: string): string | undefined => headers[headers.indexOf(name) + 1]
    return planExchange({
      tables: tablesOf([cluster([], { name: 'a' })]),
      http: this.#http,
      upgrade: undefined,
      random: seededRandom(1),
      clocks: { clock: this.clock },
      connection,
      request: {
        method: 'GET',
        path,
        authority: 'a',
        scheme: 'http',
        headers,
        header: (name) => (headers.includes(name) ? valueOf(name) : undefined),
      },
      client: LOCAL_CLIENT,
    })
  }
  /** How many of two pass. */
  passed(path = '/', headers: string[] = []): number {
    return [1, 2].filter(() => this.ask(path, headers).kind === 'forward').length
  }
}
const told = (plan: Plan): Record<string, string> =>
  Object.fromEntries(plan.responseEdits.flatMap(({ add }) => add.map(({ name, value }) => [name, value])))

test('filter_enforced: what is too much passes, and says so to the endpoint', () => {
  const limited = new Limited({
    filter_enforced: { default_value: { numerator: 0 } },
    request_headers_to_add_when_not_enforced: [{ header: { key: 'x-over', value: 'yes' } }],
  })
  const headers: string[] = []
  limited.ask('/', headers)
  assert.deepEqual(headers, [])
  const plan = limited.ask('/', headers)
  assert.deepEqual(
    [headers, plan.limited, plan.kind],
    [['x-over', 'yes'], [{ prefix: 's', result: 'over' }], 'forward'],
  )
})

test('local_rate_limit_per_downstream_connection: each connection has a bucket', () => {
  const limited = new Limited({ local_rate_limit_per_downstream_connection: true })
  const [one, other] = [{}, {}]
  const kinds = [one, one, other, other].map((connection) => limited.ask('/', [], connection).kind)
  assert.deepEqual(kinds, ['forward', 'denied', 'forward', 'denied'])
})

test('enable_x_ratelimit_headers, enable_retry_after_header: what is left when the answer is given', async () => {
  const limited = new Limited({ enable_x_ratelimit_headers: 'DRAFT_VERSION_03', enable_retry_after_header: true })
  const first = limited.ask()
  assert.deepEqual(told(first), { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '100' })
  await limited.clock.advance(40_500)
  assert.equal(told(first)['x-ratelimit-reset'], '59')
  assert.equal(told(limited.ask())['retry-after'], '60')
})

test('rate_limited_as_resource_exhausted', () => {
  const limited = new Limited({ rate_limited_as_resource_exhausted: true })
  limited.ask()
  const plan = limited.ask()
  assert.deepEqual(plan.kind === 'denied' && [plan.status, plan.grpcStatus, plan.body], [429, 8, 'local_rate_limited'])
})

const byUser = { actions: [{ request_headers: { header_name: 'x-user', descriptor_key: 'user' } }] }
test('always_consume_default_token_bucket, shadow_mode', () => {
  const more = { rate_limits: [byUser], descriptors: [descriptor('user', 'a', { shadow_mode: true })] }
  assert.equal(new Limited({ ...more, always_consume_default_token_bucket: false }).passed('/', ['x-user', 'a']), 2)
  assert.equal(new Limited(more).passed('/', ['x-user', 'a']), 1)
})

test('vh_rate_limits, include_vh_rate_limits: rules of the host count beside those of the route, or in their place', () => {
  const rule = (value: string): JsonObject => ({ actions: [{ generic_key: { descriptor_value: value } }] })
  const passes = (how: string, route: JsonObject): number =>
    new Limited(
      {
        vh_rate_limits: how,
        descriptors: [descriptor('generic_key', 'host')],
        token_bucket: { ...BUCKET, max_tokens: 9 },
      },
      route,
      { rate_limits: [rule('host')] },
    ).passed()
  const own = { rate_limits: [rule('route')] }
  assert.deepEqual(
    [
      passes('OVERRIDE', {}),
      passes('OVERRIDE', own),
      passes('OVERRIDE', { ...own, include_vh_rate_limits: true }),
      passes('INCLUDE', own),
      passes('IGNORE', {}),
    ],
    [1, 2, 1, 1, 2],
  )
})

for (const [action, path, headers, passes] of [
  [{ header_value_match: { descriptor_value: 'v', headers: [{ name: 'x' }] } }, '/', ['x', '1'], 1],
  [{ header_value_match: { descriptor_value: 'v', headers: [{ name: 'x' }] } }, '/', [], 2],
  [
    {
      query_parameter_value_match: {
        descriptor_key: 'header_match',
        descriptor_value: 'v',
        query_parameters: [{ name: 'q' }],
      },
    },
    '/?q',
    [],
    1,
  ],
] as readonly (readonly [JsonObject, string, string[], number])[])
  test(`${Object.keys(action)[0]} of ${path} with ${headers.join()}: ${passes} of two pass`, () => {
    const limited = new Limited({
      descriptors: [descriptor('header_match', 'v')],
      token_bucket: { ...BUCKET, max_tokens: 9 },
      rate_limits: [{ actions: [action] }],
    })
    assert.equal(limited.passed(path, headers), passes)
  })

test('what a descriptor cannot be made of refuses, instead of not counting', () => {
  const limited = new Limited({
    descriptors: [descriptor('generic_key', 'x')],
    rate_limits: [{ actions: [{ generic_key: { descriptor_value: '%REQ(x)%' } }] }],
  })
  const plan = limited.ask()
  assert.equal(plan.kind === 'refuse' && plan.error.code, 'MESH_CHAIN_BLOCKED')
})
