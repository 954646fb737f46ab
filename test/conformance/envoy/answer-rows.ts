/** Listeners, routes and requests for which Envoy and meshlet must give the same answer. */
import type { JsonObject } from '@bufbuild/protobuf'
import { FILTER_ROWS } from '../../helpers/control-plane/route-filters.ts'
import type { Ask, Codec } from '../../protocols/http/both.ts'
import type { ListenerRow } from './rows/listener-of.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const header = (name: string, exact: string, more: JsonObject = {}): JsonObject => ({
  header: { name, string_match: { exact }, ...more },
})
const rbac = (action: string, permission: JsonObject): JsonObject => ({
  typed_per_filter_config: {
    'envoy.filters.http.rbac': {
      '@type': type('extensions.filters.http.rbac.v3.RBACPerRoute'),
      rbac: { rules: { action, policies: { p: { permissions: [permission], principals: [{ any: true }] } } } },
    },
  },
})
const typed = (config: JsonObject | undefined): JsonObject => (config ? { typed_per_filter_config: config } : {})
export const forward = (more: JsonObject = {}): JsonObject => ({ route: { cluster: 'origin', ...more } })
const grpc: Ask = { method: 'POST', path: '/hang', body: 'x', fields: [['content-type', 'application/grpc']] }
const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

export type Row = ListenerRow & {
  readonly ask: Ask
  readonly only?: Codec
}
/** The virtual host is named after its row. */
export const ROWS: readonly Row[] = [
  ...[['0', '1'], ['1', '0'], ['1', '1'], ['1,0'], ['0,1'], ['0'], []].flatMap((values): Row[] =>
    ['DENY', 'ALLOW'].flatMap((action): Row[] =>
      [false, true].map((invert) => ({
        name: `${action}${invert ? '-not' : ''}-${values.join('-').replace(',', 'c')}-x`,
        host: rbac(action, header('x', '1', { invert_match: invert })),
        ask: { fields: values.map((v) => ['x', v] as const) },
      })),
    ),
  ),
  {
    name: 'unicode-value',
    host: rbac('DENY', header('x-user', 'jürgen')),
    ask: { fields: [['x-user', utf8('jürgen')]] },
  },
  { name: 'latin1-value', host: rbac('DENY', header('x-user', 'jürgen')), ask: { fields: [['x-user', 'j\xfcrgen']] } },
  {
    name: 'ignoring-case',
    host: rbac('DENY', { header: { name: 'x-user', string_match: { exact: 'JÜRGEN', ignore_case: true } } }),
    ask: { fields: [['x-user', utf8('jürgen')]] },
  },
  { name: 'deny-post', host: rbac('DENY', header(':method', 'POST')), ask: { method: 'post' }, only: 'http1' },
  { name: 'fragment', ask: { path: '/a#b' } },
  { name: 'dots', ask: { path: '/a/../b' } },
  { name: 'slashes', ask: { path: '/a//b' } },
  { name: 'nul', ask: { path: '/%00' } },
  { name: 'escaped-slash', ask: { path: '/a%2fb' } },
  { name: 'raw-path', ask: { path: utf8('/grün') }, only: 'http1' },
  ...['"', '<', '>', '^', '`', '{', '|', '}'].map((c): Row => ({
    name: `odd-${c.charCodeAt(0)}`,
    ask: { path: `/a${c}b` },
  })),
  ...['REJECT_REQUEST', 'UNESCAPE_AND_FORWARD', 'UNESCAPE_AND_REDIRECT'].flatMap((action): Row[] =>
    [true, false].flatMap((normalize): Row[] =>
      ['/a%2fb', '/a%5Cb', '/a%2F..%2fb', '/a?x=%2f'].map((path, i) => ({
        name: `${action.toLowerCase().replaceAll('_', '-')}-${normalize}-${i}`,
        listener: { path_with_escaped_slashes_action: action, normalize_path: normalize },
        ask: { path },
      })),
    ),
  ),
  ...[
    '%START_TIME(%Y-%m-%d %a %b %y)%',
    '%ROUTE_NAME%',
    '%UPSTREAM_CLUSTER%',
    '%RESPONSE_CODE%',
    '%REQUEST_HEADER(x-z)%',
    '%DOWNSTREAM_PEER_URI_SAN%',
    '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%',
  ].map((value, i): Row => ({
    name: `says-${i}`,
    route: { ...forward(), request_headers_to_add: [{ header: { key: 'x', value: `<${value}>` } }] },
    ask: { fields: [['x-z', '1']] },
  })),
  {
    name: 'client-of-hops',
    listener: { use_remote_address: true, xff_num_trusted_hops: 1 },
    route: { ...forward(), request_headers_to_add: [{ header: { key: 'x', value: '%DOWNSTREAM_REMOTE_ADDRESS%' } }] },
    ask: { fields: [['x-forwarded-for', '9.9.9.9']] },
  },
  ...[80, 443].map((port): Row => ({
    name: `redirect-port-${port}`,
    route: { redirect: { https_redirect: true, port_redirect: port } },
    ask: {},
  })),
  ...(
    [
      { name: 'timeout-says', route: forward({ timeout: '0.2s' }), ask: { path: '/hang' } },
      { name: 'refused-says', host: rbac('DENY', { any: true }), ask: {} },
      { name: 'tls-says', host: { require_tls: 'ALL' }, ask: {} },
      {
        name: 'no-cluster-says',
        table: { validate_clusters: false },
        route: { route: { cluster: 'nobody' } },
        ask: {},
      },
      { name: 'fault-says', filters: [FILTER_ROWS.find((r) => r.name === 'a fault')!.filters[0]!], ask: {} },
      { name: 'grpc-says', host: rbac('DENY', { any: true }), ask: grpc },
    ] satisfies Row[]
  ).map((row: Row): Row => ({
    ...row,
    host: { ...row.host, response_headers_to_add: [{ header: { key: 'r', value: '1' } }] },
  })),
  {
    name: 'upgrade-says',
    host: { response_headers_to_add: [{ header: { key: 'r', value: '1' } }] },
    ask: {
      fields: [
        ['connection', 'upgrade'],
        ['upgrade', 'websocket'],
      ],
    },
    only: 'http1',
  },
  ...[
    {},
    { use_remote_address: true },
    { xff_num_trusted_hops: 1 },
    { use_remote_address: true, xff_num_trusted_hops: 1 },
  ].flatMap((more, i): Row[] =>
    [[], ['99']].map((values) => ({
      name: `forwarded-port-${i}-${values.length}`,
      listener: { append_x_forwarded_port: true, ...more },
      ask: { fields: values.map((v) => ['x-forwarded-port', v] as const) },
    })),
  ),
  {
    name: 'redirect-capital',
    route: { redirect: { path_redirect: '/p' } },
    ask: { fields: [['x-forwarded-proto', 'HTTPS']] },
    only: 'http1',
  },
  { name: 'tls-capital', host: { require_tls: 'ALL' }, ask: { fields: [['x-forwarded-proto', 'HTTPS']] } },
  { name: 'any-port', listener: { strip_any_host_port: true }, ask: { authority: 'any-port:8080' } },
  { name: 'other-port', listener: { strip_matching_host_port: true }, ask: { authority: 'other-port:1' } },
  { name: 'dot', listener: { strip_trailing_host_dot: true }, ask: { authority: 'dot.' } },
  {
    name: 'dot-port',
    listener: { strip_trailing_host_dot: true, strip_any_host_port: true },
    ask: { authority: 'dot-port.:1' },
  },
  {
    name: 'underscore-drop',
    listener: { common_http_protocol_options: { headers_with_underscores_action: 'DROP_HEADER' } },
    ask: {
      fields: [
        ['x_y', '1'],
        ['x-z', '1'],
      ],
    },
  },
  {
    name: 'underscore-refuse',
    listener: { common_http_protocol_options: { headers_with_underscores_action: 'REJECT_REQUEST' } },
    ask: { fields: [['x_y', '1']] },
    only: 'http1',
  },
  { name: 'tls-all', host: { require_tls: 'ALL' }, ask: { path: '/x?y' } },
  { name: 'tls-external', host: { require_tls: 'EXTERNAL_ONLY' }, ask: { path: '/x' } },
  {
    name: 'tls-before',
    host: { require_tls: 'ALL' },
    ask: { fields: [['x-forwarded-proto', 'https']] },
    only: 'http1',
  },
  {
    name: 'tls-edge',
    listener: { use_remote_address: true },
    host: { require_tls: 'ALL' },
    ask: { fields: [['x-forwarded-proto', 'https']] },
  },
  { name: 'redirect', route: { redirect: { path_redirect: '/p' } }, ask: { path: '/x' } },
  {
    name: 'redirect-https',
    route: { redirect: { path_redirect: '/p' } },
    ask: { path: '/x', fields: [['x-forwarded-proto', 'https']] },
    only: 'http1',
  },
  {
    name: 'head-8k',
    listener: { max_request_headers_kb: 8 },
    ask: { fields: [['x', 'a'.repeat(9000)]] },
    only: 'http1',
  },
  {
    name: 'head-count',
    listener: { common_http_protocol_options: { max_headers_count: 5 } },
    ask: {
      fields: [
        ['a', '1'],
        ['b', '1'],
        ['c', '1'],
        ['d', '1'],
        ['e', '1'],
      ],
    },
    only: 'http1',
  },
  ...(
    [
      { name: 'timeout', route: forward({ timeout: '0.2s' }) },
      {
        name: 'per-try',
        route: forward({ timeout: '5s', retry_policy: { retry_on: 'reset', num_retries: 0, per_try_timeout: '0.2s' } }),
      },
      { name: 'idle', route: forward({ timeout: '0s', idle_timeout: '0.2s' }) },
      { name: 'duration', route: forward({ timeout: '0s', max_stream_duration: { max_stream_duration: '0.2s' } }) },
      {
        name: 'listener-duration',
        listener: { common_http_protocol_options: { max_stream_duration: '0.2s' } },
        route: forward({ timeout: '0s' }),
      },
    ] satisfies Omit<Row, 'ask'>[]
  ).flatMap((row): Row[] => [
    { ...row, ask: { path: '/hang' } },
    { ...row, name: `${row.name}-grpc`, ask: grpc },
  ]),
  {
    name: 'grpc-timeout',
    route: forward({ timeout: '0s', max_stream_duration: { grpc_timeout_header_max: '0s' } }),
    ask: { ...grpc, fields: [...grpc.fields!, ['grpc-timeout', '200m']] },
  },
  {
    name: 'grpc-timeout-max',
    route: forward({ timeout: '0s', max_stream_duration: { grpc_timeout_header_max: '0.2s' } }),
    ask: { ...grpc, fields: [...grpc.fields!, ['grpc-timeout', '9S']] },
  },
  {
    name: 'grpc-older',
    route: forward({ max_grpc_timeout: '0s' }),
    ask: { ...grpc, fields: [...grpc.fields!, ['grpc-timeout', '200m']] },
  },
  ...[200, 404, 429, 500, 503].map((status): Row => ({
    name: `direct-${status}`,
    route: { direct_response: { status, body: { inline_string: 'no' } } },
    ask: grpc,
  })),
  { name: 'redirect-grpc', route: { redirect: { host_redirect: 'b' } }, ask: grpc },
  ...FILTER_ROWS.map(({ name, filters, table, host, route }): Row => ({
    name: name.replace(/\W+/g, '-'),
    filters,
    ask: {},
    table: typed(table),
    host: typed(host),
    route: { ...forward(), ...typed(route) },
  })),
  ...Object.entries({
    present: { present_match: true },
    absent: { present_match: false },
    any: {},
    empty: { string_match: { exact: '' } },
  }).flatMap(([name, match]): Row[] =>
    [[], ['']].flatMap((values): Row[] =>
      [false, true].flatMap((invert): Row[] =>
        [false, true].map((missing) => ({
          name: `${name}${invert ? '-not' : ''}${missing ? '-or-missing' : ''}-${values.length}`,
          host: rbac('DENY', {
            header: { name: 'x', ...match, invert_match: invert, treat_missing_header_as_empty: missing },
          }),
          ask: { fields: values.map((v) => ['x', v] as const) },
        })),
      ),
    ),
  ),
  ...['APPEND_IF_EXISTS_OR_ADD', 'ADD_IF_ABSENT', 'OVERWRITE_IF_EXISTS_OR_ADD', 'OVERWRITE_IF_EXISTS'].flatMap(
    (action): Row[] =>
      [[], ['1'], ['1', '2']].map((values) => ({
        name: `add-${action.toLowerCase().replaceAll('_', '-')}-${values.length}`,
        route: {
          ...forward(),
          request_headers_to_add: [{ header: { key: 'x', value: 'new' }, append_action: action }],
        },
        ask: { fields: values.map((v) => ['x', v] as const) },
      })),
  ),
  {
    name: 'keep-empty',
    route: {
      ...forward(),
      request_headers_to_add: [
        { header: { key: 'x-z', value: '%REQ(no)%' }, keep_empty_value: true },
        { header: { key: 'x', value: '%REQ(no)%' } },
      ],
    },
    ask: {},
  },
  { name: 'refused-grpc', host: rbac('DENY', { any: true }), ask: grpc },
]
