/** Envoy and meshlet with the same listener and its tracing, asked the same: the same spans, and the same word to the next hop. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../control-sync/decode/decode.ts'
import type { ExportOutput } from '../../../model/access-log/collector.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { askAt, Both, type Ask } from '../../protocols/http/both.ts'
import { staticCluster } from '../package/shipped.ts'
import { sleep } from '../programs.ts'
import { startStaticEnvoy } from './envoy.ts'
import { listenerWith } from './listener-with.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const ID = '0000000f-0000-4000-8000-000000000000'
const TRACE = '463ac35c9f6413ad48485a3953bb6124'
const SPAN = 'a2fb4a1d1a96d312'

const ROUTES: JsonObject = {
  name: 'r',
  virtual_hosts: [
    {
      name: 'v',
      domains: ['*'],
      routes: [
        { match: { path: '/named' }, decorator: { operation: 'a.shop:80/*' }, route: { cluster: 'origin' } },
        { match: { prefix: '/p' }, route: { cluster: 'origin' } },
      ],
    },
  ],
}
function listenerOf(port: number, direction: string, tracing: JsonObject): JsonObject {
  return listenerWith(
    { name: 'l', port, direction },
    {
      tracing: {
        custom_tags: [
          { tag: 'a', literal: { value: 'b' } },
          { tag: 'c', request_header: { name: 'X-C', default_value: 'none' } },
          { tag: 'd', request_header: { name: 'X-D' } },
        ],
        provider: {
          name: 'envoy.tracers.zipkin',
          typed_config: {
            '@type': type('config.trace.v3.ZipkinConfig'),
            collector_cluster: 'collector',
            collector_endpoint: '/api/v2/spans',
            collector_endpoint_version: 'HTTP_JSON',
            trace_id_128bit: true,
          },
        },
        ...tracing,
      },
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
        },
      ],
      route_config: ROUTES,
    },
  )
}
const LISTENERS: Readonly<Record<string, readonly [direction: string, tracing: JsonObject]>> = {
  client: ['OUTBOUND', {}],
  server: ['INBOUND', {}],
  'no chance': ['OUTBOUND', { random_sampling: { value: 0 } }],
  nobody: ['OUTBOUND', { overall_sampling: { value: 0 } }],
  'a little': ['OUTBOUND', { random_sampling: { value: 0.15 } }],
  'short paths': ['OUTBOUND', { max_path_tag_length: 3 }],
}
const b3 = (sampled: string | undefined): NonNullable<Ask['fields']> => [
  ['x-b3-traceid', TRACE],
  ['x-b3-spanid', SPAN],
  ['x-b3-parentspanid', '0020000000000001'],
  ...(sampled === undefined ? [] : [['x-b3-sampled', sampled] as const]),
]
const ASKS: readonly Ask[] = [
  {
    path: '/p?q=1',
    fields: [
      ['x-request-id', ID],
      ['user-agent', 'ua'],
      ['x-c', 'v'],
    ],
  },
  { path: '/named', fields: [['x-request-id', ID]] },
  { path: '/none', fields: [['x-request-id', ID]] },
  { path: '/p', fields: [['x-request-id', ID], ...b3('1')] },
  { path: '/p', fields: [['x-request-id', ID], ...b3('0')] },
  { path: '/p', fields: [['x-request-id', ID], ...b3(undefined)] },
  {
    path: '/p',
    fields: [
      ['x-request-id', ID],
      ['b3', `${TRACE}-${SPAN}-1`],
    ],
  },
  { path: '/p', fields: [['x-request-id', ID.replace('-4', '-9')]] },
  {
    path: '/p',
    fields: [
      ['x-request-id', ID],
      ['x-envoy-force-trace', '1'],
    ],
  },
  {
    path: '/p',
    fields: [
      ['x-request-id', ID],
      ['x-client-trace-id', 'mine'],
    ],
  },
  { path: '/p', fields: [['x-request-id', '0000000e-0000-4000-8000-000000000000']] },
  { path: '/p', method: 'POST', body: 'four', fields: [['x-request-id', ID]] },
]

type ZipkinSpan = Record<string, unknown> & { tags: Record<string, string> }
/** What is each one's own, drawn or measured, is not compared. */
const comparable = ({
  id,
  parentId,
  traceId,
  tags,
  timestamp,
  duration,
  localEndpoint,
  annotations: _a,
  ...rest
}: ZipkinSpan): object => {
  const { node_id: _, response_size: size, ...others } = tags
  assert.ok(timestamp && duration && localEndpoint)
  return {
    ...rest,
    trace: traceId === TRACE ? TRACE : String(traceId).length,
    id: id === SPAN ? SPAN : String(id).length,
    parent: parentId ?? null,
    tags: { ...others, size: tags['http.status_code'] === '200' ? size : 'own' },
  }
}
const told = (headers: http.IncomingHttpHeaders): object => ({
  id: headers['x-request-id'],
  sampled: headers['x-b3-sampled'],
  trace: headers['x-b3-traceid'] === TRACE ? TRACE : String(headers['x-b3-traceid']).length,
  span: headers['x-b3-spanid'] === SPAN ? SPAN : String(headers['x-b3-spanid']).length,
  parent: headers['x-b3-parentspanid'],
  single: headers['b3']?.toString().replace(/-[0-9a-f]{16}-/, '-ID-'),
})

test('the same requests, the same spans', async (t) => {
  const seen: http.IncomingHttpHeaders[] = []
  const theirs: ZipkinSpan[] = []
  const originPort = await serveHttp(t, (request, response) => {
    seen.push(request.headers)
    response.end('hi')
  })
  const collector = await serveHttp(t, (request, response) => {
    void request.toArray().then((chunks) => {
      theirs.push(...(JSON.parse(Buffer.concat(chunks as Buffer[]).toString()) as ZipkinSpan[]))
      response.statusCode = 202
      response.end()
    })
  })
  const names = Object.keys(LISTENERS)
  const ports = await freePorts(names.length)
  const listeners = names.map((name, i) => ({ ...listenerOf(ports[i]!, ...LISTENERS[name]!), name }))
  const clusters = [staticCluster('origin', originPort), staticCluster('collector', collector)]
  const layer = { name: 'static', static_layer: { 'tracing.zipkin.min_flush_spans': 1 } }
  await startStaticEnvoy(t, { listeners, clusters, runtime: { layers: [layer] } }, ports.at(-1)!)
  for (const [i, name] of names.entries()) {
    const decoded = decode('listener', sample(listenerOf(80, ...LISTENERS[name]!)).bytes)
    assert.ok(decoded.ok)
    assert.deepEqual([decoded.skipped, decoded.ignored], [[], []])
    const { codec } = decoded.value.filterChains[0]!
    assert.ok(codec.kind === 'http')
    const ours: ZipkinSpan[] = []
    const exports: ExportOutput = {
      send: (_, __, item) => void ours.push(JSON.parse(item.toString()) as ZipkinSpan),
    }
    const both = await Both.start(t, codec.http, { exports, originPort, direction: decoded.value.direction })
    for (const ask of ASKS) {
      theirs.length = ours.length = seen.length = 0
      const what = `${name}: ${JSON.stringify(ask)}`
      await askAt(ports[i]!, 'http1', ask)
      await both.ask('http1', ask)
      await sleep(30)
      assert.deepEqual(told(seen[1] ?? {}), told(seen[0] ?? {}), what)
      assert.deepEqual(ours.map(comparable), theirs.map(comparable), what)
    }
  }
})
