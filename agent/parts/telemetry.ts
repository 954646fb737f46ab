import type { NodeDescription } from '../../control-sync/ads/node.ts'
import type { TelemetrySettings } from '../../model/telemetry.ts'
import { SpanExporter } from '../../protocols/telemetry/tracing/exporter.ts'
import type { Foundation } from './foundation.ts'

/** Who we are in istio_* metrics: what istiod is told of the node. */
export function readTelemetrySettings({ config, node }: Pick<Foundation, 'config' | 'node'>): TelemetrySettings {
  return {
    workload: readOwnWorkload(node.description.metadata),
    nodeId: () => node.description.id,
    istioVersion: textOf(node.description.metadata['ISTIO_VERSION']),
    maxSeries: config.telemetry.maxSeries,
  }
}

/** Spans go by the name that the node has as a cluster in Istio: its canonical service in its namespace. */
export function createSpanExporter(
  f: Pick<Foundation, 'config' | 'node' | 'clock' | 'log' | 'metrics' | 'tables' | 'scope'>,
): SpanExporter {
  const { canonicalService, namespace } = readOwnWorkload(f.node.description.metadata)
  const { clock, log, metrics, tables } = f
  const serviceName = `${canonicalService}.${namespace}`
  return f.scope.own(new SpanExporter({ clock, log, metrics, tables, serviceName }))
}

/** @param metadata of the node, in Istio's form */
export function readOwnWorkload(metadata: NodeDescription['metadata']): TelemetrySettings['workload'] {
  const { LABELS: labels } = metadata
  const label = (name: string): string =>
    textOf(labels && typeof labels === 'object' && !Array.isArray(labels) ? labels[name] : undefined)
  const name = textOf(metadata['WORKLOAD_NAME'])
  return {
    name,
    namespace: textOf(metadata['NAMESPACE']),
    canonicalService: label('service.istio.io/canonical-name') || name,
    canonicalRevision: label('service.istio.io/canonical-revision') || 'latest',
    cluster: textOf(metadata['CLUSTER_ID']),
    app: label('app'),
    version: label('version'),
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
