/** Cluster.metadata.filter_metadata.istio, for metrics and metadata exchange. Nothing of it decides where traffic goes. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { ClusterMetadata } from '../../../model/cluster.ts'

export function decodeClusterMetadata(istio: JsonObject | undefined): { readonly mesh?: ClusterMetadata } {
  if (!istio) return {}
  const { services } = istio
  const first = Array.isArray(services) ? services[0] : undefined
  const service = first && typeof first === 'object' && !Array.isArray(first) ? first : undefined
  return {
    mesh: {
      ...(service && {
        service: {
          host: textOf(service['host']),
          name: textOf(service['name']),
          namespace: textOf(service['namespace']),
        },
      }),
      isExternal: istio['external'] === true,
      withoutExchange: istio['disable_mx'] === true,
    },
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
