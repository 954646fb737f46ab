/** Envoy and meshlet with the same listener and its access logs, asked the same: the same lines. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import type { LogTarget } from '../../../model/access-log/access-log.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { Lines } from '../../protocols/access-lines.ts'
import { askAt, Both, type Ask } from '../../protocols/http/both.ts'
import { cluster, endpoint } from '../../protocols/http/harness.ts'
import { staticCluster } from '../package/shipped.ts'
import { sleep, temporaryFolder } from '../programs.ts'
import { startStaticEnvoy } from './envoy.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** Those whose value is the same whoever serves. */
const OPERATORS = [
  'ACCESS_LOG_TYPE',
  'BYTES_RECEIVED',
  'CONNECTION_TERMINATION_DETAILS',
  'DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT',
  'DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT',
  'DOWNSTREAM_LOCAL_URI_SAN',
  'DOWNSTREAM_PEER_DNS_SAN',
  'DOWNSTREAM_PEER_FINGERPRINT_256',
  'DOWNSTREAM_PEER_SUBJECT',
  'DOWNSTREAM_PEER_URI_SAN',
  'DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT',
  'DOWNSTREAM_TLS_VERSION',
  'FILTER_CHAIN_NAME',
  'GRPC_STATUS',
  'GRPC_STATUS(SNAKE_STRING)',
  'GRPC_STATUS(NUMBER)',
  'GRPC_STATUS_NUMBER',
  'LOCAL_REPLY_BODY',
  'PROTOCOL',
  'REQUESTED_SERVER_NAME',
  'RESPONSE_CODE',
  'RESPONSE_CODE_DETAILS',
  'RESPONSE_FLAGS',
  'RESPONSE_FLAGS_LONG',
  'ROUTE_NAME',
  'STREAM_ID',
  'TRACE_ID',
  'SPAN_ID',
  'UPSTREAM_CLUSTER',
  'UPSTREAM_CLUSTER_RAW',
  'UPSTREAM_HOST',
  'UPSTREAM_HOST_NAME',
  'UPSTREAM_HOST_NAME_WITHOUT_PORT',
  'UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT',
  'UPSTREAM_PEER_SUBJECT',
  'UPSTREAM_PEER_URI_SAN',
  'UPSTREAM_PROTOCOL',
  'UPSTREAM_REMOTE_ADDRESS',
  'UPSTREAM_REMOTE_PORT',
  'UPSTREAM_REQUEST_ATTEMPT_COUNT',
  'UPSTREAM_TRANSPORT_FAILURE_REASON',
  'VIRTUAL_CLUSTER_NAME',
  'REQ(:METHOD)',
  'REQ(:PATH)',
  'REQ(PATH)',
  'REQ(:AUTHORITY)',
  'REQ(HOST)',
  'REQ(:SCHEME)',
  'REQ(X-Q):4',
  'REQ(X-Q)',
  'REQ(NONE?X-Q)',
  'REQ(X-ENVOY-ORIGINAL-PATH?:PATH)',
  'RESP(X-A)',
  'RESP(:STATUS)',
  'TRAILER(GRPC-STATUS)',
  'DYNAMIC_METADATA(a:b)',
  'FILTER_STATE(a:PLAIN)',
  'QUERY_PARAM(q)',
  'PATH(NQ)',
  'PATH(WQ:PATH)',
]
const listed = Object.fromEntries(OPERATORS.map((name, i) => [`${String(i).padStart(2, '0')} ${name}`, `%${name}%`]))
const nested: JsonObject = {
  z: { b: '%RESPONSE_CODE%', a: ['%RESPONSE_CODE%', '%REQ(none)%', 'x', { y: '%REQ(none)%' }] },
  w: ['%REQ(none)%'],
  v: { y: '%REQ(none)%' },
  mixed: 'a %REQ(none)% %RESPONSE_CODE% %%',
  plain: 'text',
  empty: '',
  q: '%REQ(X-Q)%',
  number: 7,
  yes: true,
}
const FORMATS: Readonly<Record<string, JsonObject | undefined>> = {
  default: undefined,
  text: { text_format_source: { inline_string: `${OPERATORS.map((name) => `%${name}%`).join('|')}\n` } },
  'text without empty values': {
    text_format_source: { inline_string: `${OPERATORS.map((name) => `%${name}%`).join('|')}\n` },
    omit_empty_values: true,
  },
  json: { json_format: listed },
  'json without empty values': { json_format: listed, omit_empty_values: true },
  nested: { json_format: nested },
  'nested without empty values': { json_format: nested, omit_empty_values: true },
}
const cel = (expression: string): JsonObject => ({
  extension_filter: {
    name: 'cel',
    typed_config: { '@type': type('extensions.access_loggers.filters.cel.v3.ExpressionFilter'), expression },
  },
})
const FILTERS: Readonly<Record<string, JsonObject>> = {
  status: { status_code_filter: { comparison: { op: 'GE', value: { default_value: 400, runtime_key: 'k' } } } },
  'not status': { status_code_filter: { comparison: { op: 'NE', value: { default_value: 404, runtime_key: 'k' } } } },
  fast: { duration_filter: { comparison: { op: 'LE', value: { default_value: 60_000, runtime_key: 'k' } } } },
  slow: { duration_filter: { comparison: { op: 'GE', value: { default_value: 60_000, runtime_key: 'k' } } } },
  health: { not_health_check_filter: {} },
  never: { runtime_filter: { runtime_key: 'k', percent_sampled: { numerator: 0 } } },
  always: { runtime_filter: { runtime_key: 'k', percent_sampled: { numerator: 100 } } },
  header: { header_filter: { header: { name: 'x-q', present_match: true } } },
  'path header': { header_filter: { header: { name: ':path', string_match: { prefix: '/p' } } } },
  flag: { response_flag_filter: { flags: ['NR', 'UH'] } },
  'any flag': { response_flag_filter: {} },
  grpc: { grpc_status_filter: { statuses: ['UNAVAILABLE', 'UNKNOWN'] } },
  'not grpc': { grpc_status_filter: { statuses: ['OK', 'UNIMPLEMENTED'], exclude: true } },
  metadata: {
    metadata_filter: {
      matcher: { filter: 'a', path: [{ key: 'b' }], value: { present_match: true } },
      match_if_key_not_found: false,
    },
  },
  both: {
    and_filter: {
      filters: [{ response_flag_filter: {} }, { header_filter: { header: { name: 'x-q', present_match: true } } }],
    },
  },
  either: {
    or_filter: {
      filters: [{ response_flag_filter: {} }, { header_filter: { header: { name: 'x-q', present_match: true } } }],
    },
  },
  type: { log_type_filter: { types: ['DownstreamEnd'] } },
  'not type': { log_type_filter: { types: ['DownstreamEnd'], exclude: true } },
  'cel code': cel('response.code >= 400'),
  'cel path': cel("request.url_path.startsWith('/p') && !has(request.referer)"),
  'cel mtls': cel('connection.mtls'),
  'cel missing': cel("request.headers['x-q'] == 'v'"),
  'cel in': cel("'x-q' in request.headers || response.code == 503"),
  'cel list': cel('response.code in [404, 418]'),
  'cel cluster': cel("xds.cluster_name == 'origin' && response.code != 503"),
  'cel method': cel("request.method == 'POST' ? request.size > 2 : request.path.contains('?')"),
  'cel flags': cel('response.flags > 0'),
  'cel matches': cel("request.path.matches('^/p.*[0-9]')"),
  'cel index': cel("request['url_path'] == '/d'"),
  'cel duration': cel("request.duration < duration('60s')"),
  'cel error': cel("request.headers['x-none'].startsWith('a') || response.code == 200"),
  'cel arithmetic': cel('response.code / 100 == 4 && response.code % 2 == 0'),
}
const ASKS: readonly Ask[] = [
  { path: '/p?q=1&x=2', fields: [['x-q', 'v']] },
  { path: '/p', fields: [['x-q', 'a"b\\c']] },
  { path: '/p/9', fields: [['x-q', '\u00c3\u00a9"']] },
  { path: '/p', fields: [['x-q', '\u00e9\\']] },
  { path: '/p', method: 'POST', body: 'four' },
  {
    path: '/rewritten/1',
    fields: [
      ['x-q', 'one'],
      ['x-q', 'two'],
    ],
  },
  { path: '/d?x' },
  { path: '/moved' },
  { path: '/gone' },
  { path: '/nobody' },
  { path: '/unknown' },
  { path: '/none', fields: [['x-q', 'v']] },
  ...['/health/here', '/health/well', '/health/missing', '/health/empty', '/p/kept', '/p/kept'].map((path) => ({
    path,
  })),
  { path: '/grpc', method: 'POST', fields: [['content-type', 'application/grpc']] },
  {
    path: '/p',
    fields: [
      ['x-request-id', 'abc'],
      ['user-agent', 'a "quoted" one'],
    ],
  },
]
const ROUTES: JsonObject[] = [
  { name: 'direct', match: { path: '/d' }, direct_response: { status: 418, body: { inline_string: 'tea' } } },
  { name: 'moved', match: { path: '/moved' }, redirect: { path_redirect: '/p' } },
  { name: 'gone', match: { path: '/gone' }, route: { cluster: 'gone' } },
  { name: 'nobody', match: { path: '/nobody' }, route: { cluster: 'nobody' } },
  { name: 'unknown', match: { path: '/unknown' }, route: { cluster: 'unknown' } },
  { name: 'rw', match: { prefix: '/rewritten' }, route: { cluster: 'origin', prefix_rewrite: '/p' } },
  { name: 'p', match: { prefix: '/p' }, route: { cluster: 'origin' } },
  { name: 'grpc', match: { prefix: '/grpc' }, route: { cluster: 'origin' } },
]

/** Health checks that the proxy answers itself, by what it knows of clusters, and by what the endpoint said before. */
const HEALTH: readonly JsonObject[] = Object.entries<JsonObject>({
  '/health/here': {},
  '/health/well': { cluster_min_healthy_percentages: { origin: { value: 100 } } },
  '/health/missing': { cluster_min_healthy_percentages: { unknown: { value: 1 } } },
  '/health/empty': { cluster_min_healthy_percentages: { nobody: { value: 1 } } },
  '/p/kept': { pass_through_mode: true, cache_time: '3600s' },
}).map(([path, config]) => ({
  name: `health ${path}`,
  typed_config: {
    '@type': type('extensions.filters.http.health_check.v3.HealthCheck'),
    headers: [{ name: ':path', string_match: { exact: path } }],
    pass_through_mode: false,
    ...config,
  },
}))

function listenerOf(port: number, log: (name: string) => string): JsonObject {
  const logs = (formats: Readonly<Record<string, JsonObject | undefined>>, of: 'format' | 'filter'): JsonObject[] =>
    Object.entries(formats).map(([name, value]) => ({
      name,
      ...(of === 'filter' && value && { filter: value }),
      typed_config: {
        '@type': type('extensions.access_loggers.file.v3.FileAccessLog'),
        path: log(name),
        ...(of === 'format' && value && { log_format: value }),
        ...(of === 'filter' && {
          log_format: { text_format_source: { inline_string: '%REQ(:PATH)% %RESPONSE_CODE%\n' } },
        }),
      },
    }))
  return {
    '@type': type('config.listener.v3.Listener'),
    name: 'l',
    traffic_direction: 'OUTBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [
      {
        name: 'c',
        filters: [
          {
            name: 'hcm',
            typed_config: {
              '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
              stat_prefix: 's',
              generate_request_id: false,
              access_log: [...logs(FORMATS, 'format'), ...logs(FILTERS, 'filter')],
              http_filters: [
                ...HEALTH,
                {
                  name: 'envoy.filters.http.router',
                  typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
                },
              ],
              route_config: {
                name: 'r',
                validate_clusters: false,
                virtual_hosts: [{ name: 'v', domains: ['*'], routes: ROUTES }],
              },
            },
          },
        ],
      },
    ],
  }
}

/** By the log's name. */
class LinesByLog extends Lines {
  readonly of = new Map<string, string[]>()
  override write(to: LogTarget, line: Buffer): boolean {
    const name = path.basename(to.kind === 'file' ? to.path : '')
    const lines = this.of.get(name) ?? []
    this.of.set(name, [...lines, line.toString('latin1')])
    return true
  }
}

/** Times are each one's own, as are the texts of what a proxy answers itself. */
const withoutTimes = (line: string): string =>
  line
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/, 'TIME')
    .replace(/^(\[TIME\] "[^"]*" \d+ \S+ \d+) (\d+) \d+ (?:\d+|-)/, (_, head: string, sent: string) => {
      return `${head} ${/ (?:404|503) \S+ \d+$/.test(head) ? 'OWN' : sent} MS MS`
    })

test('the same requests, the same lines', async (t) => {
  const folder = temporaryFolder(t)
  const originPort = await serveHttp(t, (request, response) => {
    // Envoy drops trailers of HTTP/1 unless it is told otherwise, so that the status is a header here.
    if (request.url === '/grpc') response.writeHead(200, { 'content-type': 'application/grpc', 'grpc-status': '5' })
    else response.setHeader('x-a', 'b')
    response.end('hi')
  })
  const [port, closed] = await freePorts(2)
  const file = (name: string): string => path.join(folder, name)
  const nobody = { ...staticCluster('nobody', 1), load_assignment: { cluster_name: 'nobody' } }
  const clusters = [staticCluster('origin', originPort), staticCluster('gone', closed!), nobody]
  await startStaticEnvoy(t, { listeners: [listenerOf(port!, file)], clusters }, port!, [
    '--file-flush-interval-msec',
    '20',
  ])
  const decoded = decode('listener', sample(listenerOf(port!, file)).bytes, {
    files: { permits: () => false, permitsLog: () => true },
  })
  assert.ok(decoded.ok)
  assert.deepEqual(decoded.skipped, [])
  assert.deepEqual(decoded.ignored, [])
  const { codec } = decoded.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  const lines = new LinesByLog()
  const both = await Both.start(t, codec.http, {
    accessLogs: lines,
    originPort,
    clusters: [cluster([endpoint('127.0.0.1', closed!)], { name: 'gone' }), cluster([], { name: 'nobody' })],
  })
  for (const codecName of ['http1', 'http2'] as const)
    for (const ask of ASKS) {
      await askAt(port!, codecName, ask)
      await both.ask(codecName, ask)
    }
  await sleep(500)
  const theirs = (name: string): string[] => fs.readFileSync(file(name), 'latin1').split('\n').slice(0, -1)
  for (const name of Object.keys(FORMATS))
    assert.deepEqual(
      (lines.of.get(name) ?? []).map((line) => withoutTimes(line.slice(0, -1))),
      theirs(name).map(withoutTimes),
      name,
    )
  const filtered = Object.keys(FILTERS)
  assert.deepEqual(
    Object.fromEntries(filtered.map((name) => [name, (lines.of.get(name) ?? []).map((line) => line.slice(0, -1))])),
    Object.fromEntries(filtered.map((name) => [name, theirs(name)])),
  )
})
