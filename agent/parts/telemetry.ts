import type { NodeDescription } from '../../control-sync/ads/node.ts'
import type { TelemetrySettings } from '../../model/telemetry.ts'
import path from 'node:path'
import { Exporter } from '../../protocols/telemetry/export/exporter.ts'
import type { Foundation } from './foundation.ts'

/** Who we are in istio_* metrics: what istiod is told of the node. */
export function readTelemetrySettings({ config, node }: Pick<Foundation, 'config' | 'node'>): TelemetrySettings {
  const workload = readOwnWorkload(node.description.metadata)
  return {
    workload,
    serviceName: `${workload.canonicalService}.${workload.namespace}`,
    nodeId: () => node.description.id,
    istioVersion: textOf(node.description.metadata['ISTIO_VERSION']),
    maxSeries: config.telemetry.maxSeries,
  }
}

/** What collectors do not take waits in the state folder. */
export function createExporter(f: Foundation, { serviceName, nodeId }: TelemetrySettings): Exporter {
  const { clock, log, metrics, tables, config, freeBytes } = f
  const file = path.join(config.state, 'telemetry.db')
  const disk = {
    openStorage: f.world.openStorage,
    path: file,
    hasFile: f.hasFile(file),
    maxBytes: config.telemetry.export.maxDiskBytes,
    freeBytes,
  }
  const name = serviceName ?? ''
  const sender = () => ({ nodeId: nodeId(), cluster: name, serviceName: name, environment: f.facts.resourceAttributes })
  return f.scope.own(new Exporter({ clock, log, metrics, tables, sender, disk }))
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
