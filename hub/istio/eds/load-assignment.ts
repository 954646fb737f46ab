/** Endpoints of a cluster, as a node sees them (xds/endpoints/endpoint_builder.go). */
import { ipBytes } from '../../../model/ip.ts'
import { compareText } from '../config.ts'
import type { DestinationRule } from '../kinds/destination-rule.ts'
import { compact, makeSocketAddress, type Json } from '../json.ts'
import { readCanonical, type Endpoint, type Service } from '../mesh/services.ts'
import { mergeSubset, selectPort, selectSubset } from '../mesh/traffic-policy.ts'
import type { Proxy } from '../mesh/proxy.ts'
import { splitLocality } from '../mesh/locality.ts'
import { applyLocality, chooseLocalitySetting, type Group } from './locality.ts'

export type Destination = {
  readonly service: Service
  readonly port: number
  readonly subset: string
  readonly rule: DestinationRule | undefined
}

/** EDS: only what has an address. */
export function makeLoadAssignment(proxy: Proxy, name: string, to: Destination): Json {
  const endpoints = selectEndpoints(proxy, to).filter((e) => ipBytes(e.address) !== undefined)
  return makeAssignment(name, arrange(proxy, to, endpoints))
}

/** For a cluster that has its endpoints within it; undefined when there are none. */
export function makeInlineAssignment(proxy: Proxy, name: string, to: Destination): Json | undefined {
  const groups = arrange(proxy, to, selectEndpoints(proxy, to))
  return groups.length === 0 ? undefined : makeAssignment(name, groups)
}

function selectEndpoints({ mesh }: Proxy, { service, port, subset, rule }: Destination): Endpoint[] {
  return mesh.registry.endpointsOf(service, port, selectSubset(rule, subset)?.labels)
}

function arrange(proxy: Proxy, to: Destination, endpoints: readonly Endpoint[]): Group[] {
  const policy = mergeSubset(to.rule?.trafficPolicy, selectSubset(to.rule, to.subset)?.trafficPolicy, to.port)
  const byPlace = [...Map.groupBy(endpoints, (e) => e.locality)].sort(([a], [b]) => compareText(a, b))
  const groups = byPlace.map(([place, there]): Group => ({
    locality: splitLocality(place),
    endpoints: there.map((endpoint) => ({ endpoint, json: makeEndpoint(proxy, to, endpoint) })),
    priority: 0,
    weight: there.reduce((sum, e) => sum + (e.weight || 1), 0),
  }))
  const setting = chooseLocalitySetting(policy?.loadBalancer?.localityLbSetting)
  const viewer = { locality: proxy.locality, labels: proxy.labels }
  return applyLocality(groups, setting, { viewer, canFail: policy?.outlierDetection !== undefined })
}

function makeAssignment(name: string, groups: readonly Group[]): Json {
  return {
    cluster_name: name,
    endpoints: groups.map(({ locality, endpoints, priority, weight }) =>
      compact({
        locality: compact({
          region: locality.region || undefined,
          zone: locality.zone || undefined,
          sub_zone: locality.subZone || undefined,
        }),
        lb_endpoints: endpoints.map(({ json }) => json),
        load_balancing_weight: weight,
        priority: priority || undefined,
      }),
    ),
  }
}

function makeEndpoint(proxy: Proxy, to: Destination, endpoint: Endpoint): Json {
  const { name, revision } = readCanonical(endpoint.labels, endpoint.workload)
  const workload = [
    endpoint.workload,
    endpoint.namespace,
    name,
    revision === 'latest' ? '' : revision,
    proxy.mesh.options.clusterId,
  ].join(';')
  const tlsMode = takesMtls(proxy, to, endpoint) ? endpoint.tlsMode : ''
  return {
    endpoint: { address: makeSocketAddress(endpoint.address, endpoint.port) },
    load_balancing_weight: endpoint.weight || 1,
    metadata: {
      filter_metadata: {
        istio: { workload },
        ...(tlsMode === '' || tlsMode === 'disabled' ? {} : { 'envoy.transport_socket_match': { tlsMode } }),
      },
    },
  }
}

/** A rule decides, or else whether the workload has a sidecar and takes mutual TLS. */
function takesMtls({ mesh }: Proxy, { rule, subset, port }: Destination, endpoint: Endpoint): boolean {
  const policy = subset === '' ? rule?.trafficPolicy : selectSubset(rule, subset)?.trafficPolicy
  const ofPort = selectPort(policy, port)
  const tls = (ofPort.isOfPort ? ofPort.policy?.tls : undefined) ?? policy?.tls
  if (tls) return tls.mode === 'ISTIO_MUTUAL'
  if (endpoint.tlsMode !== 'istio') return false
  const { mode, perPort } = mesh.peers.modesOfWorkload(endpoint.namespace, endpoint.labels)
  return (perPort.get(endpoint.port) ?? mode) !== 'DISABLE'
}
