/** A service that counts requests: what it is asked, what its words do, and what happens when it has none. */
import { test, type TestContext } from 'node:test'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { JsonObject } from '@bufbuild/protobuf'
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import { freePorts } from '../../../../tools/free-ports.ts'
import { portOf } from '../../../helpers/raw-h2.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { staticCluster } from '../../package/shipped.ts'
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

const ROWS: readonly Row[] = [
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
          by(constant('c'), { remote_address: {} }, { destination_cluster: {} }),
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

/* The service. */

/** Fields of a message of nothing but length-delimited fields. */
function fieldsOf(bytes: Uint8Array): [number, Uint8Array][] {
  const reader = new BinaryReader(bytes)
  const found: [number, Uint8Array][] = []
  while (reader.pos < reader.len) {
    const [no] = reader.tag()
    found.push([no, reader.bytes()])
  }
  return found
}
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
function readQuestion(bytes: Uint8Array): { domain: string; descriptors: string[][] } {
  const fields = fieldsOf(bytes)
  return {
    domain: text(fields.find(([no]) => no === 1)?.[1] ?? new Uint8Array()),
    descriptors: fields
      .filter(([no]) => no === 2)
      .map(([, descriptor]) =>
        fieldsOf(descriptor).map(([, entry]) =>
          fieldsOf(entry)
            .map(([, part]) => text(part))
            .join('='),
        ),
      ),
  }
}

const writer = (): BinaryWriter => new BinaryWriter()
const pair = (key: string, value: string): Uint8Array => writer().tag(1, 2).string(key).tag(2, 2).string(value).finish()
function status(limit: number, unit: number, left: number, name = ''): Uint8Array {
  const current = writer().tag(1, 0).uint32(limit).tag(2, 0).uint32(unit).tag(3, 2).string(name).finish()
  const reset = writer().tag(1, 0).uint32(17).finish()
  return writer().tag(1, 0).uint32(1).tag(2, 2).bytes(current).tag(3, 0).uint32(left).tag(4, 2).bytes(reset).finish()
}
function answerTo(path: string, asked: string): Uint8Array {
  const isOver = /^\/(over|.*-over|body|typed)/.test(path)
  const made = writer()
    .tag(1, 0)
    .uint32(isOver ? 2 : 1)
  made.tag(3, 2).bytes(pair('x-asked', asked))
  if (path.startsWith('/limits'))
    for (const one of [status(10, 2, 5), status(3, 1, 2, 'few'), status(100, 6, 90), status(9, 0, 9)])
      made.tag(2, 2).bytes(one)
  if (path === '/status') made.tag(2, 2).bytes(writer().tag(1, 0).uint32(1).finish())
  if (path.startsWith('/headers'))
    made
      .tag(3, 2)
      .bytes(pair('x-told', '100%'))
      .tag(3, 2)
      .bytes(pair('x-told', 'two'))
      .tag(4, 2)
      .bytes(pair('x-a', '2'))
      .tag(4, 2)
      .bytes(pair('x-new', 'n'))
  if (path === '/typed') made.tag(3, 2).bytes(pair('content-type', 'application/json'))
  if (/^\/(body|typed)/.test(path)) made.tag(5, 2).bytes(Buffer.from('too much'))
  return made.finish()
}

async function startService(t: TestContext): Promise<number> {
  const server = http2.createServer()
  server.on('session', (session) => t.after(() => session.destroy()))
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      const question = readQuestion(Buffer.concat(chunks).subarray(5))
      const path =
        question.descriptors
          .flat()
          .find((entry) => entry.startsWith('path='))
          ?.slice(5) ?? '/ok'
      const how = [headers[':path'], headers[':authority'], headers['x-initial']]
      if (path === '/slow') return
      if (path === '/failed' || path === '/nothing') {
        const grpcStatus = path === '/failed' ? { 'grpc-status': '14' } : {}
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...grpcStatus }, { endStream: true })
        return
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      const message = answerTo(path, JSON.stringify([how, question]))
      const head = Buffer.alloc(5)
      head.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([head, message]))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return portOf(server)
}

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
  const port = await startService(t)
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
