/** Clusters of services that a node imports, with their subsets (core/cluster.go buildOutboundClusters). */
import { nameConfig } from '../config.ts'
import type { Subset, TrafficPolicy } from '../kinds/destination-rule.ts'
import { ADS_SOURCE, makeAny, makeExtension, nameCluster, type Json } from '../json.ts'
import { makeInlineAssignment, makeLoadAssignment } from '../eds/load-assignment.ts'
import type { MergedRule } from '../mesh/destination-rules.ts'
import type { MtlsMode } from '../mesh/peer-policies.ts'
import type { Proxy } from '../mesh/proxy.ts'
import type { Port, Service } from '../mesh/services.ts'
import { chooseRule } from '../mesh/sidecar-scope.ts'
import { mergeSubset, selectPort } from '../mesh/traffic-policy.ts'
import {
  buildCluster,
  describeService,
  draftCluster,
  METADATA_EXCHANGE,
  type ClusterDraft,
  type Discovery,
} from './cluster.ts'
import { applyConnectionPool, applyHttp2Upgrade } from './connection-pool.ts'
import { applyLoadBalancer, applyOutlierDetection } from './load-balancer.ts'
import { applyProxyProtocol, applyUpstreamTls } from './upstream-tls.ts'

export type Outbound = { readonly clusters: readonly Json[]; readonly assignments: readonly Json[] }

const DISCOVERY: Readonly<Record<Service['resolution'], Discovery>> = {
  STATIC: 'EDS',
  DNS: 'STRICT_DNS',
  DNS_ROUND_ROBIN: 'LOGICAL_DNS',
  NONE: 'ORIGINAL_DST',
}

export function makeOutboundClusters(proxy: Proxy): Outbound {
  const clusters: Json[] = []
  const assignments: Json[] = []
  for (const service of proxy.scope.services)
    for (const port of service.ports) {
      if (port.protocol === 'UDP') continue
      const rule = chooseRule(proxy.mesh, proxy, service)
      const subsets = [undefined, ...(rule?.spec.subsets ?? [])]
      for (const subset of subsets) {
        const made = makeCluster(proxy, { service, port, rule, subset })
        // A cluster that is looked up by name needs a name; its subsets go with it.
        if (!made && !subset) break
        if (!made) continue
        clusters.push(buildCluster(made))
        if (made.discovery === 'EDS') assignments.push(assign(proxy, { service, port, rule, subset }))
      }
    }
  return { clusters, assignments }
}

type Target = {
  readonly service: Service
  readonly port: Port
  readonly rule: MergedRule | undefined
  readonly subset: Subset | undefined
}
const nameOf = ({ service, port, subset }: Target): string => nameCluster(service.hostname, port.number, subset?.name)

function assign(proxy: Proxy, target: Target): Json {
  const { service, port, rule, subset } = target
  const to = { service, port: port.number, subset: subset?.name ?? '', rule: rule?.spec }
  return makeLoadAssignment(proxy, nameOf(target), to)
}

function makeCluster(proxy: Proxy, target: Target): ClusterDraft | undefined {
  const { service, port, rule, subset } = target
  const name = nameOf(target)
  const general = selectPort(rule?.spec.trafficPolicy, port.number).policy
  const policy = subset ? mergeSubset(general, subset.trafficPolicy, port.number) : general
  const isPassthrough = subset?.trafficPolicy?.loadBalancer?.simple === 'PASSTHROUGH'
  const ofRule = general?.loadBalancer?.simple === 'PASSTHROUGH' && subset !== undefined
  const discovery = isPassthrough || ofRule ? 'ORIGINAL_DST' : DISCOVERY[service.resolution]
  const draft = draftCluster(name, discovery, port.protocol)
  if (discovery === 'STRICT_DNS' || discovery === 'LOGICAL_DNS') {
    const to = { service, port: port.number, subset: subset?.name ?? '', rule: rule?.spec }
    const assignment = makeInlineAssignment(proxy, name, to)
    if (!assignment) return undefined
    Object.assign(draft.fields, makeDnsFields(proxy), { load_assignment: assignment })
  }
  const override = service.portOverrides.get(port.number)
  if (discovery === 'ORIGINAL_DST' && override !== undefined)
    draft.fields['original_dst_lb_config'] = { upstream_port_override: override }
  draft.metadata = { services: [describeService(service)] }
  applyPolicy(proxy, draft, { ...target, policy })
  addMetadata(draft, { ...target, policy })
  return draft
}

function makeDnsFields({ node }: Proxy): Json {
  const isIpv6 = node.ips.length > 0 && node.ips.every((ip) => ip.includes(':'))
  return {
    dns_lookup_family: isIpv6 ? 'V6_ONLY' : 'V4_ONLY',
    dns_refresh_rate: '60s',
    dns_jitter: '0.1s',
    respect_dns_ttl: true,
    typed_dns_resolver_config: makeExtension(
      'envoy.network.dns_resolver.cares',
      makeAny('envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig', { udp_max_queries: 100 }),
    ),
  }
}

type WithPolicy = Target & { readonly policy: TrafficPolicy | undefined }

function applyPolicy(proxy: Proxy, draft: ClusterDraft, { service, port, rule, subset, policy }: WithPolicy): void {
  applyHttp2Upgrade(draft, policy?.connectionPool)
  applyConnectionPool(draft, policy?.connectionPool, policy?.retryBudget)
  applyOutlierDetection(draft, policy?.outlierDetection)
  applyLoadBalancer(draft, policy?.loadBalancer)
  applyUpstreamTls(draft, policy?.tls, {
    isExternal: service.isExternal,
    mode: inferMtls(proxy, service, { port, policy: subset ? subset.trafficPolicy : rule?.spec.trafficPolicy }),
    accounts: proxy.mesh.registry.accountsOf(service),
    sni: `outbound_.${port.number}_.${subset?.name ?? ''}_.${service.hostname}`,
  })
  if (policy?.proxyProtocol) applyProxyProtocol(draft, policy.proxyProtocol.version ?? 'V1')
  if (draft.discovery === 'ORIGINAL_DST') draft.fields['lb_policy'] = 'CLUSTER_PROVIDED'
  if (draft.discovery === 'EDS')
    draft.fields['eds_cluster_config'] = { service_name: draft.fields['name']!, eds_config: ADS_SOURCE }
  draft.fields['filters'] = [METADATA_EXCHANGE]
}

/** Best effort: what the namespace says; a headless service needs a sidecar at each endpoint. */
function inferMtls(
  { mesh }: Proxy,
  service: Service,
  { port, policy }: { readonly port: Port; readonly policy: TrafficPolicy | undefined },
): MtlsMode | undefined {
  if (service.isExternal) return undefined
  if (service.resolution === 'NONE' || policy?.loadBalancer?.simple === 'PASSTHROUGH') {
    const endpoints = mesh.registry.endpointsOf(service, port.number)
    if (endpoints.length === 0 || endpoints.some((e) => e.tlsMode === 'disabled')) return 'DISABLE'
  }
  return mesh.peers.modeOfNamespace(service.namespace) ?? 'PERMISSIVE'
}

function addMetadata(draft: ClusterDraft, { service, rule, subset, policy }: WithPolicy): void {
  const istio = (draft.metadata ??= {})
  if (service.isExternal && !subset) istio['external'] = true
  if (!rule) return
  istio['config'] = nameConfig(rule.config)
  if (subset) istio['subset'] = subset.name
  if (policy?.tls?.mode === 'SIMPLE' || policy?.tls?.mode === 'MUTUAL') istio['alpn_override'] = 'false'
}
