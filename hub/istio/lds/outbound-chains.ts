/** Chains of outbound listeners for TCP and TLS, with routes of VirtualServices (core/tls.go, core/networkfilter.go). */
import { isSelected, nameConfig, type Config } from '../config.ts'
import { formatDuration } from '../kinds/durations.ts'
import type { DestinationRule } from '../kinds/destination-rule.ts'
import type { RouteDestination, TcpRoute, TlsRoute } from '../kinds/virtual-service.ts'
import { compact, joinHostPort, nameCluster, type Json } from '../json.ts'
import { chooseAnyAddress } from '../node.ts'
import { overlaps } from '../mesh/hosts.ts'
import { isTls } from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import type { Port, Service } from '../mesh/services.ts'
import { chooseRule } from '../mesh/sidecar-scope.ts'
import { makeAccessLogs, makeStats } from '../mesh/telemetry.ts'
import { selectSubset } from '../mesh/traffic-policy.ts'
import { nameDestination } from '../rds/route.ts'
import { makeTcpProxy } from './filters.ts'
import { readIdle } from './http-manager.ts'

type Routes = Config<'VirtualService'>
/** A chain, before it is known which others stand beside it. */
export type OutboundChain = {
  readonly sni: readonly string[]
  readonly ranges: readonly string[]
  readonly alpn: readonly string[]
  readonly transport: string
  readonly metadata: Json | undefined
  readonly filters: readonly Json[]
}
export type ChainSource = {
  readonly service: Service
  readonly port: Port
  readonly bind: string
  readonly ranges: readonly string[]
  readonly routes: readonly Routes[]
}

export function makeTcpChains(proxy: Proxy, source: ChainSource): OutboundChain[] {
  const routes = source.routes.filter((r) => r.spec.hosts.some((host) => overlaps(host, source.service.hostname)))
  const own = { ...source, routes }
  return isTls(source.port.protocol) ? makeTlsChains(proxy, own) : makePlainChains(proxy, own)
}

type Match = NonNullable<TcpRoute['match']>[number]
function isForNode(match: Match, proxy: Proxy, port: number): boolean {
  return (
    (!match.gateways?.length || match.gateways.includes('mesh')) &&
    isSelected(match.sourceLabels, proxy.labels) &&
    (match.port === undefined || match.port === port) &&
    (match.sourceNamespace === undefined || match.sourceNamespace === proxy.node.namespace)
  )
}
const noteConfig = (config: Routes): Json => ({ filter_metadata: { istio: { config: nameConfig(config) } } })

function makeTlsChains(proxy: Proxy, source: ChainSource): OutboundChain[] {
  const out: OutboundChain[] = []
  const handled = new Set<string>()
  let { ranges } = source
  for (const config of source.routes)
    for (const route of config.spec.tls ?? [])
      for (const match of route.match) {
        if (!isForNode(match, proxy, source.port.number)) continue
        if (match.destinationSubnets?.length) ranges = match.destinationSubnets
        const key = `${match.sniHosts.join(',')}|${(match.destinationSubnets ?? []).join(',')}`
        if (handled.has(key)) continue
        handled.add(key)
        out.push(makeChain(proxy, source, { route, config, ranges, sni: match.sniHosts }))
      }
  if (out.length > 0) return out
  const { service, bind } = source
  const address = service.address.includes('/') ? '' : service.address
  const any = chooseAnyAddress(proxy.node)
  // Only the name in the handshake tells services apart that have no address of their own.
  const byName = ranges.length > 0 || address === '' || (address === any && bind === any)
  return [makeDefaultChain(proxy, source, { ranges, sni: byName ? [service.hostname] : [] })]
}

function makePlainChains(proxy: Proxy, source: ChainSource): OutboundChain[] {
  const out: OutboundChain[] = []
  for (const config of source.routes)
    for (const route of config.spec.tcp ?? []) {
      const matches = (route.match ?? []).filter((m) => isForNode(m, proxy, source.port.number))
      const takesAll = !route.match?.length || matches.find((m) => !m.destinationSubnets?.length)
      if (takesAll) return [...out, makeChain(proxy, source, { route, config, ranges: source.ranges, sni: [] })]
      const subnets = matches.flatMap((m) => m.destinationSubnets ?? [])
      if (subnets.length === 0) continue
      out.push({ ...makeChain(proxy, source, { route, config, ranges: subnets, sni: [] }), metadata: undefined })
      // The same ranges twice would be refused.
      if ([...subnets].sort().join() === [...source.ranges].sort().join()) return out
    }
  return [...out, makeDefaultChain(proxy, source, { ranges: source.ranges, sni: [] })]
}

type Reach = { readonly ranges: readonly string[]; readonly sni: readonly string[] }
type Routed = Reach & { readonly route: TcpRoute | TlsRoute; readonly config: Routes }

function makeChain(proxy: Proxy, { port }: ChainSource, { route, config, ranges, sni }: Routed): OutboundChain {
  return {
    sni,
    ranges,
    alpn: [],
    transport: '',
    metadata: noteConfig(config),
    filters: makeRouteFilters(proxy, { destinations: route.route, port, config }),
  }
}

function makeDefaultChain(proxy: Proxy, { service, port }: ChainSource, { ranges, sni }: Reach): OutboundChain {
  const number = service.ports.length === 1 ? service.ports[0]!.number : port.number
  const cluster = nameCluster(service.hostname, number)
  const rule = chooseRule(proxy.mesh, proxy, service)?.spec
  const target = { cluster, statPrefix: cluster, subset: '' }
  return { sni, ranges, alpn: [], transport: '', metadata: undefined, filters: makeTcpFilters(proxy, target, rule) }
}

type TcpRouting = { readonly destinations: readonly RouteDestination[]; readonly port: Port; readonly config: Routes }

function makeRouteFilters(proxy: Proxy, { destinations, port, config }: TcpRouting): Json[] {
  const [first] = destinations
  const service = proxy.scope.byHost.get(first!.destination.host)
  const rule = chooseRule(proxy.mesh, proxy, service)?.spec
  const { subset = '' } = first!.destination
  if (destinations.length === 1) {
    const cluster = nameDestination(first!.destination, service, port.number)
    return makeTcpFilters(proxy, { cluster, statPrefix: cluster, subset }, rule)
  }
  const clusters = destinations
    .filter((d) => (d.weight ?? 0) > 0)
    .map((d) => ({
      name: nameDestination(d.destination, proxy.scope.byHost.get(d.destination.host), port.number),
      weight: d.weight!,
    }))
  return makeTcpFilters(proxy, { clusters, statPrefix: `${config.name}.${config.namespace}`, subset: '' }, rule)
}

type TcpTarget = { readonly statPrefix: string; readonly subset: string } & (
  | { readonly cluster: string }
  | { readonly clusters: Json[] }
)

function makeTcpFilters(proxy: Proxy, target: TcpTarget, rule: DestinationRule | undefined): Json[] {
  const logs = makeAccessLogs(proxy, 'outbound')
  const pool = rule?.trafficPolicy?.connectionPool?.tcp
  const idle = pool?.idleTimeout === undefined ? readIdle(proxy.node.idleTimeout) : formatDuration(pool.idleTimeout)
  const fields = compact({
    stat_prefix: target.statPrefix,
    ...('cluster' in target ? { cluster: target.cluster } : { weighted_clusters: { clusters: target.clusters } }),
    idle_timeout: idle,
    max_downstream_connection_duration: pool?.maxConnectionDuration && formatDuration(pool.maxConnectionDuration),
    hash_policy: isHashedBySource(rule, target.subset) ? [{ source_ip: {} }] : undefined,
    tunneling_config: makeTunnel(rule, target.subset),
    access_log: logs.length > 0 ? logs : undefined,
  })
  return [...makeStats(proxy, 'outbound'), makeTcpProxy(fields)]
}

function isHashedBySource(rule: DestinationRule | undefined, subset: string): boolean {
  const own = selectSubset(rule, subset)?.trafficPolicy?.loadBalancer
  const hash = own ? own.consistentHash : rule?.trafficPolicy?.loadBalancer?.consistentHash
  return hash?.useSourceIp === true
}

function makeTunnel(rule: DestinationRule | undefined, subset: string): Json | undefined {
  const policy = subset === '' ? rule?.trafficPolicy : selectSubset(rule, subset)?.trafficPolicy
  const tunnel = policy?.tunnel
  if (!tunnel) return undefined
  return compact({
    hostname: joinHostPort(tunnel.targetHost, tunnel.targetPort),
    use_post: tunnel.protocol === 'POST' ? true : undefined,
  })
}

/** For what no listener knows. */
export function makeFallbackFilters(proxy: Proxy): Json[] {
  const { scope } = proxy
  const egressProxy = scope.sidecar?.outboundTrafficPolicy?.egressProxy
  const cluster = !scope.allowsAny
    ? 'BlackHoleCluster'
    : egressProxy
      ? nameDestination(egressProxy, undefined, 0)
      : 'PassthroughCluster'
  return makeTcpFilters(proxy, { cluster, statPrefix: cluster, subset: '' }, undefined)
}
