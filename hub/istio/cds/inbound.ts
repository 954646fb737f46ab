/** Clusters of what arrives at a node: its own application (core/cluster.go buildInboundClusters). */
import { nameConfig } from '../config.ts'
import type { ConnectionPool, TrafficPolicy } from '../kinds/destination-rule.ts'
import type { Ingress } from '../kinds/sidecar.ts'
import { nameInbound, makeSocketAddress, type Json } from '../json.ts'
import { hasIpv4, chooseLoopback } from '../node.ts'
import { parseProtocol } from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import type { Port, Service } from '../mesh/services.ts'
import { chooseRule } from '../mesh/sidecar-scope.ts'
import { selectPort } from '../mesh/traffic-policy.ts'
import { buildCluster, describeService, draftCluster } from './cluster.ts'
import { applyConnectionPool } from './connection-pool.ts'

/** What runs until it is told otherwise: the longest that Envoy takes. */
const NEVER = '9223372035s'

export function makeInboundClusters(proxy: Proxy): Json[] {
  const { sidecar } = proxy.scope
  if (sidecar?.ingress?.length) return sidecar.ingress.map((ingress) => makeIngressCluster(proxy, ingress))
  // Nothing is led to it: whoever listens at the port is the application itself.
  if (proxy.node.interception === 'NONE') return []
  const byPort = Map.groupBy(proxy.targets, (t) => t.targetPort)
  return [...byPort].map(([targetPort, targets]) => {
    const { service, port } = targets[0]!
    const services = targets.filter((t) => t.port.number === port.number).map((t) => t.service)
    return makeCluster(proxy, { clusterPort: targetPort, port, service, services, to: undefined })
  })
}

type Inbound = {
  readonly clusterPort: number
  readonly port: Port
  readonly service: Pick<Service, 'hostname' | 'namespace'> & Partial<Service>
  /** For the metadata; empty: none is told. */
  readonly services: readonly Pick<Service, 'hostname' | 'namespace'>[]
  /** Undefined: where the connection wanted to go. */
  readonly to: { readonly address: string; readonly port: number } | undefined
}

function makeIngressCluster(proxy: Proxy, ingress: Ingress): Json {
  const { number, name = '', protocol } = ingress.port
  const known = proxy.targets.find((t) => t.targetPort === number)?.service
  const itself = { hostname: `${proxy.scope.name}.${proxy.scope.namespace}`, namespace: proxy.scope.namespace }
  const service = known ?? itself
  return makeCluster(proxy, {
    clusterPort: number,
    port: { number, name, protocol: parseProtocol(protocol) },
    service,
    services: known && !known.isExternal ? [known] : [],
    to: ingress.defaultEndpoint === undefined ? undefined : readEndpoint(proxy, ingress.defaultEndpoint),
  })
}

/** 0.0.0.0 is the node's own address. */
function readEndpoint({ node }: Proxy, text: string): { readonly address: string; readonly port: number } {
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon).replace(/^\[|\]$/g, '')
  const port = Number(text.slice(colon + 1))
  if (host === '0.0.0.0') return { address: node.ips.find((ip) => !ip.includes(':')) ?? '127.0.0.1', port }
  if (host === '::') return { address: node.ips.find((ip) => ip.includes(':')) ?? '::1', port }
  return { address: chooseLoopback(node), port }
}

function makeCluster(proxy: Proxy, { clusterPort, port, service, services, to }: Inbound): Json {
  const name = nameInbound(clusterPort)
  const draft = draftCluster(name, to ? 'STATIC' : 'ORIGINAL_DST', port.protocol)
  if (to)
    draft.fields['load_assignment'] = {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: makeSocketAddress(to.address, to.port) } }] }],
    }
  else Object.assign(draft.fields, { cleanup_interval: NEVER, lb_policy: 'CLUSTER_PROVIDED' })
  const unique = [...new Map(services.map((s) => [s.hostname, s])).values()].filter(
    (s) => (s as Partial<Service>).isExternal !== true,
  )
  if (services.length > 0 && unique.length > 0) draft.metadata = { services: unique.map(describeService) }
  const rule = findRule(proxy, service)
  const policy = rule && selectPort(rule.policy, port.number).policy
  if (rule && draft.metadata) draft.metadata['config'] = rule.config
  const pool = sidecarPool(proxy, clusterPort) ?? policy?.connectionPool
  applyConnectionPool(draft, pool, policy?.retryBudget)
  if (!to || !['127.0.0.1', '::1'].includes(to.address))
    draft.fields['upstream_bind_config'] = {
      source_address: { address: hasIpv4(proxy.node) ? '127.0.0.6' : '::6', port_value: 0 },
    }
  return buildCluster(draft)
}

/** Limits of a rule hold at both ends, so that a server has room for what clients may send. */
function findRule(
  proxy: Proxy,
  { hostname }: Pick<Service, 'hostname'>,
): { readonly policy: TrafficPolicy; readonly config: string } | undefined {
  const service = proxy.scope.byHost.get(hostname)
  const rule = chooseRule(proxy.mesh, { scope: proxy.scope, labels: {} }, service)
  return rule?.spec.trafficPolicy && { policy: rule.spec.trafficPolicy, config: nameConfig(rule.config) }
}

function sidecarPool({ scope }: Proxy, port: number): ConnectionPool | undefined {
  const own = scope.sidecar?.ingress?.find((i) => i.port.number === port)
  return own?.connectionPool ?? scope.sidecar?.inboundConnectionPool
}
