/** envoy.config.endpoint.v3.ClusterLoadAssignment → ClusterLoad. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { ClusterLoad, Endpoint, LocalityLoad } from '../../agent/model/cluster.ts'
import { HealthStatus } from '../proto/gen/envoy/config/core/v3/health_check_pb.ts'
import type { LbEndpoint, LocalityLbEndpoints } from '../proto/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts'
import type { ClusterLoadAssignment } from '../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import type { At } from './at.ts'
import { socketAddress } from './values.ts'

/** Envoy's highest priority number (LocalityLbEndpoints.priority). */
const MAX_PRIORITY = 128

export function clusterLoad(at: At, from: ClusterLoadAssignment): ClusterLoad {
  if (from.clusterName === '') at.in('cluster_name').issue('is missing')
  return { clusterName: from.clusterName, localities: from.endpoints.map((group, i) => locality(at.in('endpoints').item(i), group)) }
}

function locality(at: At, from: LocalityLbEndpoints): LocalityLoad {
  if (from.priority > MAX_PRIORITY) at.in('priority').issue(`is above ${MAX_PRIORITY}`)
  return {
    region: from.locality?.region ?? '', zone: from.locality?.zone ?? '', subZone: from.locality?.subZone ?? '',
    priority: from.priority, weight: from.loadBalancingWeight ?? 0,
    endpoints: from.lbEndpoints.flatMap((one, i) => endpoint(at.in('lb_endpoints').item(i), one) ?? []),
  }
}

function endpoint(at: At, from: LbEndpoint): Endpoint | undefined {
  if (from.hostIdentifier.case !== 'endpoint') { at.ignore('only endpoints with an address of their own are used'); return undefined }
  const { address } = from.hostIdentifier.value
  const here = at.in('endpoint').in('address')
  if (address && address.address.case !== 'socketAddress') { here.ignore('only socket_address is supported'); return undefined }
  const to = socketAddress(here, address)
  if (!to) return undefined
  return {
    address: to.host, port: to.port, weight: from.loadBalancingWeight ?? 1, health: healthOf(from.healthStatus),
    transportLabels: textFields(from.metadata?.filterMetadata['envoy.transport_socket_match']), workload: textFields(from.metadata?.filterMetadata['istio'])['workload'],
  }
}

function healthOf(status: LbEndpoint['healthStatus']): Endpoint['health'] {
  switch (status) {
    case HealthStatus.UNHEALTHY: case HealthStatus.TIMEOUT: return 'unhealthy'
    case HealthStatus.DRAINING: return 'draining'
    case HealthStatus.UNKNOWN: case HealthStatus.HEALTHY: case HealthStatus.DEGRADED: default: return 'healthy'
  }
}

/** The text values of a Struct, such as one section of filter_metadata. */
export function textFields(struct: JsonObject | undefined): Readonly<Record<string, string>> {
  if (!struct) return NONE
  return Object.fromEntries(Object.entries(struct).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}
const NONE: Readonly<Record<string, string>> = {}
