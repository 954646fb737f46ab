/** istio.stats and istio.metadata_exchange as istiod sends them, and as the Telemetry API changes them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { FilterChain } from '../../../../model/listener.ts'
import { good, http, STRUCT, stats, tcp } from '../listener/listener-rig.ts'

const STATS = 'type.googleapis.com/stats.PluginConfig'
const EXCHANGE = 'type.googleapis.com/io.istio.http.peer_metadata.Config'
const struct = (type_url: string, value: JsonObject): JsonObject => ({ '@type': STRUCT, type_url, value })
const filter = (typed_config: JsonObject): JsonObject => ({ name: 'f', typed_config })

function decoded(...filters: JsonObject[]) {
  const { value, ignored } = good({}, { filters: [http({ http_filters: filters })] })
  const { codec } = value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  assert.deepEqual(codec.http.filters, [])
  return { stats: codec.http.stats, exchange: codec.http.exchange, counts: codec.http.countsMessages, ignored }
}

test('without the filters nothing is counted or exchanged', () => {
  const { stats: counted, exchange } = decoded()
  assert.deepEqual([counted, exchange], [undefined, undefined])
})

for (const [what, config] of [
  ['as a message', { '@type': STATS, disable_host_header_fallback: true }],
  ['as a TypedStruct', struct(STATS, { disable_host_header_fallback: true })],
] as const)
  test(`istio.stats ${what}`, () => {
    const found = decoded(filter(config))
    assert.deepEqual(found.stats, { hostFallback: false, dropped: new Set(), tags: new Map(), expressions: [] })
    assert.deepEqual(found.ignored, [])
  })

const overridden = () =>
  decoded(
    filter({
      '@type': STATS,
      metrics: [
        { name: 'request_bytes', drop: true },
        {
          name: 'requests_total',
          tags_to_remove: ['source_app', 'acme'],
          dimensions: {
            site: '"north"',
            port: 'string(destination.port)',
            operation: 'istio_operationId',
            older: 'request.host | "unknown"',
            'no-label': '"a"',
          },
        },
        { dimensions: { source_version: "'7'" }, tags_to_remove: ['source_cluster'] },
        { name: 'acme' },
        { name: 'request_messages_total', tags_to_remove: ['source_app'] },
      ],
      definitions: [{ name: 'own', value: '1' }],
      reporter: 'SERVER_GATEWAY',
    }),
  )

test('overrides of the Telemetry API: dropped metrics, labels removed, set and added', () => {
  const { stats: counted } = overridden()
  assert.deepEqual([...counted!.dropped], ['request_bytes'])
  const described = [...counted!.tags.get('requests_total')!].map(([label, value]) => [
    label,
    typeof value === 'object' ? `by ${value.source}` : value,
  ])
  assert.deepEqual(
    described.sort(([a], [b]) => (a! < b! ? -1 : 1)),
    [
      ['operation', 'by istio_operationId'],
      ['port', 'by string(destination.port)'],
      ['site', 'north'],
      ['source_app', undefined],
      ['source_cluster', undefined],
      ['source_version', '7'],
    ],
  )
  assert.deepEqual(counted!.tags.get('request_messages_total')!.get('source_app'), undefined)
  assert.deepEqual(
    [...counted!.tags.get('tcp_sent_bytes_total')!],
    [
      ['source_cluster', undefined],
      ['source_version', '7'],
    ],
  )
  assert.deepEqual(counted!.expressions.map(({ source }) => source).sort(), [
    'istio_operationId',
    'string(destination.port)',
  ])
})

test('what is no expression, metric or label is told', () => {
  const { ignored } = overridden()
  for (const told of [
    /metrics\[1\]\.tags_to_remove \(acme is none of the standard labels/,
    /metrics\[1\]\.dimensions\[operation\] \(.*istio_operationId is no attribute that is known here/,
    /metrics\[1\]\.dimensions\[older\] \(.*there is no operator \|/,
    /metrics\[1\]\.dimensions\[no-label\] \(is no name that a label can have/,
    /metrics\[3\]\.name \(there is no metric acme/,
    /definitions/,
    /reporter/,
  ])
    assert.ok(
      ignored.some((line) => told.test(line)),
      `${String(told)} in ${ignored.join('\n')}`,
    )
  assert.equal(ignored.length, 7, ignored.join('\n'))
})

test('one that cannot be read is told, and blocks nothing', () => {
  const {
    stats: counted,
    exchange,
    ignored,
  } = decoded(filter(struct(STATS, { metrics: 'no list' })), filter(struct(EXCHANGE, { upstream_propagation: 7 })))
  assert.deepEqual([counted, exchange], [undefined, undefined])
  assert.deepEqual(
    ignored.map((line) => /cannot be read, and has no effect/.test(line)),
    [true, true],
  )
})

test('a disabled filter counts nothing', () => {
  assert.equal(decoded({ ...stats, disabled: true }).stats, undefined)
})

test('messages of gRPC count where grpc_stats hands its counts on', () => {
  const grpcStats = (emit_filter_state: boolean): JsonObject =>
    filter({
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
      emit_filter_state,
    })
  assert.deepEqual([decoded(grpcStats(true)).counts, decoded(grpcStats(true)).ignored], [true, []])
  assert.equal(decoded(grpcStats(false)).counts, false)
  assert.equal(decoded().counts, undefined)
})

const headers = { istio_headers: {} }
for (const [what, config, expected] of [
  [
    'inbound',
    { downstream_discovery: [headers, { workload_discovery: {} }], downstream_propagation: [headers] },
    { clientBy: ['headers'], serverByHeaders: false, tellsServer: undefined, tellsClient: true },
  ],
  [
    'outbound',
    { upstream_discovery: [headers, { workload_discovery: {} }], upstream_propagation: [headers] },
    { clientBy: [], serverByHeaders: true, tellsServer: 'all', tellsClient: false },
  ],
  [
    'outbound, inside of the mesh',
    { upstream_propagation: [{ istio_headers: { skip_external_clusters: true } }] },
    { clientBy: [], serverByHeaders: false, tellsServer: 'mesh', tellsClient: false },
  ],
  [
    'by baggage',
    { downstream_discovery: [{ baggage: {} }, headers] },
    { clientBy: ['baggage', 'headers'], serverByHeaders: false, tellsServer: undefined, tellsClient: false },
  ],
] as const)
  test(`istio.metadata_exchange ${what}`, () => {
    const found = decoded(filter(struct(EXCHANGE, config as unknown as JsonObject)))
    assert.deepEqual(found.exchange, expected)
    assert.deepEqual(found.ignored, [])
  })

const MX = 'type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange'
const mx = (protocol: string): JsonObject => filter(struct(MX, { protocol, enable_discovery: true }))
const ALPN = ['istio-peer-exchange', 'h2', 'http/1.1']
const secured = (...filters: JsonObject[]): readonly string[] | undefined =>
  good(
    {},
    {
      filters,
      transport_socket: {
        name: 'tls',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
          common_tls_context: { alpn_protocols: ALPN, tls_certificate_sds_secret_configs: [{ name: 'default' }] },
        },
      },
    },
  ).value.filterChains[0]!.tls?.alpnProtocols

test('istio-peer-exchange is taken where the chain exchanges metadata and ends in a TCP proxy', () => {
  assert.deepEqual(secured(mx('istio-peer-exchange'), tcp), ALPN)
  assert.deepEqual(secured(tcp), ALPN.slice(1))
  assert.deepEqual(secured(mx('other'), tcp), ALPN.slice(1))
  assert.deepEqual(secured(mx('istio-peer-exchange'), http({})), ALPN.slice(1))
})

test('of a TCP chain the network filter counts', () => {
  const chainOf = (...filters: JsonObject[]): FilterChain => good({}, { filters }).value.filterChains[0]!
  assert.equal(chainOf(tcp).stats, undefined)
  assert.deepEqual(chainOf(stats, tcp).stats, {
    hostFallback: true,
    dropped: new Set(),
    tags: new Map(),
    expressions: [],
  })
})
