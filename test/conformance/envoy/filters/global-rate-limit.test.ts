/** A service that counts requests: what it is asked, what its words do, and what happens when it has none. */
import { test } from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../../tools/free-ports.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { staticCluster } from '../../package/shipped.ts'
import { startLimitService } from './limit-service.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const NAME = 'envoy.filters.http.ratelimit'
const filter = (more: JsonObject = {}, to = 'limits'): JsonObject => ({
  name: NAME,
  typed_config: {
    '@type': type('extensions.filters.http.ratelimit.v3.RateLimit'),
    domain: 'd',
    timeout: '0.5s',
    rate_limit_service: {
      transport_api_version: 'V3',
      grpc_service: {
        envoy_grpc: { cluster_name: to, authority: 'limits.test' },
        initial_metadata: [{ key: 'x-initial', value: 'v' }],
      },
    },
    ...more,
  },
})
const by = (...actions: JsonObject[]): JsonObject => ({ actions })
const header = (name: string, key: string): JsonObject => ({
  request_headers: { header_name: name, descriptor_key: key },
})
/** What the service does stands in the path. */
const PATH = by(header(':path', 'path'))
const constant = (value: string): JsonObject => ({ generic_key: { descriptor_value: value } })
const limits = (route: JsonObject = {}, more: JsonObject = {}): JsonObject => ({
  route: { cluster: 'origin', rate_limits: [PATH], ...route },
  ...more,
})
const add = (key: string, value: string): JsonObject => ({ header: { key, value } })
const ask = (path: string): Ask => ({ path, fields: [['x-a', '1']] })
const grpc = (path: string): Ask => ({
  method: 'POST',
  path,
  body: 'x',
  fields: [['content-type', 'application/grpc']],
})
const WORDS = ['/ok', '/over', '/failed', '/nothing', '/status', '/headers', '/headers-over', '/metadata']
const perRoute = (config: JsonObject): JsonObject => ({
  typed_per_filter_config: {
    [NAME]: { '@type': type('extensions.filters.http.ratelimit.v3.RateLimitPerRoute'), ...config },
  },
})
const always = (percent: number): JsonObject => ({ default_value: { numerator: percent } })

const keyIn = (key: string, ...path: string[]): JsonObject => ({ key, path: path.map((one) => ({ key: one })) })
const metadata = (path: readonly string[], more: JsonObject = {}): JsonObject => ({
  metadata: { descriptor_key: `m-${path.join('-')}`, metadata_key: keyIn(NAME, ...path), ...more },
})
const ofRoute = (key: string, more: JsonObject = {}): JsonObject => ({
  metadata: { descriptor_key: key, metadata_key: keyIn('r', key), source: 'ROUTE_ENTRY', ...more },
})
const limitIn = (name: string): JsonObject => ({
  ...by(constant(name)),
  limit: { dynamic_metadata: { metadata_key: keyIn(NAME, name) } },
})
/** The first has its own rules; the second those of the route, and what the first has found. */
const two = (more: JsonObject = {}): JsonObject[] => [
  filter({ rate_limits: [PATH], ...more }),
  { ...filter(), name: 'second' },
]

const AGAIN = ['', '-several', '-soon', '-now', '-later', '-unsaid', '-without', '-told'].map((how) => `/refused${how}`)

const ROWS: readonly Row[] = [
  {
    name: 'metadata',
    filters: two(),
    route: limits({
      rate_limits: [
        by(metadata(['text']), metadata(['deep', 'er'])),
        by(metadata(['empty'])),
        by(metadata(['number'], { default_value: 'n' })),
        by(metadata(['deep'])),
        by(metadata(['text', 'er'], { default_value: 'd' })),
        by(metadata(['none'], { skip_if_absent: true }), constant('c')),
        by(metadata(['none'], { skip_if_absent: true })),
        by({ request_headers: { header_name: 'x-none', descriptor_key: 'k', skip_if_absent: true } }),
      ],
    }),
    asks: ['/metadata', '/ok'].map(ask),
  },
  {
    name: 'metadata of the route',
    filters: [filter()],
    route: limits(
      { rate_limits: [by(ofRoute('a')), by(ofRoute('b', { default_value: 'd' })), by(ofRoute('c'), constant('c'))] },
      { metadata: { filter_metadata: { r: { a: 'of the route', b: 3 } } } },
    ),
    asks: ['/ok'].map(ask),
  },
  {
    name: 'another limit',
    filters: two(),
    route: limits({ rate_limits: ['limit', 'odd', 'unknown', 'text', 'none'].map(limitIn) }),
    asks: ['/metadata', '/ok'].map(ask),
  },
  {
    name: 'a route that has its own fields of answers',
    filters: [filter({ response_headers_to_add: [add('x-limit', 'filter')] })],
    route: limits(
      {},
      {
        response_headers_to_add: ['x-told', 'x-limit', 'content-type'].map((key) => add(key, 'route')),
        response_headers_to_remove: ['x-asked'],
      },
    ),
    asks: ['/over', '/headers-over', '/headers', '/body', '/typed'].map(ask),
  },
  {
    name: 'a namespace',
    filters: two({ metadata_namespace: 'ns' }),
    route: limits({
      rate_limits: [
        by({ metadata: { descriptor_key: 'k', metadata_key: keyIn('ns', 'text') } }),
        by(metadata(['text'])),
      ],
    }),
    asks: ['/metadata'].map(ask),
  },
  {
    name: 'hits of the filter',
    filters: [
      filter({
        rate_limits: [
          { ...PATH, hits_addend: { number: 5 } },
          { ...by(constant('zero')), hits_addend: { number: 0 } },
          { ...by(constant('back')), hits_addend: { number: 2, is_negative_hits: true } },
        ],
      }),
    ],
    route: limits(),
    asks: ['/ok'].map(ask),
  },
  ...['DRAFT_VERSION_03', 'OFF'].flatMap((x_ratelimit_option) =>
    ['DRAFT_VERSION_03', 'OFF'].map((enable_x_ratelimit_headers) => ({
      name: `what is left ${x_ratelimit_option} of ${enable_x_ratelimit_headers}`,
      filters: [filter({ enable_x_ratelimit_headers })],
      route: limits({
        rate_limits: [PATH, { ...by(constant('c')), x_ratelimit_option }, { ...by(constant('d')), x_ratelimit_option }],
      }),
      asks: ['/limits', '/limits-over'].map(ask),
    })),
  ),
  {
    name: 'when to come again',
    filters: [filter({ enable_retry_after_header: true })],
    route: limits(),
    asks: ['/limits-over', '/over', '/limits', '/body', ...AGAIN].map(ask),
  },
  {
    name: 'when to come again, with another status',
    filters: [filter({ enable_retry_after_header: true, rate_limited_status: { code: 503 } })],
    route: limits(),
    asks: ['/limits-over', '/refused'].map(ask),
  },
  { name: 'its words', filters: [filter()], route: limits(), asks: [...WORDS.map(ask), grpc('/ok'), grpc('/over')] },
  {
    name: 'who cannot be asked is refused',
    filters: [filter({ failure_mode_deny: true })],
    route: limits(),
    asks: [...WORDS.map(ask), ask('/slow'), grpc('/failed')],
  },
  { name: 'slow', filters: [filter({ timeout: '0.1s' })], route: limits(), asks: [ask('/slow')] },
  { name: 'nobody there', filters: [filter({}, 'down')], route: limits(), asks: [ask('/ok')] },
  {
    name: 'nobody there, refused',
    filters: [filter({ failure_mode_deny: true, status_on_error: { code: 503 } }, 'down')],
    route: limits(),
    asks: [ask('/ok')],
  },
  {
    name: 'no such cluster',
    filters: [filter({ failure_mode_deny: true }, 'missing')],
    route: limits(),
    asks: [ask('/ok')],
  },
  {
    name: 'a runtime key that nobody sets',
    filters: [filter({ disable_x_envoy_ratelimited_header: true })],
    route: limits({ rate_limits: [{ ...PATH, disable_key: 'k' }] }),
    asks: ['/over', '/ok'].map(ask),
  },
  {
    name: 'what is left',
    filters: [filter({ enable_x_ratelimit_headers: 'DRAFT_VERSION_03' })],
    route: limits(),
    asks: ['/limits', '/limits-over', '/ok'].map(ask),
  },
  {
    name: 'nothing of it is told',
    filters: [filter({ disable_x_envoy_ratelimited_header: true })],
    route: limits(),
    asks: ['/limits', '/limits-over', '/over'].map(ask),
  },
  ...[200, 404, 511].map((code) => ({
    name: `status ${code}`,
    filters: [filter({ rate_limited_status: { code } })],
    route: limits(),
    asks: [ask('/over'), ask('/body')],
  })),
  {
    name: 'gRPC is RESOURCE_EXHAUSTED',
    filters: [filter({ rate_limited_as_resource_exhausted: true })],
    route: limits(),
    asks: [grpc('/over'), ask('/over')],
  },
  {
    name: 'fields of a refusal',
    filters: [
      filter({
        response_headers_to_add: [
          add('x-limit', 'yes'),
          add('x-path', '%REQ(:path)%'),
          { ...add('content-type', 'text/html'), append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
        ],
      }),
    ],
    route: limits({}, { response_headers_to_add: [add('x-route', 'r')] }),
    asks: ['/ok', '/over', '/body', '/headers-over', '/headers'].map(ask),
  },
  { name: 'bodies', filters: [filter()], route: limits(), asks: [ask('/body'), grpc('/body'), ask('/typed')] },
  { name: 'not enabled', filters: [filter({ filter_enabled: always(0) })], route: limits(), asks: [ask('/over')] },
  {
    name: 'not enforced',
    filters: [filter({ filter_enforced: always(0) })],
    route: limits(),
    asks: ['/over', '/headers-over'].map(ask),
  },
  {
    name: 'a share is refused where nobody answers',
    filters: [filter({ failure_mode_deny_percent: always(100) })],
    route: limits(),
    asks: [ask('/failed')],
  },
  {
    name: 'a share of none',
    filters: [filter({ failure_mode_deny: true, failure_mode_deny_percent: always(0) })],
    route: limits(),
    asks: [ask('/failed')],
  },
  { name: 'nothing to count by', filters: [filter()], asks: [ask('/over')] },
  {
    name: 'several descriptors',
    filters: [filter()],
    route: {
      route: {
        cluster: 'origin',
        rate_limits: [
          PATH,
          by(constant('c'), { remote_address: {} }, { destination_cluster: {} }, { source_cluster: {} }),
          by(header('x-missing', 'm')),
          by({ header_value_match: { descriptor_value: 'v', headers: [{ name: 'x-a', present_match: true }] } }),
        ],
      },
    },
    asks: [ask('/ok')],
  },
  {
    name: 'stages',
    filters: [filter({ stage: 1 })],
    route: limits({
      rate_limits: [
        { ...by(constant('zero')), stage: 0 },
        { ...PATH, stage: 1 },
      ],
    }),
    asks: [ask('/ok')],
  },
  { name: 'of the host', filters: [filter()], host: { rate_limits: [PATH] }, asks: [ask('/ok')] },
  {
    name: 'of the route, not of the host',
    filters: [filter()],
    host: { rate_limits: [by(constant('host'))] },
    route: limits(),
    asks: [ask('/ok')],
  },
  {
    name: 'of the route and of the host',
    filters: [filter()],
    host: { rate_limits: [by(constant('host'))] },
    route: limits({ include_vh_rate_limits: true }),
    asks: [ask('/ok')],
  },
  {
    name: 'when to come again, not enforced',
    filters: [filter({ enable_retry_after_header: true, filter_enforced: always(0) })],
    route: limits(),
    asks: ['/refused'].map(ask),
  },
  ...['OVERRIDE', 'INCLUDE', 'IGNORE'].flatMap((vh_rate_limits) => [
    {
      name: `${vh_rate_limits} with limits of the route`,
      filters: [filter()],
      host: { rate_limits: [by(constant('host'))] },
      route: limits({}, perRoute({ vh_rate_limits })),
      asks: [ask('/ok')],
    },
    {
      name: `${vh_rate_limits} without`,
      filters: [filter()],
      host: { rate_limits: [PATH] },
      route: { route: { cluster: 'origin' }, ...perRoute({ vh_rate_limits }) },
      asks: [ask('/ok')],
    },
  ]),
  {
    name: 'a domain and limits of the route',
    filters: [filter({ rate_limits: [by(constant('filter'))] })],
    route: limits({}, perRoute({ domain: 'other', rate_limits: [PATH, by(constant('route'))] })),
    asks: [ask('/ok')],
  },
  {
    name: 'limits of the filter',
    filters: [filter({ rate_limits: [PATH] })],
    route: limits({ rate_limits: [by(constant('route'))] }),
    asks: [ask('/ok')],
  },
  {
    name: 'before a redirect',
    filters: [filter()],
    route: { redirect: { path_redirect: '/b' } },
    asks: [ask('/over')],
  },
  {
    name: 'where no route matches',
    filters: [filter()],
    host: { rate_limits: [PATH] },
    route: { match: { prefix: '/only' }, route: { cluster: 'origin' } },
    asks: [ask('/over')],
  },
  {
    name: 'external requests',
    filters: [filter({ request_type: 'external' })],
    route: limits(),
    asks: [ask('/over')],
  },
  { name: 'disabled', filters: [{ ...filter(), disabled: true }], route: limits(), asks: [ask('/over')] },
]

const TOLD = [
  'grpc-status',
  'content-type',
  'x-limit',
  'x-path',
  'x-route',
  'x-told',
  'x-asked',
  'x-envoy-ratelimited',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'retry-after',
]
const one = (value: string | string[] | undefined): string | undefined => value && String(value).replaceAll(', ', ',')
/** Words of a 404 are each one's own. */
const facts = ({ told: { status: code, headers, body }, saw }: Compared): unknown => ({
  status: code,
  body: code === 404 && !('x-asked' in headers) ? '' : body,
  told: Object.fromEntries(TOLD.map((name) => [name, code === 404 ? '' : one(headers[name])])),
  saw: saw && [saw.url, one(saw.headers['x-a']), saw.headers['x-new']],
})

test('the same questions, the same refusals', async (t) => {
  const port = await startLimitService(t)
  const [down] = await freePorts(1)
  const h2 = {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  }
  const clusters = (['limits', 'down'] as const).map((name) => {
    const at = name === 'limits' ? port : down!
    return {
      envoy: staticCluster(name, at, h2),
      ours: cluster([endpoint('127.0.0.1', at)], { name, protocol: 'http2' }),
    }
  })
  await compareRows(t, ROWS, { facts, clusters })
})
