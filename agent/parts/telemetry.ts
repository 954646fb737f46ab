import type { NodeDescription } from '../../control-sync/ads/node.ts'
import type { TelemetrySettings } from '../../model/telemetry.ts'
import type { Foundation } from './foundation.ts'

/** Who we are in istio_* metrics: what istiod is told of the node. */
export function readTelemetrySettings({ config, node }: Pick<Foundation, 'config' | 'node'>): TelemetrySettings {
  return {
    workload: readOwnWorkload(node.description.metadata),
    nodeId: () => node.description.id,
    maxSeries: config.telemetry.maxSeries,
  }
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
