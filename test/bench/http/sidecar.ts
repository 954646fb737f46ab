/** What istiod gives a sidecar: filters, metrics, an access log and 1 % tracing. */
import path from 'node:path'
import type { HttpJob } from './job.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** For both. @param file of the access log */
export function sidecarManager(j: HttpJob, file: string): object {
  return {
    access_log: [
      {
        name: 'file',
        typed_config: {
          '@type': type('extensions.access_loggers.file.v3.FileAccessLog'),
          path: path.join(j.dir, file),
        },
      },
    ],
    tracing: {
      client_sampling: { value: 100 },
      random_sampling: { value: 1 },
      overall_sampling: { value: 100 },
      provider: {
        name: 'envoy.tracers.zipkin',
        typed_config: {
          '@type': type('config.trace.v3.ZipkinConfig'),
          collector_cluster: 'collector',
          collector_endpoint: '/',
          collector_endpoint_version: 'HTTP_JSON',
          trace_id_128bit: true,
          shared_span_context: false,
        },
      },
    },
  }
}

/** In front of the router; where rules stand is the subject's own. */
export const SIDECAR_FILTERS: readonly object[] = [
  {
    name: 'envoy.filters.http.grpc_stats',
    typed_config: { '@type': type('extensions.filters.http.grpc_stats.v3.FilterConfig'), emit_filter_state: true },
  },
  { name: 'envoy.filters.http.fault', typed_config: { '@type': type('extensions.filters.http.fault.v3.HTTPFault') } },
  { name: 'envoy.filters.http.cors', typed_config: { '@type': type('extensions.filters.http.cors.v3.Cors') } },
]

/** Of Istio's proxy, and so of meshlet alone: a plain Envoy does not have them, and counts for itself. */
export const ISTIO_FILTERS: readonly object[] = [
  {
    name: 'istio.metadata_exchange',
    typed_config: {
      '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
      type_url: 'type.googleapis.com/io.istio.http.peer_metadata.Config',
      value: { downstream_discovery: [{ istio_headers: {} }], downstream_propagation: [{ istio_headers: {} }] },
    },
  },
  {
    name: 'istio.stats',
    typed_config: {
      '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
      type_url: 'type.googleapis.com/stats.PluginConfig',
      value: { disable_host_header_fallback: true },
    },
  },
]
