/** envoy.config.endpoint.v3.ClusterLoadAssignment → ClusterLoad. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { ClusterLoad, Endpoint, LocalityLoad } from '../../model/cluster.ts'
import { parseIpAndPort } from '../../model/ip.ts'
import type { EnvoyInternalAddress } from '../../proto/gen/envoy/config/core/v3/address_pb.ts'
import { HealthStatus } from '../../proto/gen/envoy/config/core/v3/health_check_pb.ts'
import type {
  Endpoint_AdditionalAddress,
  Endpoint_HealthCheckConfig,
  LbEndpoint,
  LocalityLbEndpoints,
} from '../../proto/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts'
import type { ClusterLoadAssignment } from '../../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import type { DecodePath } from './fields/decode-path.ts'
import { decodeSocketAddress } from './fields/values.ts'

/** Envoy's highest priority number (LocalityLbEndpoints.priority). */
const MAX_PRIORITY = 128

export function decodeClusterLoad(at: DecodePath, from: ClusterLoadAssignment): ClusterLoad {
  if (from.clusterName === '') at.in('cluster_name').issue('is missing')
  const localities = (): LocalityLoad[] => {
    if (from.policy && from.policy.dropOverloads.length > 0)
      at.in('policy').in('drop_overloads').issue('is not supported: nothing is sent')
    return from.endpoints.flatMap((group, i) => {
      const here = at.in('endpoints').item(i)
      return here.piece(() => [locality(here, group)], leftOut)
    })
  }
  return { clusterName: from.clusterName, localities: at.piece(localities, leftOut) }
}

/** Nothing is sent where nobody knows what was meant. */
const leftOut = (): [] => []

function locality(at: DecodePath, from: LocalityLbEndpoints): LocalityLoad {
  if (from.priority > MAX_PRIORITY) at.in('priority').issue(`is above ${MAX_PRIORITY}`)
  return {
    region: from.locality?.region ?? '',
    zone: from.locality?.zone ?? '',
    subZone: from.locality?.subZone ?? '',
    priority: from.priority,
    weight: from.loadBalancingWeight ?? 0,
    endpoints: from.lbEndpoints.flatMap((one, i) => {
      const here = at.in('lb_endpoints').item(i)
      return here.piece(() => endpoint(here, one) ?? [], leftOut)
    }),
  }
}

function endpoint(at: DecodePath, from: LbEndpoint): Endpoint | undefined {
  if (from.hostIdentifier.case !== 'endpoint') {
    at.ignore('only endpoints with an address of their own are used')
    return undefined
  }
  const { address } = from.hostIdentifier.value
  const here = at.in('endpoint').in('address')
  if (address?.address.case === 'envoyInternalAddress') return behindTunnel(at, from, address.address.value)
  if (address && address.address.case !== 'socketAddress') {
    here.ignore('only socket_address is supported')
    return undefined
  }
  const to = decodeSocketAddress(here, address)
  if (!to) return undefined
  return {
    address: to.host,
    port: to.port,
    ...common(from),
    ...others(at.in('endpoint').in('additional_addresses'), from.hostIdentifier.value.additionalAddresses),
    ...(from.hostIdentifier.value.hostname === '' ? {} : { hostname: from.hostIdentifier.value.hostname }),
    ...check(at.in('endpoint').in('health_check_config'), from.hostIdentifier.value.healthCheckConfig),
  }
}

function check(at: DecodePath, from: Endpoint_HealthCheckConfig | undefined): Pick<Endpoint, 'check'> {
  if (!from) return {}
  const to = from.address && decodeSocketAddress(at.in('address'), from.address)
  if (from.portValue > 65_535) at.in('port_value').issue('is no port')
  const port = from.portValue || to?.port
  if (/[\0\r\n]/.test(from.hostname)) at.in('hostname').issue('contains a line break or NUL')
  return {
    check: {
      ...(to && { address: to.host }),
      ...(port !== undefined && { port }),
      ...(from.hostname !== '' && { hostname: from.hostname }),
      ...(from.disableActiveHealthCheck && { isOff: true }),
    },
  }
}

function common(from: LbEndpoint): Pick<Endpoint, 'weight' | 'health' | 'transportLabels' | 'workload'> {
  return {
    weight: from.loadBalancingWeight ?? 1,
    health: decodeHealth(from.healthStatus),
    transportLabels: selectTextFields(from.metadata?.filterMetadata['envoy.transport_socket_match']),
    workload: selectTextFields(from.metadata?.filterMetadata['istio'])['workload'],
  }
}

/**
 * Istio's way to say HBONE: an internal listener as the address, and where its tunnel leads in the metadata
 * (pilot/pkg/xds/endpoints).
 */
function behindTunnel(at: DecodePath, from: LbEndpoint, address: EnvoyInternalAddress): Endpoint | undefined {
  const section = selectTextFields(from.metadata?.filterMetadata[ORIGINAL_DST])
  const [target, waypoint] = [parseIpAndPort(section['local']), parseIpAndPort(section['waypoint'])]
  const here = at.in('metadata').in('filter_metadata').item(ORIGINAL_DST)
  if (!target) {
    here.in('local').ignore('an internal listener is told to which address: this endpoint gets nothing')
    return undefined
  }
  if (section['waypoint'] !== undefined && !waypoint) here.in('waypoint').issue('is no address with a port')
  return {
    address: target.host,
    port: target.port,
    ...common(from),
    via: { listener: address.addressNameSpecifier.value ?? '', ...(waypoint && { waypoint }) },
  }
}
const ORIGINAL_DST = 'envoy.filters.listener.original_dst'

/** One that is no socket is one way less. */
function others(at: DecodePath, from: readonly Endpoint_AdditionalAddress[]): Pick<Endpoint, 'others'> {
  const made = from.flatMap(({ address }, i) => {
    const here = at.item(i)
    if (address?.address.case !== 'socketAddress') {
      here.ignore('only socket_address is supported')
      return []
    }
    const to = decodeSocketAddress(here.in('address'), address)
    return to ? [{ address: to.host, port: to.port }] : []
  })
  return made.length === 0 ? {} : { others: made }
}

export function decodeHealth(status: LbEndpoint['healthStatus']): Endpoint['health'] {
  switch (status) {
    case HealthStatus.UNHEALTHY:
    case HealthStatus.TIMEOUT:
      return 'unhealthy'
    case HealthStatus.DRAINING:
      return 'draining'
    case HealthStatus.DEGRADED:
      return 'degraded'
    case HealthStatus.UNKNOWN:
    case HealthStatus.HEALTHY:
    default:
      return 'healthy'
  }
}

/** The text values of a Struct, such as one section of filter_metadata. */
export function selectTextFields(struct: JsonObject | undefined): Readonly<Record<string, string>> {
  if (!struct) return NONE
  return Object.fromEntries(
    Object.entries(struct).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}
const NONE: Readonly<Record<string, string>> = {}
