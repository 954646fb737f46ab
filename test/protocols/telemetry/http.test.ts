import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import type { RequestEnds } from '../../../protocols/telemetry/http-group.ts'
import { HttpReporter, type RequestResult } from '../../../protocols/telemetry/http.ts'
import { Telemetry } from '../../../protocols/telemetry/telemetry.ts'
import { cluster, endpoint } from '../http/harness.ts'

const ENDS: RequestEnds = {
  filter: { hostFallback: true, dropped: new Set(), tags: new Map() },
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
      for (const ends of [ENDS, { ...ENDS, ...change }, ENDS, { ...ENDS, ...change }]) reporter.report(ends, RESULT)
    assert.deepEqual([metrics.total('istio_requests_total', label), metrics.total('istio_requests_total')], [4, 8])
    assert.equal(metrics.total('mesh_telemetry_series'), 2)
  })
