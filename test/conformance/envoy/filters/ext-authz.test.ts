/** ext_authz over HTTP and gRPC: what the service is asked, what its words do, and what happens when it has none. */
import { test, type TestContext } from 'node:test'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { JsonObject } from '@bufbuild/protobuf'
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import { freePorts } from '../../../../tools/free-ports.ts'
import { portOf } from '../../../helpers/raw-h2.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { staticCluster } from '../../package/shipped.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const NAME = 'envoy.filters.http.ext_authz'
const filter = (config: JsonObject): JsonObject => ({
  name: NAME,
  typed_config: {
    '@type': type('extensions.filters.http.ext_authz.v3.ExtAuthz'),
    transport_api_version: 'V3',
    ...config,
  },
})
const list = (...names: string[]): JsonObject => ({ patterns: names.map((exact) => ({ exact })) })
const overHttp = (service: JsonObject = {}, more: JsonObject = {}, to = 'auth-http'): JsonObject =>
  filter({
    http_service: { server_uri: { uri: 'http://auth.test', cluster: to, timeout: '0.25s' }, ...service },
    ...more,
  })
const overGrpc = (more: JsonObject = {}, to = 'auth-grpc'): JsonObject =>
  filter({
    grpc_service: {
      envoy_grpc: { cluster_name: to },
      timeout: '0.25s',
      initial_metadata: [{ key: 'x-initial', value: 'v' }],
    },
    ...more,
  })
const ask = (path: string, ...fields: [string, string][]): Ask => ({ path, fields })
const post = (body: string, path = '/ok'): Ask => ({ method: 'POST', path, body, fields: [['x-a', '1']] })
const BODY = (max: number, more: JsonObject = {}): JsonObject => ({
  with_request_body: { max_request_bytes: max, ...more },
})
const perRoute = (config: JsonObject): JsonObject => ({
  typed_per_filter_config: {
    [NAME]: { '@type': type('extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute'), ...config },
  },
})
const ALL_ANSWERS = {
  authorization_response: {
    allowed_upstream_headers: list('x-up', 'x-a'),
    allowed_upstream_headers_to_append: list('x-more', 'x-b'),
    allowed_client_headers: list('x-client', 'content-type'),
    allowed_client_headers_on_success: list('x-success'),
    dynamic_metadata_from_headers: list('x-meta'),
  },
}
const HTTP_ROWS: readonly Row[] = [
  {
    name: 'http',
    filters: [overHttp()],
    asks: [
      '/ok?q=1',
      '/deny',
      '/deny-302',
      '/deny-json',
      '/deny-empty',
      '/created',
      '/500',
      '/503',
      '/hang',
      '/cut',
    ].map((p) => ask(p, ['x-a', '1'], ['authorization', 'Bearer a'], ['cookie', 'a=b'])),
  },
  {
    name: 'http headers both ways',
    filters: [
      overHttp(
        { ...ALL_ANSWERS, authorization_request: { headers_to_add: [{ key: 'x-added', value: 'v' }] } },
        { allowed_headers: { patterns: [{ prefix: 'x-' }] }, disallowed_headers: list('x-b') },
      ),
    ],
    asks: [
      ask('/ok-headers', ['x-a', '1'], ['x-a', '2'], ['x-b', '3'], ['x-more', 'm'], ['cookie', 'c']),
      ask('/ok-headers'),
      ask('/ok-remove', ['x-a', '1'], ['x-b', '2'], ['x-c', '3']),
      ask('/deny-headers', ['x-a', '1']),
    ],
  },
  {
    name: 'http answers of a route that has its own',
    filters: [overHttp(ALL_ANSWERS)],
    route: {
      response_headers_to_add: ['x-client', 'x-success', 'content-type', 'x-route'].map((key) => ({
        header: { key, value: 'route' },
      })),
    },
    asks: [ask('/deny-headers'), ask('/deny-json'), ask('/deny-empty'), ask('/ok-headers'), ask('/500')],
  },
  {
    name: 'http answers of a route that takes them away',
    filters: [overHttp(ALL_ANSWERS)],
    route: { response_headers_to_remove: ['x-client', 'content-type'] },
    asks: [ask('/deny-headers'), ask('/deny-json'), ask('/ok-headers')],
  },
  { name: 'http prefix', filters: [overHttp({ path_prefix: '/check' })], asks: [ask('/ok?q')] },
  { name: 'http override', filters: [overHttp({ path_override: '/ok' })], asks: [ask('/deny')] },
  {
    name: 'http body',
    only: 'http1',
    filters: [overHttp({}, BODY(5))],
    asks: [post('12345'), post('123456'), post('1'), ask('/ok')],
  },
  {
    name: 'http body in part',
    only: 'http1',
    filters: [overHttp({}, BODY(5, { allow_partial_message: true }))],
    asks: [post('12345'), post('1234567'), post('1')],
  },
  {
    name: 'http status on error',
    filters: [overHttp({}, { status_on_error: { code: 'ServiceUnavailable' } })],
    asks: [ask('/500'), ask('/hang'), ask('/deny')],
  },
  {
    name: 'http may fail',
    filters: [overHttp({}, { failure_mode_allow: true })],
    asks: [ask('/500'), ask('/hang'), ask('/deny')],
  },
  {
    name: 'http may fail, told',
    filters: [overHttp({}, { failure_mode_allow: true, failure_mode_allow_header_add: true })],
    asks: [ask('/500'), ask('/hang'), ask('/ok')],
  },
  { name: 'http nobody there', filters: [overHttp({}, {}, 'down')], asks: [ask('/ok')] },
  {
    name: 'http nobody there, may fail',
    filters: [overHttp({}, { failure_mode_allow: true }, 'down')],
    asks: [ask('/ok')],
  },
  {
    name: 'http switched off',
    filters: [overHttp({}, { filter_enabled: { default_value: { numerator: 0 } } })],
    asks: [ask('/deny')],
  },
  {
    name: 'http switched off, refused',
    filters: [
      overHttp(
        {},
        {
          filter_enabled: { default_value: { numerator: 0 } },
          deny_at_disable: { default_value: true, runtime_key: 'k' },
        },
      ),
    ],
    asks: [ask('/ok')],
  },
  { name: 'http off at the route', filters: [overHttp()], route: perRoute({ disabled: true }), asks: [ask('/deny')] },
]
const GRPC_ROWS: readonly Row[] = [
  {
    name: 'grpc',
    filters: [overGrpc()],
    asks: ['/ok?q=1', '/deny', '/deny-401', '/error', '/503', '/nonsense', '/hang'].map((p) =>
      ask(p, ['x-a', '1'], ['x-a', '2'], ['cookie', 'a=b']),
    ),
  },
  {
    name: 'grpc headers',
    filters: [overGrpc({ allowed_headers: { patterns: [{ prefix: 'x-' }] }, disallowed_headers: list('x-b') })],
    asks: [
      ask('/ok-headers', ['x-a', '1'], ['x-b', '2'], ['x-present', 'p'], ['x-remove', 'r']),
      ask('/ok-headers'),
      ask('/ok-query?keep=1&drop=2&set=3'),
    ],
  },
  {
    name: 'grpc body',
    only: 'http1',
    filters: [overGrpc(BODY(5))],
    asks: [post('12345'), post('123456'), post('1'), ask('/ok')],
  },
  {
    name: 'grpc body as bytes, in part',
    only: 'http1',
    filters: [overGrpc(BODY(5, { allow_partial_message: true, pack_as_bytes: true }))],
    asks: [post('12345'), post('1234567')],
  },
  {
    name: 'grpc status on error',
    filters: [overGrpc({ status_on_error: { code: 'ServiceUnavailable' } })],
    asks: [ask('/error'), ask('/hang')],
  },
  {
    name: 'grpc may fail',
    filters: [overGrpc({ failure_mode_allow: true, failure_mode_allow_header_add: true })],
    asks: [ask('/error'), ask('/hang'), ask('/nonsense'), ask('/deny')],
  },
  {
    name: 'grpc answers of a route that has its own',
    filters: [overGrpc()],
    route: {
      response_headers_to_add: ['set-cookie', 'x-denied', 'content-type'].map((key) => ({
        header: { key, value: 'route' },
      })),
    },
    asks: [ask('/deny'), ask('/deny-401'), ask('/deny-cookies')],
  },
  { name: 'grpc nobody there', filters: [overGrpc({}, 'down')], asks: [ask('/ok')] },
  {
    name: 'grpc context',
    filters: [overGrpc()],
    route: perRoute({ check_settings: { context_extensions: { k: 'v' } } }),
    asks: [ask('/ok')],
  },
  {
    name: 'grpc another target',
    filters: [overGrpc()],
    asks: ['/path', '/authority', '/host', '/query-as-it-is?a=1&q=0'].map((p) => ask(p, ['x-a', '1'])),
  },
  {
    name: 'grpc actions',
    filters: [overGrpc()],
    asks: [ask('/actions', ['x-a', '1'], ['x-b', '1'], ['x-c', '1']), ask('/deny-cookies')],
  },
  ...[false, true].map((validates): Row => ({
    name: `grpc what cannot be said, validate_mutations: ${validates}`,
    filters: [overGrpc({ validate_mutations: validates, failure_mode_allow: true })],
    asks: ['/crlf', '/nul', '/no-name'].map((p) => ask(p, ['x-a', '1'])),
  })),
  {
    name: 'grpc callers',
    only: 'http2',
    filters: [overGrpc()],
    asks: ['/deny', '/deny-401', '/error'].map((p) => ({
      method: 'POST',
      path: p,
      body: 'x',
      fields: [['content-type', 'application/grpc']],
    })),
  },
]

/* The services. */

type Asked = { readonly over: 'http' | 'grpc'; readonly what: unknown }

function answerHttp(path: string, response: http.ServerResponse): void {
  const say = (status: number, headers: http.OutgoingHttpHeaders = {}, body = ''): void => {
    response.writeHead(status, headers).end(body)
  }
  switch (path.replace(/^\/check/, '').replace(/\?.*/, '')) {
    case '/deny':
      return say(403, { 'x-client': 'c', 'x-up': 'u', 'www-authenticate': 'Basic' }, 'denied')
    case '/deny-302':
      return say(302, { location: 'http://login/' })
    case '/deny-json':
      return say(401, { 'content-type': 'application/json' }, '{"no":1}')
    case '/deny-empty':
      return say(404)
    case '/deny-headers':
      return say(403, { 'x-client': ['1', '2'], 'x-other': 'o', 'x-success': 's', 'set-cookie': 'a=b' }, 'no')
    case '/created':
      return say(201, {}, 'x')
    case '/500':
      return say(500, {}, 'broken')
    case '/503':
      return say(503)
    case '/hang':
      return
    case '/cut':
      response.destroy()
      return
    case '/ok-headers':
      return say(200, {
        'x-up': 'u',
        'x-a': 'changed',
        'x-more': 'more',
        'x-b': 'b',
        'x-success': ['1', '2'],
        'x-client': 'c',
        'x-meta': 'm',
        'x-other': 'o',
      })
    case '/ok-remove':
      return say(200, { 'x-envoy-auth-headers-to-remove': 'x-a, X-B' })
    default:
      return say(200, { 'x-other': 'o' })
  }
}

type Fields = readonly (readonly [no: number, value: Buffer | string | number])[]
function message(fields: Fields): Buffer {
  const writer = new BinaryWriter()
  for (const [no, value] of fields) {
    if (typeof value === 'number') writer.tag(no, 0).uint32(value)
    else if (typeof value === 'string') writer.tag(no, 2).string(value)
    else writer.tag(no, 2).bytes(value)
  }
  return Buffer.from(writer.finish())
}
/** @param action HeaderAppendAction; undefined: none is said */
const option = (key: string, value: string, action?: number, append?: number): Buffer =>
  message([
    [
      1,
      message([
        [1, key],
        [2, value],
      ]),
    ],
    ...(append === undefined ? [] : [[2, message([[1, append]])] as const]),
    ...(action === undefined ? [] : [[3, action] as const]),
  ])
const denied = (status: number, headers: readonly Buffer[], body: string): Buffer =>
  message([
    [1, message([[1, 7]])],
    [2, message([[1, message([[1, status]])], ...headers.map((h) => [2, h] as const), [3, body]])],
  ])
const ok = (fields: Fields, more: Fields = []): Buffer => message([[1, message([])], [3, message(fields)], ...more])
const struct = (key: string, value: string): Buffer =>
  message([
    [
      1,
      message([
        [1, key],
        [2, message([[3, value]])],
      ]),
    ],
  ])

const changes = (...fields: (readonly [name: string, value: string, action?: number])[]): Buffer =>
  ok(fields.map(([name, value, action]) => [2, option(name, value, action)] as const))
const parameter = (key: string, value: string): readonly [number, Buffer] => [
  7,
  message([
    [1, key],
    [2, value],
  ]),
]
/** What a service may also say. */
const ODD: Readonly<Record<string, Buffer>> = {
  '/path': changes([':path', '/other']),
  '/authority': changes([':authority', 'other']),
  '/host': changes(['host', 'other']),
  '/crlf': changes(['x-a', '1\r\nx-b: 2']),
  '/nul': changes(['x-a', '\0']),
  '/no-name': changes(['x a', '1']),
  '/actions': changes(['x-a', 'n', 0], ['x-b', 'n', 1], ['x-c', 'n', 2], ['x-new', 'n', 3]),
  '/deny-cookies': denied(403, [option('set-cookie', 'a=1'), option('set-cookie', 'b=2')], ''),
  '/query-as-it-is': ok([parameter('q', '%20'), parameter('r', '1&s=2')]),
}

function answerGrpc(path: string, stream: http2.ServerHttp2Stream): void {
  const say = (bytes: Buffer): void => {
    const frame = Buffer.alloc(5)
    frame.writeUInt32BE(bytes.length, 1)
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.concat([frame, bytes]))
  }
  switch (path.replace(/\?.*/, '')) {
    case '/deny':
      return say(message([[1, message([[1, 7]])]]))
    case '/deny-401':
      return say(denied(401, [option('www-authenticate', 'Basic')], 'who?'))
    case '/error':
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14' }, { endStream: true })
      return
    case '/503':
      stream.respond({ ':status': 503 }, { endStream: true })
      return
    case '/nonsense':
      return say(Buffer.from('no message'))
    case '/hang':
      return
    case '/ok-headers':
      return say(
        ok(
          [
            [2, option('x-a', 'changed')],
            [2, option('x-new', 'n')],
            [2, option('x-present', 'q', undefined, 1)],
            [2, option('x-absent', 'q', undefined, 1)],
            [5, 'x-remove'],
            [6, option('x-success', '1')],
            [6, option('x-success', '2')],
          ],
          [[4, struct('k', 'v')]],
        ),
      )
    case '/ok-query':
      return say(
        ok([
          [
            7,
            message([
              [1, 'set'],
              [2, 'new'],
            ]),
          ],
          [8, 'drop'],
        ]),
      )
    default:
      return say(ODD[path.replace(/\?.*/, '')] ?? ok([]))
  }
}

/** The question by the numbers of its fields; what differs by nature is left out. */
function readQuestion(body: Buffer): { readonly path: string; readonly what: unknown } {
  const read = (bytes: Uint8Array): [number, Buffer | number][] => {
    const reader = new BinaryReader(bytes)
    const fields: [number, Buffer | number][] = []
    while (reader.pos < reader.len) {
      const [no, wire] = reader.tag()
      fields.push([no, wire === 0 ? Number(reader.uint64()) : Buffer.from(reader.bytes())])
    }
    return fields
  }
  const find = (bytes: Uint8Array, no: number): Buffer =>
    (read(bytes).find(([n, v]) => n === no && typeof v === 'object')?.[1] as Buffer | undefined) ?? Buffer.alloc(0)
  const attributes = find(body, 1)
  const request = find(find(attributes, 4), 2)
  const headers = read(request)
    .filter(([no]) => no === 3)
    .map(([, entry]) => [find(entry as Buffer, 1).toString(), find(entry as Buffer, 2).toString()] as const)
    .filter(([name]) => !VOLATILE.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  const text = (no: number): string => find(request, no).toString()
  const size = read(request).find(([no]) => no === 9)?.[1]
  const context = read(attributes).flatMap(([no, v]) => (no === 10 ? [(v as Buffer).toString('hex')] : []))
  const [method, path, host, scheme, protocol] = [2, 4, 5, 6, 10].map(text)
  const what = { method, path, host, scheme, protocol, headers, size, body: text(11), bytes: text(12), context }
  return { path: path!, what }
}
const VOLATILE: ReadonlySet<string> = new Set([
  'x-request-id',
  'x-forwarded-proto',
  'x-forwarded-for',
  'x-envoy-internal',
  'x-envoy-expected-rq-timeout-ms',
  'content-length',
  ':authority',
  'host',
  'connection',
  'transfer-encoding',
  'date',
  'te',
])

async function startServices(
  t: TestContext,
  asked: Asked[],
): Promise<{ readonly http: number; readonly grpc: number }> {
  const plain = http.createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    request.on('end', () => {
      const headers = pick(
        Object.keys(request.headers).filter((name) => !VOLATILE.has(name)),
        request.headers,
      )
      asked.push({ over: 'http', what: { method: request.method, path: request.url, headers, body } })
      answerHttp(request.url!, response)
    })
  })
  const framed = http2.createServer()
  framed.on('session', (session) => t.after(() => session.destroy()))
  framed.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      const { path, what } = readQuestion(Buffer.concat(chunks).subarray(5))
      asked.push({ over: 'grpc', what: [headers[':path'], headers['x-initial'], what] })
      answerGrpc(path, stream)
    })
  })
  for (const server of [plain, framed]) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }
  t.after(() => {
    plain.closeAllConnections()
    plain.close()
    framed.close()
  })
  return { http: portOf(plain), grpc: portOf(framed) }
}

const TOLD = [
  'grpc-status',
  'grpc-message',
  'content-type',
  'location',
  'www-authenticate',
  'set-cookie',
  'x-client',
  'x-other',
  'x-success',
  'x-up',
]
const SEEN = [
  'host',
  'x-a',
  'x-b',
  'x-c',
  'x-up',
  'x-more',
  'x-new',
  'x-present',
  'x-absent',
  'x-remove',
  'cookie',
  'x-envoy-auth-failure-mode-allowed',
  'x-other',
]
/** Lines of one name, and one line with the values joined, are the same (RFC 9110 §5.3). */
const joined = (value: unknown): unknown => (typeof value === 'string' ? value.replaceAll(', ', ',') : value)
const pick = (names: readonly string[], from: Readonly<Record<string, unknown>>): unknown =>
  Object.fromEntries(names.map((name) => [name, joined(from[name])]).filter(([, value]) => value !== undefined))

test('the same questions, the same answers', async (t) => {
  const asked: Asked[] = []
  const ports = await startServices(t, asked)
  const [down] = await freePorts(1)
  const options = {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  }
  const facts = ({ told: { status, headers, body }, saw }: Compared): unknown => ({
    asked: asked.splice(0),
    status,
    body: status === 404 || status >= 500 ? '' : body,
    told: pick(status === 404 || status >= 500 ? [] : TOLD, headers),
    saw: saw && { url: saw.url, body: saw.body, ...(pick(SEEN, saw.headers) as object) },
  })
  const clusters = [
    {
      envoy: staticCluster('auth-http', ports.http),
      ours: cluster([endpoint('127.0.0.1', ports.http)], { name: 'auth-http' }),
    },
    {
      envoy: staticCluster('auth-grpc', ports.grpc, options),
      ours: cluster([endpoint('127.0.0.1', ports.grpc)], { name: 'auth-grpc', protocol: 'http2' }),
    },
    {
      envoy: staticCluster('down', down!, options),
      ours: cluster([endpoint('127.0.0.1', down!)], { name: 'down', protocol: 'http2' }),
    },
  ]
  await compareRows(t, [...HTTP_ROWS, ...GRPC_ROWS], { facts, clusters })
})
