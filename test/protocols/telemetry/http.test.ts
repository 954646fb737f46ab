import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import type { RequestEnds } from '../../../protocols/telemetry/http-group.ts'
import { HttpReporter, type RequestResult } from '../../../protocols/telemetry/http.ts'
import { Telemetry } from '../../../protocols/telemetry/telemetry.ts'
import { compileLabel, type CelExpression } from '../../../model/access-log/cel/evaluate.ts'
import { GrpcMessages } from '../../../protocols/telemetry/grpc-messages.ts'
import { HTTP_METRICS } from '../../../model/telemetry.ts'
import { factsOf } from '../../model/access-log-facts.ts'
import { cluster, endpoint } from '../http/harness.ts'

const ENDS: RequestEnds = {
  filter: { hostFallback: true, dropped: new Set(), tags: new Map(), expressions: [] },
  reporter: 'source',
  cluster: cluster(),
  endpoint: endpoint('10.0.0.1', 80, { workload: 'a;b;c;d;e' }),
  routeName: '',
  host: 'x',
  ownPrincipal: undefined,
  peerPrincipal: undefined,
  metadata: undefined,
  baggage: undefined,
}
const RESULT: RequestResult = {
  status: 200,
  flags: '-',
  grpcStatus: undefined,
  durationMs: 1,
  receivedBytes: 0,
  sentBytes: 0,
}

for (const [what, change, label] of [
  [
    'the endpoint',
    { endpoint: endpoint('10.0.0.2', 80, { workload: 'other;b;c;d;e' }) },
    { destination_workload: 'other' },
  ],
  ['the host', { host: 'y' }, { destination_service: 'y' }],
  ['the principals', { peerPrincipal: 'spiffe://t/ns/n/sa/s' }, { destination_workload_namespace: 'n' }],
  ['our certificate', { ownPrincipal: 'spiffe://t/ns/n/sa/s' }, { source_principal: 'spiffe://t/ns/n/sa/s' }],
  ['the route', { routeName: 'block_all' }, { destination_service_name: 'BlackHoleCluster' }],
  [
    'the cluster',
    { cluster: cluster([], { name: 'PassthroughCluster' }) },
    { destination_service_name: 'PassthroughCluster' },
  ],
] as const)
  test(`${what} of a request is told, whatever was before on the connection or another one`, () => {
    const metrics = new Metrics()
    const telemetry = new Telemetry({ metrics })
    for (const reporter of [new HttpReporter(telemetry), new HttpReporter(telemetry)])
      for (const ends of [ENDS, { ...ENDS, ...change }, ENDS, { ...ENDS, ...change }])
        reporter.report(ends, RESULT, factsOf)
    assert.deepEqual([metrics.total('istio_requests_total', label), metrics.total('istio_requests_total')], [4, 8])
    assert.equal(metrics.total('mesh_telemetry_series'), 2)
  })

function byExpression(source: string): RequestEnds {
  const made = compileLabel(source)
  assert.ok('expression' in made)
  const expressions: readonly CelExpression[] = [made.expression]
  const label = new Map([['asked', made.expression]])
  return {
    ...ENDS,
    filter: {
      ...ENDS.filter,
      expressions,
      tags: new Map([
        ['requests_total', label],
        ['request_messages_total', label],
      ]),
    },
  }
}

test('a label by an expression is what each request gives, within the budget of series', () => {
  const metrics = new Metrics()
  const workload = {
    name: '',
    namespace: '',
    canonicalService: '',
    canonicalRevision: '',
    cluster: '',
    app: '',
    version: '',
  }
  const reporter = new HttpReporter(new Telemetry({ metrics, telemetry: { workload, nodeId: () => '', maxSeries: 3 } }))
  const ends = byExpression('request.path')
  for (const path of ['/a', '/b', '/a', undefined, '/too/many'])
    reporter.report(ends, RESULT, () => factsOf({ fields: path === undefined ? {} : { ':path': path } }))
  const count = (asked: string): number => metrics.total('istio_requests_total', { asked })
  assert.deepEqual([count('/a'), count('/b'), count('unknown')], [2, 1, 1])
  assert.equal(metrics.total('istio_requests_total'), 5)
  assert.equal(metrics.total('mesh_telemetry_series_dropped_total'), 1)
  assert.equal(metrics.total('istio_request_bytes_count', { asked: '/a' }), 0, 'of the one metric alone')
})

test('messages of a stream stay in the series that its first ones were counted in', () => {
  const metrics = new Metrics()
  const reporter = new HttpReporter(new Telemetry({ metrics }))
  const ends = byExpression('string(response.code)')
  const messages = new GrpcMessages()
  for (const status of [200, 503]) {
    messages.requests.add(Buffer.alloc(5))
    reporter.reportMessages(ends, messages, () => factsOf({ status }))
  }
  assert.equal(metrics.total('istio_request_messages_total', { asked: '200' }), 2)
})

test('what clients write and no label tells is not kept without end', () => {
  const telemetry = new Telemetry({ metrics: new Metrics() })
  const { filter } = byExpression('request.path')
  const onlyTcp = { ...filter, tags: new Map([['tcp_sent_bytes_total', filter.tags.get('requests_total')!]] as const) }
  const group = telemetry.group('destination', {}, onlyTcp)
  const counts = [(path: string) => group.find(RESULT, [path]), (path: string) => group.messages([path])]
  for (const find of counts) {
    const first = find('/')
    assert.equal(find('/'), first)
    for (let i = 0; i < 2_000; i++) find(`/${i}`)
    assert.notEqual(find('/'), first, 'found anew')
  }
  const removed = new Map<string, undefined>([['source_workload', undefined]])
  const nameless = { ...ENDS.filter, tags: new Map(HTTP_METRICS.map((name) => [name, removed])) }
  const groupOf = (said: string): unknown => telemetry.group('destination', { source_workload: said }, nameless)
  const first = groupOf('one')
  assert.equal(groupOf('one'), first)
  for (let i = 0; i < 2_000; i++) groupOf(`${i}`)
  assert.notEqual(groupOf('one'), first, 'found anew')
})
