/**
 * Listeners for what a node's application connects to (core/listener.go). Services that share an address and a port
 * share a listener; where protocols are mixed, the first bytes decide.
 */
import { parseRange } from '../../../model/ip.ts'
import { compact, makeSocketAddress, type Json } from '../json.ts'
import { chooseAnyAddress, chooseLoopback } from '../node.ts'
import {
  chooseListenerProtocol,
  isHttp,
  isTcp,
  parseProtocol,
  type ListenerProtocol,
  type Protocol,
} from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import { ANY_ADDRESS, type Port, type Service } from '../mesh/services.ts'
import type { EgressListener } from '../mesh/sidecar-scope.ts'
import { makeAccessLogs, NO_CHAIN } from '../mesh/telemetry.ts'
import { HTTP_PROXY_TABLE } from '../rds/route-table.ts'
import { HTTP_INSPECTOR, makeTcpProxy, PLAIN_HTTP_ALPN, TLS_INSPECTOR } from './filters.ts'
import { makeManager } from './http-manager.ts'
import { makeFallbackFilters, makeTcpChains, type OutboundChain } from './outbound-chains.ts'
import { makeStats } from '../mesh/telemetry.ts'

const OUTBOUND_PORT = 15_001
const INBOUND_PORT = 15_006

type Draft = {
  readonly bind: string
  readonly port: number
  readonly bindsToPort: boolean
  chains: OutboundChain[]
  protocol: Protocol
  isLocked: boolean
}
type Asked = {
  readonly service: Service
  readonly port: Port
  readonly bind: string
  readonly bindsToPort: boolean
  readonly listener: EgressListener
}

export function makeOutboundListeners(proxy: Proxy): Json[] {
  const drafts = new Map<string, Draft>()
  for (const listener of proxy.scope.egress) addListener(proxy, drafts, listener)
  const made = [...drafts.values()].map((d) => writeListener(proxy, d, makeFallbackFilters(proxy)))
  const { httpProxyPort, interception } = proxy.node
  return [
    ...made,
    ...(httpProxyPort === undefined ? [] : [makeHttpProxy(proxy, httpProxyPort)]),
    ...(interception === 'NONE' ? [] : [makeVirtualOutbound(proxy)]),
  ]
}

function addListener(proxy: Proxy, drafts: Map<string, Draft>, listener: EgressListener): void {
  const { node } = proxy
  const { egress, services } = listener
  const bindsToPort = node.interception === 'NONE' || egress?.captureMode === 'NONE'
  const bind = egress?.bind || (bindsToPort ? chooseLoopback(node) : '')
  if (egress?.port) {
    const { number, name = '', protocol } = egress.port
    const port = { number, name, protocol: parseProtocol(protocol) }
    if (!canBind(proxy, { bind, port, bindsToPort })) return
    for (const service of services) addService(proxy, drafts, { service, port, bind, bindsToPort, listener })
    return
  }
  // Ports that earlier entries have are theirs.
  for (const draft of drafts.values()) draft.isLocked = true
  for (const service of services)
    for (const port of service.ports)
      if (canBind(proxy, { bind, port, bindsToPort }))
        for (const at of listBinds(proxy, { service, port, bind }))
          addService(proxy, drafts, { service, port, bind: at, bindsToPort, listener })
}

function canBind(
  { node }: Proxy,
  { bind, port, bindsToPort }: { readonly bind: string; readonly port: Port; readonly bindsToPort: boolean },
): boolean {
  if (bindsToPort && port.number < 1_024 && node.isUnprivileged) return false
  if (bind === '' ? !isHttp(port.protocol) : bind !== chooseAnyAddress(node)) return true
  return ![...node.reservedPorts, OUTBOUND_PORT, INBOUND_PORT].includes(port.number)
}

/** A service without an address of its own, and without a resolution: each endpoint has a listener. */
function listBinds(
  { mesh, node }: Proxy,
  { service, port, bind }: { readonly service: Service; readonly port: Port; readonly bind: string },
): string[] {
  const isHeadless = bind === '' && service.resolution === 'NONE' && service.address === ANY_ADDRESS
  if (!isHeadless || isHttp(port.protocol) || port.protocol === 'UDP') return [bind]
  const endpoints = mesh.registry.endpointsOf(service, port.number)
  if (endpoints.length === 0 && !service.hasSelector) return [bind]
  return endpoints.map((e) => e.address).filter((address) => parseRange(address) && address !== node.ips[0])
}

function addService(proxy: Proxy, drafts: Map<string, Draft>, asked: Asked): void {
  const kind = chooseListenerProtocol(asked.port.protocol)
  if (kind === 'none') return
  const { bind, ranges } = placeService(proxy, asked, kind)
  const key = `${bind} ${asked.port.number}`
  const known = drafts.get(key)
  if (known?.isLocked || !mayJoin(known, asked.port.protocol, kind)) return
  const chains = makeChains(proxy, { ...asked, bind, ranges, kind })
  const isShared = kind === 'http' && bind === chooseAnyAddress(proxy.node)
  const protocol = isShared ? 'auto' : asked.port.protocol
  const replaces = kind === 'auto' && known !== undefined && isHttp(known.protocol)
  if (!known || replaces) {
    drafts.set(key, {
      bind,
      port: asked.port.number,
      bindsToPort: asked.bindsToPort,
      chains,
      protocol,
      isLocked: false,
    })
    return
  }
  known.chains = [
    ...known.chains,
    ...chains.reduce(keepNew, { kept: known.chains, added: [] as OutboundChain[] }).added,
  ]
  if (kind !== 'tcp' || isHttp(known.protocol)) known.protocol = 'auto'
}

type Kept = { readonly kept: readonly OutboundChain[]; readonly added: OutboundChain[] }
function keepNew({ kept, added }: Kept, chain: OutboundChain): Kept {
  if ([...kept, ...added].some((other) => conflicts(other, chain))) return { kept, added }
  return { kept, added: [...added, chain] }
}

/** The well-known ones speak first, so nothing can be looked at before them. */
function mayJoin(known: Draft | undefined, protocol: Protocol, kind: ListenerProtocol): boolean {
  if (!known) return true
  if (kind === 'http' && !isTcp(known.protocol)) return false
  if (kind === 'auto' && known.protocol === 'auto') return false
  const speaksFirst = (p: Protocol): boolean => p === 'Mongo' || p === 'MySQL'
  return known.protocol === protocol || !(speaksFirst(known.protocol) || speaksFirst(protocol))
}

/** Its own address, or any: a range is matched by the chain. */
function placeService(
  { node }: Proxy,
  { bind, service }: Asked,
  kind: ListenerProtocol,
): { readonly bind: string; readonly ranges: readonly string[] } {
  if (bind !== '') return { bind, ranges: [] }
  const any = chooseAnyAddress(node)
  if (kind === 'http') return { bind: any, ranges: [] }
  if (service.address.includes('/')) return { bind: any, ranges: [service.address] }
  return { bind: service.address === ANY_ADDRESS ? any : service.address, ranges: [] }
}

type Placed = Asked & { readonly ranges: readonly string[]; readonly kind: ListenerProtocol }

function makeChains(proxy: Proxy, asked: Placed): OutboundChain[] {
  const { port, kind, listener, bind } = asked
  const any = chooseAnyAddress(proxy.node)
  if (port.protocol === 'HTTP_PROXY') return [makeHttpChain(proxy, asked, [])]
  if (kind === 'http') return [makeHttpChain(proxy, asked, bind === any ? PLAIN_HTTP_ALPN : [])]
  const tcp = makeTcpChains(proxy, { ...asked, routes: listener.routes })
  return kind === 'auto' ? [...tcp, makeHttpChain(proxy, asked, PLAIN_HTTP_ALPN)] : tcp
}

function makeHttpChain(proxy: Proxy, { service, port, bind, kind }: Placed, alpn: readonly string[]): OutboundChain {
  const isOwn = kind === 'auto' && bind !== chooseAnyAddress(proxy.node)
  const table = isOwn ? `${service.hostname}:${port.number}` : String(port.number)
  return {
    sni: [],
    ranges: [],
    alpn,
    transport: alpn.length > 0 ? 'raw_buffer' : '',
    metadata: undefined,
    filters: [
      makeManager(proxy, {
        side: 'outbound',
        statPrefix: `outbound_${bind}_${port.number}`,
        routes: { rds: table },
        protocol: port.protocol,
        security: [],
        more: {},
      }),
    ],
  }
}

function conflicts(a: OutboundChain, b: OutboundChain): boolean {
  const names = (c: OutboundChain): string => [...new Set(c.sni.filter((s) => s !== '*'))].sort().join()
  const ranges = (c: OutboundChain): string => [...new Set(c.ranges.map(maskRange))].sort().join()
  return (
    a.transport === b.transport && a.alpn.join() === b.alpn.join() && names(a) === names(b) && ranges(a) === ranges(b)
  )
}

/** 1.2.3.4/8 is 1.0.0.0/8. */
function maskRange(text: string): string {
  const range = parseRange(text)
  if (!range) return text
  const bytes = range.bytes.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, range.prefixBits - i * 8))
    return byte & (0xff << (8 - bits))
  })
  return `${bytes.join('.')}/${range.prefixBits}`
}

function isMatchAll({ sni, alpn, transport, ranges }: OutboundChain): boolean {
  return (sni.length === 0 || sni.includes('*')) && alpn.length === 0 && transport === '' && ranges.length === 0
}

function writeMatch({ sni, alpn, transport, ranges }: OutboundChain): Json {
  const prefixes = [...ranges]
    .sort()
    .map((text) => ({ address: text.split('/')[0]!, range: parseRange(text)! }))
    .filter(({ address }) => address !== ANY_ADDRESS)
  return compact({
    application_protocols: alpn.length > 0 ? [...alpn] : undefined,
    transport_protocol: transport || undefined,
    server_names: sni.length > 0 && !sni.includes('*') ? [...sni].sort() : undefined,
    prefix_ranges:
      prefixes.length > 0
        ? prefixes.map(({ address, range }) => ({ address_prefix: address, prefix_len: range.prefixBits }))
        : undefined,
  })
}

function writeListener(proxy: Proxy, draft: Draft, fallback: readonly Json[]): Json {
  const chains: Json[] = []
  let last: Json | undefined
  for (const chain of draft.chains) {
    const base = compact({
      filters: [...chain.filters],
      metadata: chain.metadata,
      transport_socket_connect_timeout: '15s',
    })
    if (isMatchAll(chain)) last = base
    else chains.push({ filter_chain_match: writeMatch(chain), ...base })
  }
  const isOnly = last !== undefined && chains.length === 0
  const passthrough = { filter_chain_match: {}, name: 'PassthroughFilterChain', filters: [...fallback] }
  const inspectors = [
    ...(draft.chains.some((c) => c.sni.length > 0) ? [TLS_INSPECTOR] : []),
    ...(draft.chains.some((c) => c.alpn.length > 0) ? [HTTP_INSPECTOR] : []),
  ]
  return compact({
    name: `${draft.bind}_${draft.port}`,
    address: makeSocketAddress(draft.bind, draft.port),
    filter_chains: isOnly ? [last!] : chains,
    default_filter_chain: isOnly ? undefined : (last ?? passthrough),
    listener_filters: inspectors.length > 0 ? inspectors : undefined,
    listener_filters_timeout: '0s',
    traffic_direction: 'OUTBOUND',
    continue_on_listener_filters_timeout: true,
    ...(draft.bindsToPort ? { max_connections_to_accept_per_socket_event: 1 } : { bind_to_port: false }),
  })
}

function makeHttpProxy(proxy: Proxy, port: number): Json {
  const bind = chooseLoopback(proxy.node)
  const manager = makeManager(proxy, {
    side: 'outbound',
    statPrefix: `outbound_${bind}_${port}`,
    routes: { rds: HTTP_PROXY_TABLE },
    protocol: 'HTTP_PROXY',
    security: [],
    more: { http_protocol_options: { allow_absolute_url: true } },
  })
  const chain = { sni: [], ranges: [], alpn: [], transport: '', metadata: undefined, filters: [manager] }
  const draft: Draft = { bind, port, bindsToPort: true, chains: [chain], protocol: 'HTTP_PROXY', isLocked: false }
  return writeListener(proxy, draft, [])
}

/** Where captured connections arrive: they go on to the listener of their destination. */
function makeVirtualOutbound(proxy: Proxy): Json {
  const logs = makeAccessLogs(proxy, 'outbound', NO_CHAIN)
  return compact({
    name: 'virtualOutbound',
    address: makeSocketAddress(chooseAnyAddress(proxy.node), OUTBOUND_PORT),
    filter_chains: [
      {
        name: 'virtualOutbound-blackhole',
        filter_chain_match: { destination_port: OUTBOUND_PORT },
        filters: [
          ...makeStats(proxy, 'outbound'),
          makeTcpProxy({ stat_prefix: 'BlackHoleCluster', cluster: 'BlackHoleCluster' }),
        ],
      },
      { name: 'virtualOutbound-catchall-tcp', filters: makeFallbackFilters(proxy) },
    ],
    use_original_dst: true,
    traffic_direction: 'OUTBOUND',
    max_connections_to_accept_per_socket_event: 1,
    transparent: proxy.node.interception === 'TPROXY' ? true : undefined,
    access_log: logs.length > 0 ? logs : undefined,
  })
}
