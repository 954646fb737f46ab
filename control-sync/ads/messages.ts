/** Messages of both ADS flavours ↔ the words of protocol.ts and sotw.ts. */
import { create, fromBinary } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'
import { TYPE_URLS, type ResourceKind } from '../../model/snapshot.ts'
import type { AdsRequest, AdsResponse } from './protocol.ts'
import type { SotwRequest, SotwResponse } from './sotw.ts'
import type { DeltaResponse } from './delta-wire.ts'
import type { NodeDescription } from './node.ts'
import {
  DeltaDiscoveryRequestSchema,
  DiscoveryRequestSchema,
  ResourceSchema,
  type DeltaDiscoveryRequest,
  type DiscoveryRequest,
  type DiscoveryResponse,
} from '../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'

/** gRPC status INVALID_ARGUMENT, what Envoy puts into a nack. */
const NACK_CODE = 3

/** gRPC status INTERNAL, what Istio's agent says of a workload that does not work. */
const UNHEALTHY_CODE = 13
const HEALTH_TYPE_URL = 'type.googleapis.com/istio.v1.HealthInformation'

const KIND_OF = new Map(Object.entries(TYPE_URLS).map(([kind, url]) => [url as string, kind as ResourceKind]))
export function findKind(typeUrl: string): ResourceKind | undefined {
  return KIND_OF.get(typeUrl)
}

/** Without `subscribe` and `known`: delta-wire.ts writes those. */
export function encodeDeltaRequest(r: AdsRequest, node: NodeDescription): DeltaDiscoveryRequest {
  return create(DeltaDiscoveryRequestSchema, {
    typeUrl: TYPE_URLS[r.kind],
    resourceNamesUnsubscribe: [...r.unsubscribe],
    responseNonce: r.nonce,
    ...errorAndNode(r, node),
  })
}
export function encodeSotwRequest(r: SotwRequest, node: NodeDescription): DiscoveryRequest {
  return create(DiscoveryRequestSchema, {
    typeUrl: TYPE_URLS[r.kind],
    resourceNames: [...r.names],
    versionInfo: r.version,
    responseNonce: r.nonce,
    ...errorAndNode(r, node),
  })
}

/** istio.v1.HealthInformation, which has no fields: the error says it (istio pkg/istio-agent/xds_proxy_delta.go). */
export function encodeDeltaHealth(health: WorkloadHealth): DeltaDiscoveryRequest {
  return create(DeltaDiscoveryRequestSchema, healthFields(health))
}
export function encodeSotwHealth(health: WorkloadHealth): DiscoveryRequest {
  return create(DiscoveryRequestSchema, healthFields(health))
}
function healthFields({ state, reason = '' }: WorkloadHealth) {
  return {
    typeUrl: HEALTH_TYPE_URL,
    ...(state === 'healthy' ? {} : { errorDetail: { code: UNHEALTHY_CODE, message: reason } }),
  }
}

/** Undefined for a kind that was not asked for: a habit of some servers and no reason to lose the stream. */
export function decodeDeltaResponse(message: DeltaResponse): AdsResponse | undefined {
  const kind = findKind(message.typeUrl)
  return (
    kind && {
      kind,
      nonce: message.nonce,
      systemVersion: message.systemVersionInfo,
      removed: message.removedResources,
      resources: message.resources,
      bytes: message.bytes,
    }
  )
}
export function decodeSotwResponse(message: DiscoveryResponse): SotwResponse | undefined {
  const kind = findKind(message.typeUrl)
  return kind && { kind, nonce: message.nonce, version: message.versionInfo, values: message.resources.map(unwrapped) }
}

const WRAPPER = `type.googleapis.com/${ResourceSchema.typeName}`

/** A server may wrap each resource (discovery.proto, `DiscoveryResponse.resources`: TTL, cache control). */
function unwrapped(any: Any): Uint8Array {
  if (any.typeUrl !== WRAPPER) return any.value
  try {
    return fromBinary(ResourceSchema, any.value).resource?.value ?? new Uint8Array(0)
  } catch {
    return any.value
  }
}

function errorAndNode(
  { error, withNode }: { readonly error: string | undefined; readonly withNode: boolean },
  node: NodeDescription,
) {
  return {
    ...(error === undefined ? {} : { errorDetail: { code: NACK_CODE, message: error } }),
    ...(withNode
      ? {
          node: {
            id: node.id,
            cluster: node.cluster,
            metadata: node.metadata,
            locality: node.locality,
            userAgentName: 'meshlet',
            userAgentVersionType: { case: 'userAgentVersion' as const, value: node.userAgentVersion },
          },
        }
      : {}),
  }
}
