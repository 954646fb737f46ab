/** Local rate limits: who passes, who is refused, and what both are told. */
import { test } from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Ask } from '../../../protocols/http/both.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const NAME = 'envoy.filters.http.local_ratelimit'
const TYPE = type('extensions.filters.http.local_ratelimit.v3.LocalRateLimit')
const ALWAYS = { default_value: { numerator: 100 } }
const NEVER = { default_value: { numerator: 0 } }
/** In the time of a test nothing comes back. */
const bucket = (tokens: number): JsonObject => ({ max_tokens: tokens, tokens_per_fill: 1, fill_interval: '3600s' })
const limit = (tokens: number | undefined, more: JsonObject = {}): JsonObject => ({
  '@type': TYPE,
  stat_prefix: 'x',
  ...(tokens !== undefined && { token_bucket: bucket(tokens) }),
  filter_enabled: ALWAYS,
  filter_enforced: ALWAYS,
  ...more,
})
const filter = (config: JsonObject): JsonObject => ({ name: NAME, typed_config: config })
const add = (key: string, value: string, more: JsonObject = {}): JsonObject => ({ header: { key, value }, ...more })
const times = (n: number, ask: Ask = {}): Ask[] => Array.from({ length: n }, () => ask)
const by = (...actions: JsonObject[]): JsonObject => ({ actions })
const descriptor = (entries: Record<string, string>, tokens: number, more: JsonObject = {}): JsonObject => ({
  entries: Object.entries(entries).map(([key, value]) => ({ key, value })),
  token_bucket: bucket(tokens),
  ...more,
})
const routed = (route: JsonObject): JsonObject => ({ route: { cluster: 'origin', ...route } })
const header = (name: string, key: string, more: JsonObject = {}): JsonObject => ({
  request_headers: { header_name: name, descriptor_key: key, ...more },
})
const user = (name: string): Ask => ({ fields: [['x-user', name]] })
const grpc: Ask = { method: 'POST', body: 'x', fields: [['content-type', 'application/grpc']] }

const ROWS: readonly Row[] = [
  { name: 'two pass', filters: [filter(limit(2))], asks: times(4) },
  { name: 'gRPC is UNAVAILABLE', filters: [filter(limit(1))], asks: times(2, grpc) },
  {
    name: 'gRPC is RESOURCE_EXHAUSTED',
    filters: [filter(limit(1, { rate_limited_as_resource_exhausted: true }))],
    asks: times(2, grpc),
  },
  {
    name: 'as a TypedStruct',
    filters: [
      filter({
        '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
        type_url: TYPE,
        value: {
          stat_prefix: 'x',
          token_bucket: { max_tokens: 2, tokens_per_fill: 2, fill_interval: '3600s' },
          filter_enabled: { runtime_key: 'a', default_value: { numerator: 100, denominator: 'HUNDRED' } },
          filter_enforced: { runtime_key: 'b', default_value: { numerator: 100, denominator: 'HUNDRED' } },
          response_headers_to_add: [
            { append_action: 'OVERWRITE_IF_EXISTS_OR_ADD', header: { key: 'x-local-rate-limit', value: 'true' } },
          ],
        },
      }),
    ],
    asks: times(3),
  },
  {
    name: 'headers of a refusal',
    filters: [
      filter(
        limit(1, {
          response_headers_to_add: [
            add('x-limit', 'yes'),
            add('x-path', '%REQ(:path)%'),
            add('content-type', 'text/html', { append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }),
          ],
        }),
      ),
    ],
    route: { response_headers_to_add: [add('x-route', 'r')], route: { cluster: 'origin' } },
    asks: times(2, { path: '/p?q' }),
  },
  ...[0, 200, 404, 503, 511].map((code) => ({
    name: `status ${code}`,
    filters: [filter(limit(1, code === 0 ? {} : { status: { code } }))],
    asks: times(2),
  })),
  {
    name: 'not enabled by default',
    filters: [filter({ '@type': TYPE, stat_prefix: 'x', token_bucket: bucket(1) })],
    asks: times(3),
  },
  { name: 'never enabled', filters: [filter(limit(1, { filter_enabled: NEVER }))], asks: times(3) },
  {
    name: 'not enforced',
    filters: [
      filter(
        limit(1, {
          filter_enforced: NEVER,
          request_headers_to_add_when_not_enforced: [add('x-over', 'yes'), add('x-user', 'b')],
          response_headers_to_add: [add('x-limit', 'yes')],
        }),
      ),
    ],
    asks: times(3, user('a')),
  },
  {
    name: 'what is left',
    filters: [filter(limit(3, { enable_x_ratelimit_headers: 'DRAFT_VERSION_03' }))],
    asks: times(5),
  },
  { name: 'retry-after', filters: [filter(limit(1, { enable_retry_after_header: true }))], asks: times(2) },
  {
    name: 'retry-after of another status',
    filters: [filter(limit(1, { enable_retry_after_header: true, status: { code: 503 } }))],
    asks: times(2),
  },
  {
    name: 'retry-after that is there',
    filters: [
      filter(limit(1, { enable_retry_after_header: true, response_headers_to_add: [add('retry-after', '7')] })),
    ],
    asks: times(2),
  },
  {
    name: 'by connection',
    filters: [filter(limit(1, { local_rate_limit_per_downstream_connection: true }))],
    asks: times(3),
  },
  ...[{}, { always_consume_default_token_bucket: false }].map((more, i) => ({
    name: `descriptors of a route ${i}`,
    filters: [filter(limit(4, { descriptors: [descriptor({ user: 'a' }, 2)], ...more }))],
    route: routed({ rate_limits: [by(header('x-user', 'user'))] }),
    asks: [...times(3, user('a')), ...times(3, user('b')), ...times(2)],
  })),
  {
    name: 'descriptors without a default bucket',
    filters: [filter(limit(undefined, { descriptors: [descriptor({ user: 'a' }, 1)] }))],
    route: routed({ rate_limits: [by(header('x-user', 'user'))] }),
    asks: [...times(2, user('b')), ...times(2, user('a'))],
  },
  ...(['override', 'include', 'ignore'] as const).flatMap((how) =>
    [true, false].flatMap((hasRoute) =>
      [true, false].map((includes) => ({
        name: `host ${how}, ${hasRoute ? 'route' : 'no route'}, ${includes}`,
        filters: [
          filter(
            limit(9, {
              vh_rate_limits: how.toUpperCase(),
              descriptors: [descriptor({ host: 'h' }, 1), descriptor({ route: 'r' }, 2)],
            }),
          ),
        ],
        host: { rate_limits: [by({ generic_key: { descriptor_key: 'host', descriptor_value: 'h' } })] },
        route: routed({
          include_vh_rate_limits: includes,
          ...(hasRoute && {
            rate_limits: [by({ generic_key: { descriptor_key: 'route', descriptor_value: 'r' } })],
          }),
        }),
        asks: times(4),
      })),
    ),
  ),
  {
    name: 'rules of the filter',
    filters: [
      filter(
        limit(9, {
          rate_limits: [by(header('x-user', 'user'), { generic_key: { descriptor_value: 'k' } })],
          descriptors: [descriptor({ user: 'a', generic_key: 'k' }, 1), descriptor({ user: 'b' }, 1)],
        }),
      ),
    ],
    route: routed({ rate_limits: [by(header('x-user', 'user'))] }),
    asks: [...times(2, user('a')), ...times(2, user('b'))],
  },
  {
    name: 'rules of a stage',
    filters: [filter(limit(9, { stage: 1, descriptors: [descriptor({ user: 'a' }, 1)] }))],
    route: routed({ rate_limits: [by(header('x-user', 'user')), { stage: 1, ...by(header('x-other', 'user')) }] }),
    asks: [...times(2, user('a')), ...times(2, { fields: [['x-other', 'a']] })],
  },
  {
    name: 'hits',
    filters: [
      filter(
        limit(9, {
          enable_x_ratelimit_headers: 'DRAFT_VERSION_03',
          descriptors: [descriptor({ user: 'a' }, 5), descriptor({ user: 'b' }, 5)],
          rate_limits: [{ ...by(header('x-user', 'user')), hits_addend: { number: 3 } }],
        }),
      ),
    ],
    asks: ['a', 'a', 'b', 'c'].map(user),
  },
  {
    name: 'hits that give back',
    filters: [
      filter(
        limit(9, {
          enable_x_ratelimit_headers: 'DRAFT_VERSION_03',
          descriptors: [descriptor({ user: 'a' }, 2)],
          rate_limits: [
            by(header('x-user', 'user')),
            { ...by(header('x-back', 'user')), hits_addend: { number: 1, is_negative_hits: true } },
          ],
        }),
      ),
    ],
    asks: [user('a'), user('a'), { fields: [['x-back', 'a']] }, user('a'), user('a')],
  },
  ...['DRAFT_VERSION_03', 'OFF'].flatMap((x_ratelimit_option) =>
    ['DRAFT_VERSION_03', 'OFF'].map((enable_x_ratelimit_headers) => ({
      name: `what is left ${x_ratelimit_option} of ${enable_x_ratelimit_headers}`,
      filters: [filter(limit(2, { enable_x_ratelimit_headers, descriptors: [descriptor({ user: 'a' }, 1)] }))],
      route: routed({ rate_limits: [{ ...by(header('x-user', 'user')), x_ratelimit_option }] }),
      asks: ['a', 'a', 'b', 'b'].map(user),
    })),
  ),
  {
    name: 'a rule with a disable key',
    filters: [filter(limit(9, { rate_limits: [], descriptors: [descriptor({ user: 'a' }, 1)] }))],
    route: routed({ rate_limits: [by(header('x-user', 'user'))] }),
    asks: times(2, user('a')),
  },
  ...(
    [
      [
        'header, several',
        header('x-user', 'k'),
        'a',
        {
          fields: [
            ['x-user', 'a'],
            ['x-user', 'b'],
          ],
        },
      ],
      [
        'header, several joined',
        header('x-user', 'k'),
        'a,b',
        {
          fields: [
            ['x-user', 'a'],
            ['x-user', 'b'],
          ],
        },
      ],
      ['path', header(':path', 'k'), '/a?b', { path: '/a?b' }],
      ['method', header(':method', 'k'), 'GET', {}],
      ['header, lacking', header('x-user', 'k', { skip_if_absent: true }), 'a', {}],
      ['query', { query_parameters: { query_parameter_name: 'q', descriptor_key: 'k' } }, '1', { path: '/?q=1&q=2' }],
      [
        'query, encoded',
        { query_parameters: { query_parameter_name: 'q', descriptor_key: 'k' } },
        '%61',
        { path: '/?q=%61' },
      ],
      [
        'query, decoded',
        { query_parameters: { query_parameter_name: 'q', descriptor_key: 'k' } },
        'a',
        { path: '/?q=%61' },
      ],
      ['query, empty', { query_parameters: { query_parameter_name: 'q', descriptor_key: 'k' } }, '', { path: '/?q' }],
      [
        'header match',
        {
          header_value_match: {
            descriptor_key: 'k',
            descriptor_value: 'v',
            headers: [{ name: 'x-user', string_match: { prefix: 'a' } }],
          },
        },
        'v',
        user('ab'),
      ],
      [
        'header match not',
        {
          header_value_match: {
            descriptor_key: 'k',
            descriptor_value: 'v',
            expect_match: false,
            headers: [{ name: 'x-user', string_match: { prefix: 'a' } }],
          },
        },
        'v',
        user('b'),
      ],
      [
        'query match, encoded',
        {
          query_parameter_value_match: {
            descriptor_key: 'k',
            descriptor_value: 'v',
            query_parameters: [{ name: 'q', string_match: { exact: 'a b' } }],
          },
        },
        'v',
        { path: '/?%71=a%20b' },
      ],
      [
        'query match',
        {
          query_parameter_value_match: {
            descriptor_key: 'k',
            descriptor_value: 'v',
            query_parameters: [{ name: 'q', string_match: { exact: '1' } }],
          },
        },
        'v',
        { path: '/?q=1' },
      ],
    ] as readonly (readonly [string, JsonObject, string, Ask])[]
  ).map(([name, action, value, ask]) => ({
    name: `action ${name}`,
    filters: [filter(limit(9, { descriptors: [descriptor({ k: value }, 1)] }))],
    route: routed({ rate_limits: [by(action)] }),
    asks: times(3, ask),
  })),
  ...(
    [
      ['remote_address', '127.0.0.1', { remote_address: {} }],
      ['masked_remote_address', '127.0.0.1/32', { masked_remote_address: {} }],
      ['masked_remote_address', '127.0.0.0/9', { masked_remote_address: { v4_prefix_mask_len: 9 } }],
      ['destination_cluster', 'origin', { destination_cluster: {} }],
      ['header_match', 'v', { header_value_match: { descriptor_value: 'v', headers: [{ name: ':path' }] } }],
      [
        'query_match',
        'v',
        { query_parameter_value_match: { descriptor_value: 'v', query_parameters: [{ name: 'q' }] } },
      ],
    ] as readonly (readonly [string, string, JsonObject])[]
  ).map(([key, value, action]) => ({
    name: `key ${key} ${value}`,
    filters: [filter(limit(9, { descriptors: [descriptor({ [key]: value }, 1)] }))],
    route: routed({ rate_limits: [by(action)] }),
    asks: times(2, { path: '/?q=1' }),
  })),
  {
    name: 'any value has a bucket of its own, the last two are kept',
    filters: [
      filter(
        limit(9, {
          max_dynamic_descriptors: 2,
          rate_limits: [by(header('x-user', 'user'))],
          descriptors: [descriptor({ user: '' }, 1)],
          always_consume_default_token_bucket: false,
        }),
      ),
    ],
    asks: ['a', 'a', 'b', 'b', 'a', 'c', 'b', 'b', 'a'].map(user),
  },
  {
    name: 'a descriptor in shadow',
    filters: [
      filter(
        limit(3, {
          rate_limits: [by(header('x-user', 'user'))],
          descriptors: [descriptor({ user: 'a' }, 1, { shadow_mode: true })],
          enable_x_ratelimit_headers: 'DRAFT_VERSION_03',
        }),
      ),
    ],
    asks: times(5, user('a')),
  },
  {
    name: 'two descriptors, the slower one first',
    filters: [
      filter(
        limit(9, {
          rate_limits: [by(header('x-user', 'user')), by(header('x-group', 'group'))],
          descriptors: [
            {
              ...descriptor({ user: 'a' }, 3),
              token_bucket: { max_tokens: 3, tokens_per_fill: 9, fill_interval: '36000s' },
            },
            {
              ...descriptor({ group: 'g' }, 1),
              token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: '36000s' },
            },
          ],
          enable_x_ratelimit_headers: 'DRAFT_VERSION_03',
        }),
      ),
    ],
    asks: [
      ...times(3, {
        fields: [
          ['x-user', 'a'],
          ['x-group', 'g'],
        ],
      }),
      ...times(3, user('a')),
    ],
  },
  {
    name: 'of a route, in place of the filter',
    filters: [filter(limit(3))],
    route: {
      route: { cluster: 'origin' },
      typed_per_filter_config: {
        [NAME]: limit(1, { status: { code: 423 }, enable_x_ratelimit_headers: 'DRAFT_VERSION_03' }),
      },
    },
    asks: times(3),
  },
  {
    name: 'of a host',
    filters: [filter({ '@type': TYPE, stat_prefix: 'x' })],
    host: { typed_per_filter_config: { [NAME]: limit(1) } },
    asks: times(3),
  },
  {
    name: 'before a redirect',
    filters: [filter(limit(1, { enable_x_ratelimit_headers: 'DRAFT_VERSION_03' }))],
    route: { redirect: { path_redirect: '/b' } },
    asks: times(2),
  },
  {
    name: 'where no route matches',
    filters: [filter(limit(1))],
    route: { match: { prefix: '/only' }, route: { cluster: 'origin' } },
    asks: times(2),
  },
]

const TOLD = [
  'grpc-status',
  'grpc-message',
  'content-type',
  'x-limit',
  'x-path',
  'x-route',
  'x-local-rate-limit',
  'retry-after',
]
const RATES = ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-envoy-ratelimited']
/** Words of a 404 are each one's own. */
const facts = ({ told: { status, headers, body }, saw }: Compared): unknown => ({
  status,
  body: status === 404 ? '' : body,
  told: Object.fromEntries([...TOLD, ...RATES].map((name) => [name, status === 404 ? '' : headers[name]])),
  // Between two looks a second may have begun.
  reset: headers['x-ratelimit-reset'] && Math.round(Number(headers['x-ratelimit-reset']) / 60),
  saw: saw && { url: saw.url, over: saw.headers['x-over'], user: saw.headers['x-user'] },
})

test('the same requests, the same limits', (t) => compareRows(t, ROWS, { facts }))
