/** buffer, compressor and grpc_web: what reaches the endpoint, and what comes back. */
import type http from 'node:http'
import type { JsonObject } from '@bufbuild/protobuf'
import type { FilterRow } from './filter-row.ts'

const type = (name: string): string => `type.googleapis.com/envoy.extensions.${name}`
const filter = (name: string, config: JsonObject, at = `filters.http.${name}.v3`): JsonObject => ({
  name: `envoy.filters.http.${name}`,
  typed_config: { '@type': type(`${at}`), ...config },
})
const library = (name: string, config: JsonObject = {}): JsonObject => ({
  name,
  typed_config: {
    '@type': type(`compression.${name}.compressor.v3.${name[0]!.toUpperCase()}${name.slice(1)}`),
    ...config,
  },
})
export const compressor = (name: string, config: JsonObject = {}, filterName = 'compressor'): JsonObject => ({
  name: filterName,
  typed_config: {
    '@type': type('filters.http.compressor.v3.Compressor'),
    compressor_library: library(name),
    ...config,
  },
})
const buffer = (maxBytes: number): JsonObject =>
  filter('buffer', { max_request_bytes: maxBytes }, 'filters.http.buffer.v3.Buffer')
const GRPC_WEB = filter('grpc_web', {}, 'filters.http.grpc_web.v3.GrpcWeb')
const perRoute = (name: string, message: string, config: JsonObject): JsonObject => ({
  typed_per_filter_config: { [name]: { '@type': type(message), ...config } },
})

const LONG = 'long text '.repeat(40)
/** What the endpoint says is asked for in the path: /BYTES?name=value&… are its fields. */
export const answerAsAsked: http.RequestListener = (request, response) => {
  const url = new URL(request.url!, 'http://a')
  for (const [name, value] of url.searchParams) if (name !== 'status') response.setHeader(name, value)
  response.statusCode = Number(url.searchParams.get('status') ?? 200)
  const body = LONG.repeat(100).slice(0, Number(url.pathname.slice(1)))
  if (url.searchParams.has('content-length')) response.end(body)
  else {
    response.write(body.slice(0, 10))
    response.end(body.slice(10))
  }
}

const ANSWER_FIELDS = [
  'content-encoding',
  'vary',
  'etag',
  'content-type',
  'content-length',
  'grpc-status',
  'grpc-message',
]
const REQUEST_FIELDS = [
  'content-encoding',
  'accept-encoding',
  'content-length',
  'transfer-encoding',
  'content-type',
  'grpc-accept-encoding',
]
const html = (bytes = 200, more = ''): string => `/${bytes}?content-type=text/html${more}`

const accepting = (accepts: string | undefined, filters: readonly JsonObject[], i: number): Row => ({
  name: `accepts-${i}`,
  filters,
  ask: { path: html(), fields: accepts === undefined ? [] : [['accept-encoding', accepts]] },
})
type Row = FilterRow

const ACCEPTS: readonly Row[] = [
  undefined,
  '',
  'gzip',
  'GZIP',
  'br',
  'identity',
  '*',
  'gzip;q=0',
  'gzip;q=0, *',
  '*;q=0',
  'gzip;q=0.0, br;q=0.5',
  'gzip;q=x',
  'gzip;q=',
  'gzip; q=0.5, identity;q=0.4',
  'gzip;q=0.4, identity;q=0.5',
  'gzip;q=-1',
  'gzip;q=2',
  'deflate, gzip',
  ', ,gzip',
  'gzip;level=9',
  'x-gzip',
  'gzip;q=1e-3',
  'gzip;q=.5;x=1',
].flatMap((accepts, i) => [accepting(accepts, [compressor('gzip')], i)])

const SEVERAL: readonly Row[] = [
  'gzip, br, zstd',
  'br;q=0.5, gzip',
  'zstd',
  '*',
  'gzip;q=0.5, *',
  'br, zstd',
  'identity, *;q=0.1',
].map((accepts, i) => ({
  name: `several-${i}`,
  filters: [
    compressor('gzip', {}, 'g'),
    compressor('brotli', { choose_first: true }, 'b'),
    compressor('zstd', {}, 'z'),
  ],
  ask: { path: html(), fields: [['accept-encoding', accepts]] },
}))

const gzipped = (name: string, path: string, config: JsonObject = {}, more: Partial<Row> = {}): Row => ({
  name,
  filters: [compressor('gzip', config)],
  ...more,
  ask: { path, fields: [['accept-encoding', 'gzip']], ...more.ask },
})
const ANSWERS: readonly Row[] = [
  gzipped('answer-short', html(29, '&content-length=29')),
  gzipped('answer-min', html(30, '&content-length=30')),
  gzipped('answer-chunked-short', html(5)),
  gzipped('answer-other-type', '/200?content-type=image/png'),
  gzipped('answer-no-type', '/200'),
  gzipped('answer-charset', '/200?content-type=TEXT/HTML;charset=utf8'),
  gzipped('answer-encoded', html(200, '&content-encoding=br'), {}, { ownText: true }),
  gzipped('answer-no-transform', html(200, '&cache-control=public,%20No-Transform')),
  gzipped('answer-etag', html(200, '&etag="strong"')),
  gzipped('answer-weak-etag', html(200, '&etag=W/"weak"')),
  gzipped('answer-keeps-etag', html(200, '&etag="strong"'), {
    response_direction_config: { disable_on_etag_header: true },
  }),
  gzipped('answer-vary', html(200, '&vary=Cookie')),
  gzipped('answer-vary-there', html(200, '&vary=Accept-Encoding')),
  gzipped('answer-vary-lower', html(200, '&vary=accept-encoding')),
  gzipped(
    'answer-head',
    html(200, '&content-length=200'),
    {},
    { ask: { method: 'HEAD', path: html(200, '&content-length=200'), fields: [['accept-encoding', 'gzip']] } },
  ),
  gzipped('answer-204', '/0?status=204&content-type=text/html'),
  gzipped('answer-304', '/0?status=304&content-type=text/html'),
  gzipped('answer-500', html(200, '&status=500')),
  gzipped('answer-exempt', html(200, '&status=500'), {
    response_direction_config: { uncompressible_response_codes: [500] },
  }),
  gzipped('answer-off', html(), {
    response_direction_config: { common_config: { enabled: { default_value: false, runtime_key: 'k' } } },
  }),
  gzipped('answer-types', '/200?content-type=a/b', {
    response_direction_config: { common_config: { content_type: ['A/B'] } },
  }),
  gzipped('answer-min-set', html(200, '&content-length=200'), {
    response_direction_config: { common_config: { min_content_length: 300 } },
  }),
  gzipped('answer-old-fields', html(200, '&content-length=200'), {
    content_length: 150,
    content_type: ['text/html'],
    remove_accept_encoding_header: true,
  }),
  gzipped('answer-hides', html(), { response_direction_config: { remove_accept_encoding_header: true } }),
  gzipped('answer-large', html(30_000)),
  gzipped('answer-direct', '/', {}, { route: { direct_response: { status: 200, body: { inline_string: LONG } } } }),
  gzipped(
    'answer-direct-short',
    '/',
    {},
    { route: { direct_response: { status: 200, body: { inline_string: 'short' } } } },
  ),
  gzipped(
    'route-off',
    html(),
    {},
    { host: perRoute('compressor', 'filters.http.compressor.v3.CompressorPerRoute', { disabled: true }) },
  ),
  gzipped(
    'route-on',
    html(),
    { response_direction_config: { common_config: { enabled: { default_value: false, runtime_key: 'k' } } } },
    {
      host: perRoute('compressor', 'filters.http.compressor.v3.CompressorPerRoute', {
        overrides: { response_direction_config: {} },
      }),
    },
  ),
  gzipped(
    'route-hides',
    html(),
    {},
    {
      host: perRoute('compressor', 'filters.http.compressor.v3.CompressorPerRoute', {
        overrides: { response_direction_config: { remove_accept_encoding_header: true } },
      }),
    },
  ),
  {
    name: 'levels',
    filters: [
      compressor('gzip', {
        compressor_library: library('gzip', {
          compression_level: 'BEST_COMPRESSION',
          window_bits: 15,
          memory_level: 9,
        }),
      }),
    ],
    ask: { path: html(5000), fields: [['accept-encoding', 'gzip']] },
  },
  {
    name: 'brotli',
    filters: [
      compressor('brotli', {
        compressor_library: library('brotli', { quality: 11, encoder_mode: 'TEXT', window_bits: 22 }),
      }),
    ],
    ask: { path: html(5000), fields: [['accept-encoding', 'br']] },
  },
  {
    name: 'zstd',
    filters: [
      compressor('zstd', { compressor_library: library('zstd', { compression_level: 19, enable_checksum: true }) }),
    ],
    ask: { path: html(5000), fields: [['accept-encoding', 'zstd']] },
  },
]

const posted = (
  name: string,
  filters: readonly JsonObject[],
  body: string,
  fields: FilterRow['ask']['fields'] = [],
  more: Partial<Row> = {},
): Row => ({
  name,
  filters,
  ...more,
  ask: { method: 'POST', path: '/3', body, fields: [['content-type', 'text/plain'], ...(fields ?? [])] },
})
const upwards = (config: JsonObject = {}): readonly JsonObject[] => [
  compressor('gzip', { request_direction_config: config }),
]
const REQUESTS: readonly Row[] = [
  posted('request', upwards(), LONG),
  posted('request-short', upwards(), 'short'),
  posted('request-encoded', upwards(), LONG, [['content-encoding', 'br']], { ownText: true }),
  posted('request-min', upwards({ common_config: { min_content_length: 1000 } }), LONG),
  posted('request-types', upwards({ common_config: { content_type: ['a/b'] } }), LONG),
  posted('request-off', upwards({ common_config: { enabled: { default_value: false, runtime_key: 'k' } } }), LONG),
  posted('request-not-set', [compressor('gzip')], LONG),
  { name: 'request-none', filters: upwards(), ask: { path: '/3' } },
  posted('request-buffered', [buffer(5000), ...upwards()], LONG),
]

const BUFFERS: readonly Row[] = [
  posted('buffer', [buffer(400)], LONG),
  posted('buffer-one-less', [buffer(399)], LONG, [], { ownText: true, only: 'http1', told: ['content-type'] }),
  { name: 'buffer-get', filters: [buffer(1)], ask: { path: '/3' } },
  posted('buffer-route', [buffer(1000)], LONG, [], {
    ownText: true,
    only: 'http1',
    told: ['content-type'],
    host: perRoute('envoy.filters.http.buffer', 'filters.http.buffer.v3.BufferPerRoute', {
      buffer: { max_request_bytes: 10 },
    }),
  }),
  posted('buffer-route-off', [buffer(10)], LONG, [], {
    host: perRoute('envoy.filters.http.buffer', 'filters.http.buffer.v3.BufferPerRoute', { disabled: true }),
  }),
  posted('buffer-no-route', [buffer(10)], LONG, [], {
    ownText: true,
    only: 'http1',
    told: ['content-type'],
    host: { routes: [{ match: { prefix: '/none' }, route: { cluster: 'origin' } }] },
  }),
]

const frame = (text: string): string => `\0\0\0\0${String.fromCharCode(text.length)}${text}`
const b64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64')
const web = (name: string, contentType: string, body: string, more: Partial<Row> = {}, accept?: string): Row => ({
  name,
  filters: [GRPC_WEB],
  ...more,
  ask: {
    method: 'POST',
    path: '/0?content-type=application/grpc&grpc-status=0',
    body,
    ...more.ask,
    fields: [['content-type', contentType], ...(accept === undefined ? [] : [['accept', accept] as const])],
  },
})
const asked = (path: string): Partial<Row> => ({ ask: { path } })
const OWN_WORDS: Partial<Row> = { told: ['content-type', 'grpc-status'] }
// Answers as text are in test/protocols/http/filters/bodies: Envoy does not end those of HTTP/1 endpoints, which have no
// trailers.
const WEB: readonly Row[] = [
  web('web', 'application/grpc-web', frame('hi')),
  web('web-proto', 'application/grpc-web+proto', frame('hi')),
  web('web-json', 'application/grpc-web+json', frame('hi')),
  web('web-capital', 'Application/grpc-web', frame('hi')),
  web('web-charset', 'application/grpc-web; charset=x', frame('hi')),
  web('web-text-proto', 'application/grpc-web-text+proto', b64(frame('hi!'))),
  web('web-text-request', 'application/grpc-web-text', b64(frame('hi'))),
  web('web-text-broken', 'application/grpc-web-text', 'AAA', OWN_WORDS, 'application/grpc-web-text'),
  web('web-text-no-base64', 'application/grpc-web-text', 'A$$A', OWN_WORDS),
  web('web-text-spaces', 'application/grpc-web-text', 'AA A', OWN_WORDS),
  web('web-text-empty', 'application/grpc-web-text', ''),
  web('web-foreign', 'application/grpc-web', frame('hi'), { ...asked(html()), only: 'http1' }),
  web('web-foreign-404', 'application/grpc-web', frame('hi'), {
    ...asked('/20?status=404&content-type=text/plain'),
    only: 'http1',
  }),
  web('web-foreign-large', 'application/grpc-web', frame('hi'), { ...asked('/300?status=503'), only: 'http1' }),
  web('web-of-web', 'application/grpc-web', frame('hi'), asked('/20?content-type=application/grpc-web%2bproto')),
  web('web-no-route', 'application/grpc-web', frame('hi'), {
    ownText: true,
    told: ['content-type'],
    host: { routes: [{ match: { prefix: '/none' }, route: { cluster: 'origin' } }] },
  }),
  web('web-direct', 'application/grpc-web', frame('hi'), {
    route: { direct_response: { status: 403, body: { inline_string: 'no %' } } },
  }),
  { name: 'web-get', filters: [GRPC_WEB], ask: { path: '/3' } },
  posted('web-other', [GRPC_WEB], LONG),
  web('web-buffered', 'application/grpc-web-text', b64(frame('hi')), { filters: [buffer(1000), GRPC_WEB] }),
]

export const BODIES: readonly FilterRow[] = [...ACCEPTS, ...SEVERAL, ...ANSWERS, ...REQUESTS, ...BUFFERS, ...WEB].map(
  (row) => ({
    told: ANSWER_FIELDS,
    saw: REQUEST_FIELDS,
    ...row,
  }),
)
