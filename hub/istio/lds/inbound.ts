/** Listeners for what arrives at a node (core/listener_inbound.go). */
import { KINDS } from '../kinds/kinds.ts'
import { compact, joinHostPort, nameInbound, makeSocketAddress, type Json } from '../json.ts'
import { chooseAnyAddress } from '../node.ts'
import type { MtlsMode } from '../mesh/peer-policies.ts'
import { chooseListenerProtocol, isGrpc, isHttp2, parseProtocol, type Protocol } from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import { makeAccessLogs, makeStats, NO_CHAIN } from '../mesh/telemetry.ts'
import { makeJwtFilter } from '../security/jwt.ts'
import { makeRbac, type RbacFilters } from '../security/rbac.ts'
import { makeDownstreamTls } from '../security/tls-contexts.ts'
import { listChains, type ChainKind } from './chains.ts'
import { makeTcpProxy, TCP_METADATA } from './filters.ts'
import { makeManager, readIdle } from './http-manager.ts'
import { makeListenerFilters } from './inspectors.ts'

const INBOUND_PORT = 15_006
const OUTBOUND_PORT = 15_001
const PASSTHROUGH = 'InboundPassthroughCluster'

/** One port of the application, or what has none. */
type Entrance = {
  readonly targetPort: number
  /** Of the service: in names. */
  readonly port: number
  readonly protocol: Protocol
  readonly cluster: string
  readonly bind: string
  readonly bindsToPort: boolean
  /** For traces. */
  readonly host: string
  readonly isPassthrough: boolean
  readonly config: string | undefined
}
type Security = { readonly jwt: readonly Json[]; readonly rbac: RbacFilters }

export function makeInboundListeners(proxy: Proxy): Json[] {
  const { node, mesh, labels } = proxy
  const jwt = makeJwtFilter(proxy)
  const security = { jwt: jwt ? [jwt] : [], rbac: makeRbac(proxy) }
  const modes = mesh.peers.modesOfWorkload(node.namespace, labels)
  const chainsOf = (e: Entrance): Json[] =>
    makeChains(proxy, { entrance: e, mode: modes.perPort.get(e.targetPort) ?? modes.mode, security })
  const entrances = listEntrances(proxy)
  const own = entrances
    .filter((e) => e.bindsToPort)
    .map((e) =>
      makeListener(proxy, { name: nameListener(e), bind: e.bind, port: e.targetPort, binds: true }, chainsOf(e)),
    )
  if (node.interception === 'NONE') return own
  const other = [...modes.perPort.keys()].filter((port) => !isEntrance(proxy, port))
  const chains = [
    makeBlackhole(proxy),
    ...[0, ...other].flatMap((port) => chainsOf(makePassthrough(proxy, port))),
    ...entrances.filter((e) => !e.bindsToPort).flatMap(chainsOf),
  ]
  const virtual = { name: 'virtualInbound', bind: chooseAnyAddress(node), port: INBOUND_PORT, binds: false }
  return [makeListener(proxy, virtual, chains), ...own]
}

function isEntrance({ scope, targets }: Proxy, port: number): boolean {
  const ingress = scope.sidecar?.ingress
  return ingress?.length ? ingress.some((i) => i.port.number === port) : targets.some((t) => t.targetPort === port)
}

/** Of the Sidecar, or else of the services that the node is an endpoint of: the first of a port counts. */
function listEntrances(proxy: Proxy): Entrance[] {
  const { scope, node } = proxy
  const found = scope.sidecar?.ingress?.length
    ? listIngress(proxy)
    : node.interception === 'NONE'
      ? []
      : listTargets(proxy)
  const byPort = new Map<number, Entrance>()
  for (const e of found) if (!byPort.has(e.targetPort)) byPort.set(e.targetPort, e)
  return [...byPort.values()].sort((a, b) => a.targetPort - b.targetPort)
}

function listTargets({ node, targets }: Proxy): Entrance[] {
  const reserved = new Set([...node.reservedPorts, INBOUND_PORT, OUTBOUND_PORT])
  return targets
    .filter((t) => !reserved.has(t.targetPort))
    .map(({ service, port, targetPort }) => ({
      targetPort,
      port: port.number,
      protocol: port.protocol,
      cluster: nameInbound(targetPort),
      bind: chooseAnyAddress(node),
      bindsToPort: false,
      host: service.hostname,
      isPassthrough: false,
      config: undefined,
    }))
}

function listIngress({ node, scope }: Proxy): Entrance[] {
  const { group, version } = KINDS.Sidecar
  const config = `/apis/${group}/${version}/namespaces/${scope.namespace}/sidecar/${scope.name}`
  const bindsByDefault = node.interception === 'NONE'
  return (scope.sidecar?.ingress ?? []).flatMap((ingress): Entrance[] => {
    const { number, protocol } = ingress.port
    const mode = ingress.captureMode ?? 'DEFAULT'
    const bindsToPort = mode === 'DEFAULT' ? bindsByDefault : mode === 'NONE'
    if (bindsToPort && number < 1_024 && node.isUnprivileged) return []
    const isAny = ingress.bind === undefined ? true : ingress.bind === chooseAnyAddress(node)
    if (isAny && node.reservedPorts.includes(number)) return []
    return [
      {
        targetPort: number,
        port: number,
        protocol: parseProtocol(protocol),
        cluster: nameInbound(number),
        bind: ingress.bind || globalAddress(node.ips) || chooseAnyAddress(node),
        bindsToPort,
        host: `${scope.name}.${scope.namespace}`,
        isPassthrough: false,
        config,
      },
    ]
  })
}

/** The first address that others can reach. */
function globalAddress(ips: readonly string[]): string | undefined {
  return ips.find((ip) => !/^(?:127\.|::1$|0\.0\.0\.0$|::$|169\.254\.|fe80:|22[4-9]\.|23\d\.|ff)/i.test(ip))
}

function makePassthrough({ node }: Proxy, targetPort: number): Entrance {
  return {
    targetPort,
    port: 0,
    protocol: 'auto',
    cluster: PASSTHROUGH,
    bind: chooseAnyAddress(node),
    bindsToPort: false,
    host: '',
    isPassthrough: true,
    config: undefined,
  }
}

const nameListener = ({ bind, targetPort }: Entrance): string => `${bind}_${targetPort}`
function nameChain(e: Entrance, { protocol }: ChainKind): string {
  if (!e.isPassthrough) return nameListener(e)
  return protocol === 'http' ? 'virtualInbound-catchall-http' : 'virtualInbound'
}

type Chains = { readonly entrance: Entrance; readonly mode: MtlsMode; readonly security: Security }

function makeChains(proxy: Proxy, { entrance, mode, security }: Chains): Json[] {
  return listChains(mode, chooseListenerProtocol(entrance.protocol)).map((kind) =>
    compact({
      filter_chain_match: compact({
        destination_port: entrance.targetPort || undefined,
        transport_protocol: kind.transport,
        application_protocols: kind.alpn && [...kind.alpn],
      }),
      filters: kind.protocol === 'http' ? makeHttp(proxy, entrance, security) : makeTcp(proxy, entrance, security),
      metadata: entrance.config === undefined ? undefined : { filter_metadata: { istio: { config: entrance.config } } },
      transport_socket: kind.isMtls ? makeDownstreamTls(kind.protocol, proxy.mesh.options.trustDomain) : undefined,
      name: nameChain(entrance, kind),
    }),
  )
}

function makeTcp(proxy: Proxy, { cluster }: Entrance, { rbac }: Security): Json[] {
  const logs = makeAccessLogs(proxy, 'inbound')
  return [
    TCP_METADATA,
    ...rbac.tcp,
    ...makeStats(proxy, 'inbound'),
    makeTcpProxy(
      compact({
        stat_prefix: cluster,
        cluster,
        idle_timeout: readIdle(proxy.node.idleTimeout),
        access_log: logs.length > 0 ? logs : undefined,
      }),
    ),
  ]
}

function makeHttp(proxy: Proxy, entrance: Entrance, { jwt, rbac }: Security): Json[] {
  const manager = makeManager(proxy, {
    side: 'inbound',
    statPrefix: entrance.isPassthrough ? entrance.cluster : `inbound_${nameListener(entrance)}`,
    routes: { route_config: makeRouteTable(entrance) },
    protocol: entrance.protocol,
    security: [...jwt, ...rbac.http],
    more: {
      server_name: 'istio-envoy',
      forward_client_cert_details: 'APPEND_FORWARD',
      set_current_client_cert_details: { subject: true, dns: true, uri: true },
      ...(isHttp2(entrance.protocol) ? { http2_protocol_options: {} } : {}),
    },
  })
  return [TCP_METADATA, manager]
}

function makeRouteTable({ cluster, port, host, protocol }: Entrance): Json {
  const route = compact({
    cluster,
    timeout: '0s',
    max_stream_duration: { max_stream_duration: '0s', grpc_timeout_header_max: '0s' },
    // A gRPC stream that was reset may have been begun with.
    retry_policy: isGrpc(protocol) ? undefined : { retry_on: 'reset-before-request', num_retries: 2 },
  })
  const decorator = { operation: `${joinHostPort(host, port)}/*` }
  return {
    name: cluster,
    virtual_hosts: [
      {
        name: `inbound|http|${port}`,
        domains: ['*'],
        routes: [{ name: 'default', match: { prefix: '/' }, route, decorator }],
      },
    ],
    validate_clusters: false,
  }
}

/** Whoever connects to the port itself would be led to it again, for ever. */
function makeBlackhole(proxy: Proxy): Json {
  return {
    name: 'virtualInbound-blackhole',
    filter_chain_match: { destination_port: INBOUND_PORT },
    filters: [
      TCP_METADATA,
      ...makeStats(proxy, 'inbound'),
      makeTcpProxy({ stat_prefix: 'BlackHoleCluster', cluster: 'BlackHoleCluster' }),
    ],
  }
}

type Place = { readonly name: string; readonly bind: string; readonly port: number; readonly binds: boolean }

function makeListener(proxy: Proxy, { name, bind, port, binds }: Place, chains: readonly Json[]): Json {
  const logs = makeAccessLogs(proxy, 'inbound', NO_CHAIN)
  return compact({
    name,
    address: makeSocketAddress(bind, port),
    filter_chains: [...chains],
    listener_filters: makeListenerFilters(proxy.node, chains, binds),
    listener_filters_timeout: '0s',
    traffic_direction: 'INBOUND',
    continue_on_listener_filters_timeout: true,
    max_connections_to_accept_per_socket_event: 1,
    transparent: !binds && proxy.node.interception === 'TPROXY' ? true : undefined,
    access_log: logs.length > 0 ? logs : undefined,
  })
}
