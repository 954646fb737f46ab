/**
 * Istio's dashboards for Grafana (manifests/addons/dashboards: mesh, service, workload, performance): what they ask
 * Prometheus of a proxy is there, under these names.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { Metrics } from '../../../core/metrics.ts'
import { GrpcMessages } from '../../../protocols/telemetry/grpc-messages.ts'
import { HttpReporter } from '../../../protocols/telemetry/http.ts'
import { Telemetry } from '../../../protocols/telemetry/telemetry.ts'
import { factsOf } from '../../model/access-log-facts.ts'
import { cluster, endpoint, manager } from '../http/harness.ts'
import { connectionInClear } from '../parts.ts'

const TO = 'destination_workload=~"$workload",destination_workload_namespace=~"$namespace"'
const FROM = 'source_workload=~"$srcwl",source_workload_namespace=~"$srcns"'
const SECURITY = 'connection_security_policy="mutual_tls"'
/** Metrics of the kubelet and of istiod are not ours to give. */
const QUERIES: readonly string[] = [
  'sum(rate(istio_requests_total{reporter=~"source|waypoint",response_code!~"5.."}[5m])) by (destination_workload, destination_workload_namespace, destination_service)',
  'histogram_quantile(0.5, sum(rate(istio_request_duration_milliseconds_bucket{reporter=~"source|waypoint"}[5m])) by (le, destination_workload, destination_workload_namespace))',
  'sum(rate(istio_tcp_received_bytes_total{reporter=~"source|waypoint"}[5m])) by (destination_workload, destination_workload_namespace, destination_service)',
  'sum(rate(istio_tcp_sent_bytes_total{reporter=~"source|waypoint"}[5m])) by (destination_workload, destination_workload_namespace, destination_service)',
  'sum(istio_build) by (component, tag)',
  'sum(istio_requests_total{reporter=~"$qrep",destination_service="$service"}) by (source_cluster)',
  'sum(istio_requests_total{reporter="destination"}) by (destination_cluster)',
  `sum(irate(istio_requests_total{${SECURITY},destination_service=~"$service",reporter=~"$qrep",${FROM}}[5m])) by (source_workload, source_workload_namespace, response_code)`,
  `sum(irate(istio_requests_total{reporter=~"$qrep",${SECURITY},${TO},${FROM}}[5m])) by (source_workload, source_workload_namespace, response_code)`,
  `sum(irate(istio_request_duration_milliseconds_bucket{reporter=~"$qrep",${SECURITY},${TO}}[1m])) by (source_workload, le)`,
  `sum(irate(istio_request_bytes_bucket{reporter=~"$qrep",${SECURITY},destination_service=~"$service",${FROM}}[1m])) by (source_workload, le)`,
  `sum(irate(istio_response_bytes_bucket{reporter=~"$qrep",${SECURITY},${TO}}[1m])) by (destination_workload, le)`,
  'sum(irate(istio_response_bytes_sum{source_workload_namespace!="istio-system",reporter="source"}[1m]))',
  'sum(irate(istio_request_bytes_sum{destination_workload_namespace!="istio-system",reporter="destination"}[1m]))',
  `sum(irate(istio_tcp_received_bytes_total{reporter=~"$qrep",${SECURITY},${TO},${FROM}}[1m])) by (destination_service)`,
  `sum(irate(istio_tcp_sent_bytes_total{reporter=~"$qrep",${SECURITY},${TO},${FROM}}[1m])) by (destination_service)`,
  'sum(rate(istio_tcp_connections_opened_total{source_app!=""}[1m]))',
  'sum(rate(istio_tcp_connections_closed_total{destination_app!=""}[1m]))',
  // Kiali.
  'sum(rate(istio_request_messages_total{source_canonical_service!=""}[1m])) by (destination_canonical_service)',
  'sum(rate(istio_response_messages_total{source_canonical_revision!=""}[1m])) by (destination_canonical_revision)',
  'sum(rate(istio_requests_total{source_principal!="",destination_principal!="",request_protocol="grpc",response_flags="-"}[1m])) by (grpc_response_status, destination_service_name, destination_service_namespace)',
]

/** Metric and labels of a query. */
function parseQuery(query: string): { readonly name: string; readonly labels: readonly string[] } {
  const [, name = '', matchers = ''] = /(istio_\w+)(?:\{([^}]*)\})?/.exec(query) ?? []
  const by = /\bby \(([^)]*)\)/.exec(query)?.[1]?.split(', ') ?? []
  return { name, labels: [...[...matchers.matchAll(/(\w+)(?:=|!)/g)].map((m) => m[1]!), ...by] }
}

function expose(): string {
  const metrics = new Metrics()
  const telemetry = new Telemetry({ metrics })
  const filter = { hostFallback: true, dropped: new Set<never>(), tags: new Map<never, never>(), expressions: [] }
  const ends = {
    filter,
    reporter: 'source' as const,
    cluster: cluster(),
    endpoint: endpoint('10.0.0.1', 80, { workload: 'a;b;c;d;e' }),
    routeName: '',
    host: 'x',
    ownPrincipal: undefined,
    peerPrincipal: undefined,
    metadata: undefined,
    baggage: undefined,
  }
  const reporter = new HttpReporter(telemetry)
  const messages = new GrpcMessages()
  messages.requests.add(Buffer.alloc(5))
  const result = { status: 200, flags: '-', grpcStatus: '0', durationMs: 1, receivedBytes: 5, sentBytes: 5 }
  reporter.report(ends, result, factsOf)
  reporter.reportMessages(ends, messages, factsOf)
  telemetry.tcp
    .opened(connectionInClear(new PassThrough(), manager()), { ...ends, flags: '-', facts: () => factsOf() })
    [Symbol.dispose]()
  return metrics.text()
}

test('every metric and label that the dashboards name is exposed', () => {
  const text = expose()
  for (const query of QUERIES) {
    const { name, labels } = parseQuery(query)
    const series = text.split('\n').find((line) => line.startsWith(`${name}{`))
    assert.ok(series !== undefined, `${name} is not exposed`)
    for (const label of labels)
      assert.match(series, new RegExp(`[{,]${label}="`), `${name} has no label ${label}: ${query}`)
  }
})
