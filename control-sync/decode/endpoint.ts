/** envoy.config.endpoint.v3.ClusterLoadAssignment → ClusterLoad. */
import type { ClusterLoad, Endpoint, LocalityLoad } from '../../agent/model/cluster.ts'
import { HealthStatus } from '../proto/gen/envoy/config/core/v3/health_check_pb.ts'
import type { Metadata } from '../proto/gen/envoy/config/core/v3/base_pb.ts'
import type { LbEndpoint, LocalityLbEndpoints } from '../proto/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts'
import { ClusterLoadAssignmentSchema, type ClusterLoadAssignment } from '../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { noteIgnored, type At } from './at.ts'
import { socketAddress } from './values.ts'

/** Envoy's highest priority number (LocalityLbEndpoints.priority). */
const MAX_PRIORITY = 128

export function clusterLoad(at: At, from: ClusterLoadAssignment): ClusterLoad {
  noteIgnored(at, ClusterLoadAssignmentSchema, from)
  return clusterLoadNested(at, from)
}

/** For the `load_assignment` of a cluster, whose ignored fields are reported by the cluster. */
export function clusterLoadNested(at: At, from: ClusterLoadAssignment): ClusterLoad {
  if (from.clusterName === '') at.in('cluster_name').issue('is missing')
  return { clusterName: from.clusterName, localities: from.endpoints.map((group, i) => locality(at.in('endpoints').item(i), group)) }
}

function locality(at: At, from: LocalityLbEndpoints): LocalityLoad {
  if (from.priority > MAX_PRIORITY) at.in('priority').issue(`is above ${MAX_PRIORITY}`)
  return {
    region: from.locality?.region ?? '', zone: from.locality?.zone ?? '', subZone: from.locality?.subZone ?? '',
    priority: from.priority, weight: from.loadBalancingWeight ?? 1,
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
    transportLabels: stringsOf(from.metadata, 'envoy.transport_socket_match'), workload: stringsOf(from.metadata, 'istio')['workload'],
  }
}

function healthOf(status: LbEndpoint['healthStatus']): Endpoint['health'] {
  switch (status) {
    case HealthStatus.UNHEALTHY: case HealthStatus.TIMEOUT: return 'unhealthy'
    case HealthStatus.DRAINING: return 'draining'
    default: return 'healthy'
  }
}

/** The text values of one section of filter_metadata. */
export function stringsOf(metadata: Metadata | undefined, section: string): Record<string, string> {
  const values = metadata?.filterMetadata[section]
  if (!values) return NONE
  return Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}
const NONE: Record<string, string> = {}
