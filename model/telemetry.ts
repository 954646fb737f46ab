/** What Istio's standard metrics tell of a request or connection, and what the filters for them ask for. */
import type { CelExpression } from './access-log/cel/evaluate.ts'
import type { Workload } from './access-log/workload.ts'

/** In Istio's order. https://istio.io/latest/docs/reference/config/metrics/ */
export const ISTIO_LABELS = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_service',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_service_name',
  'destination_service_namespace',
  'destination_cluster',
  'request_protocol',
  'response_code',
  'grpc_response_status',
  'response_flags',
  'connection_security_policy',
] as const
export type IstioLabel = (typeof ISTIO_LABELS)[number]
export type IstioLabels = { readonly [label in IstioLabel]?: string }

/** By the names that the filter's configuration has for them: without `istio_`. */
export const HTTP_METRICS = [
  'requests_total',
  'request_duration_milliseconds',
  'request_bytes',
  'response_bytes',
] as const
export const TCP_METRICS = [
  'tcp_sent_bytes_total',
  'tcp_received_bytes_total',
  'tcp_connections_opened_total',
  'tcp_connections_closed_total',
] as const
/** Of requests of gRPC, beside those of HTTP. */
export const GRPC_METRICS = ['request_messages_total', 'response_messages_total'] as const
export type IstioMetric = (typeof HTTP_METRICS)[number] | (typeof TCP_METRICS)[number] | (typeof GRPC_METRICS)[number]

/** Of agent.yaml: `node` as istiod knows it, and `telemetry`. */
export type TelemetrySettings = {
  readonly workload: Workload
  /** The node's id, which has its address: it may be another one later. */
  readonly nodeId: () => string
  /** By which spans go, and the cluster that Istio knows the node as: the canonical service in its namespace. */
  readonly serviceName?: string
  /** That of Istio, as istiod is told. */
  readonly istioVersion?: string
  /** Label sets of istio_* metrics. */
  readonly maxSeries: number
}

/** ALPN of connections on which both sides say who they are before their first byte. */
export const PEER_EXCHANGE = 'istio-peer-exchange'

export const DEFAULT_MAX_SERIES = 1_000

/** istio.stats (stats.PluginConfig), of a connection manager or of a filter chain. */
export type StatsFilter = {
  /** Where the control plane names no service, the request's host stands for it. */
  readonly hostFallback: boolean
  /** Not to be kept. */
  readonly dropped: ReadonlySet<IstioMetric>
  /** By label. */
  readonly tags: ReadonlyMap<IstioMetric, ReadonlyMap<string, LabelValue>>
  /** Those of `tags`, each once: evaluated for each request or connection. */
  readonly expressions: readonly CelExpression[]
}

/** undefined = the metric does not have the label. */
export type LabelValue = string | CelExpression | undefined

/** istio.metadata_exchange (io.istio.http.peer_metadata.Config): who the two sides of a request tell each other they are. */
export type MetadataExchange = {
  /** How a client says who it is, in order of precedence. */
  readonly clientBy: readonly ('headers' | 'baggage')[]
  /** The answer's headers say who the server is. */
  readonly serverByHeaders: boolean
  /** Requests on their way say who we are; `mesh`: only those to clusters that are not marked as external. */
  readonly tellsServer: 'all' | 'mesh' | undefined
  /** Answers say who we are, where the request said who the client is. */
  readonly tellsClient: boolean
}
