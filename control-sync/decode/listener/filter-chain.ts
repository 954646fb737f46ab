/**
 * envoy.config.listener.v3.FilterChain → FilterChain: match, TLS, network filters in order, the last of which is the
 * codec.
 */
import { ANY_CONNECTION, type Codec, type FilterChain, type FilterChainMatch } from '../../../model/listener.ts'
import { NO_HEADER_CHANGES } from '../../../model/route.ts'
import type { DownstreamTls } from '../../../model/tls.ts'
import {
  FilterChainMatch_ConnectionSourceType as Source,
  FilterChainSchema,
  type Filter,
  type FilterChain as XFilterChain,
  type FilterChainMatch as XMatch,
} from '../../../proto/gen/envoy/config/listener/v3/listener_components_pb.ts'
import { HttpConnectionManagerSchema } from '../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import {
  TcpProxySchema,
  type TcpProxy,
  type TcpProxy_TunnelingConfig,
} from '../../../proto/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts'
import { RawBufferSchema } from '../../../proto/gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts'
import { DownstreamTlsContextSchema } from '../../../proto/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { readEffectiveType, noteOnly, readTypeName, unpack } from '../fields/any.ts'
import { hasUnknown, noteIgnored, refuse, type DecodePath } from '../fields/decode-path.ts'
import { FoundFilters, removePreamble, type ChainFilters } from './network-filters.ts'
import { findConfig, blockUnconfigured } from './ecds.ts'
import { decodeTunnelServer } from './hbone.ts'
import { decodeHttpManager } from './http.ts'
import type { Unknown } from '../fields/known-filters.ts'
import { decodeAccessLogs } from '../telemetry/access-log.ts'
import { findSkippedExtension } from '../fields/skipped.ts'
import { MQTT_FILTER, decodeMqttCodec } from './mqtt.ts'
import { decodeWeighted } from '../route/route-action.ts'
import { decodeDownstreamTls } from '../tls.ts'
import { decodeMs, decodeMsOrNone, decodeRanges } from '../fields/values.ts'

const HOUR_MS = 3_600_000

/**
 * With an issue it refuses the connections that it may be meant for; the other chains of the listener are as they were
 * sent.
 */
export function filterChain(at: DecodePath, from: XFilterChain, unknown: Unknown): FilterChain {
  let match = ANY_CONNECTION
  return at.piece(
    () => {
      match = chainMatch(at.in('filter_chain_match'), from.filterChainMatch)
      refuse(at, FilterChainSchema, from)
      const socket = transport(at.in('transport_socket'), from)
      const { codec, exchangesPeers, ...filters } = networkFilters(at.in('filters'), from.filters, unknown)
      return {
        name: from.name,
        match,
        tls: tlsOf(socket, exchangesPeers && codec.kind === 'tcp'),
        ...filters,
        codec: typeof socket === 'string' ? { kind: 'blocked', reason: socket } : codec,
      }
    },
    (reason) => blockChain(from.name, match, reason),
  )
}

function tlsOf(socket: ReturnType<typeof transport>, exchangesPeers: boolean): DownstreamTls | undefined {
  if (typeof socket !== 'object' || !socket.tls) return undefined
  return exchangesPeers ? socket.tls : removePreamble(socket.tls)
}

export function blockChain(name: string, match: FilterChainMatch, reason: string): FilterChain {
  return { name, match, tls: undefined, policies: [], codec: { kind: 'blocked', reason } }
}

/** @returns why nothing may pass, when the chain's transport is not implemented. */
function transport(
  at: DecodePath,
  { transportSocket: socket }: XFilterChain,
): { readonly tls: DownstreamTls | undefined } | string {
  if (!socket) return { tls: undefined }
  const any = socket.configType.value
  const here = at.in('typed_config')
  const type = readTypeName(any)
  if (type === RawBufferSchema.typeName || (type === '' && socket.name === 'envoy.transport_sockets.raw_buffer')) {
    noteOnly(here, any, RawBufferSchema)
    return { tls: undefined }
  }
  const context = unpack(here, any, DownstreamTlsContextSchema)
  if (context) {
    noteIgnored(here, DownstreamTlsContextSchema, context)
    return { tls: decodeDownstreamTls(here, context) }
  }
  const what = `the transport socket ${readEffectiveType(here, any) || socket.name} is not implemented`
  at.ignore(`${what}: the chain is blocked`)
  return what
}

/**
 * A criterion that is not understood would let the chain take connections that are not meant for it, and without the
 * chain they would get to another one: it is an issue, and left out of what is returned, which is right for a chain
 * that refuses.
 */
function chainMatch(at: DecodePath, from: XMatch | undefined): FilterChainMatch {
  if (!from) return ANY_CONNECTION
  if (from.addressSuffix || from.suffixLen !== undefined) at.in('address_suffix').issue('is not supported')
  if (hasUnknown(from)) at.issue('holds a criterion that meshlet does not know')
  if ((from.destinationPort ?? 1) < 1 || (from.destinationPort ?? 1) > 65_535)
    at.in('destination_port').issue('must be 1 to 65535')
  return {
    destinationPort: from.destinationPort,
    destinationRanges: understood(at.in('prefix_ranges'), from.prefixRanges),
    serverNames: from.serverNames.map((name) => name.toLowerCase()),
    // Any name may be asked for; only what a listener filter detects is there to be found.
    transportProtocol: from.transportProtocol || undefined,
    applicationProtocols: from.applicationProtocols,
    ...(from.directSourcePrefixRanges.length === 0
      ? {}
      : { directSourceRanges: understood(at.in('direct_source_prefix_ranges'), from.directSourcePrefixRanges) }),
    ...(from.sourceType === Source.ANY ? {} : { sourceType: sourceType(at.in('source_type'), from.sourceType) }),
    sourceRanges: understood(at.in('source_prefix_ranges'), from.sourcePrefixRanges),
    sourcePorts: from.sourcePorts,
  }
}

/** None, which is any address, when one of them is not understood. */
function understood(at: DecodePath, from: XMatch['prefixRanges']): FilterChainMatch['destinationRanges'] {
  const all = decodeRanges(at, from)
  return all.length === from.length ? all : []
}

function sourceType(at: DecodePath, type: XMatch['sourceType']): FilterChainMatch['sourceType'] {
  if (type === Source.SAME_IP_OR_LOOPBACK) return 'local'
  if (type === Source.EXTERNAL) return 'external'
  at.issue(`unknown value ${type}`)
  return undefined
}

function networkFilters(
  at: DecodePath,
  filters: readonly Filter[],
  unknown: Unknown,
): ChainFilters & Pick<FilterChain, 'codec'> & { readonly exchangesPeers: boolean } {
  const found = new FoundFilters(filters.at(-1)?.name === MQTT_FILTER)
  let blockedBy: string | undefined
  for (const [i, filter] of filters.entries()) {
    const here = at.item(i)
    const config = here.in('typed_config')
    const codec = terminal(config, filter, unknown)
    if (codec) {
      if (i < filters.length - 1) at.item(i + 1).issue('stands behind the filter that ends the chain')
      return {
        ...found.ofChain(),
        exchangesPeers: found.exchangesPeers,
        codec: blockedBy === undefined ? found.withFilters(codec) : { kind: 'blocked', reason: blockedBy },
      }
    }
    const any = findConfig(here, filter)
    if (found.add(here, filter, any)) continue
    const what = `the filter ${readEffectiveType(config, any) || blockUnconfigured(filter)} is not implemented`
    here.ignore(unknown === 'blocks' ? `${what}: the chain is blocked` : what)
    if (unknown === 'blocks') blockedBy ??= what
    else here.skip(findSkippedExtension(readEffectiveType(config, any) || filter.name))
  }
  return {
    policies: [],
    exchangesPeers: false,
    codec: { kind: 'blocked', reason: blockedBy ?? 'the chain has no filter that meshlet can end it with' },
  }
}

/** @returns undefined for a filter that does not end a chain. */
function terminal(at: DecodePath, filter: Filter, unknown: Unknown): Codec | undefined {
  const any = filter.configType.case === 'typedConfig' ? filter.configType.value : undefined
  if (filter.name === MQTT_FILTER) return decodeMqttCodec(at, any)
  const manager = unpack(at, any, HttpConnectionManagerSchema)
  if (manager) {
    noteIgnored(at, HttpConnectionManagerSchema, manager)
    const tunnels = decodeTunnelServer(at, manager)
    if (tunnels) return tunnels
    return { kind: 'http', http: decodeHttpManager(at, manager, unknown) }
  }
  const tcp = unpack(at, any, TcpProxySchema)
  if (!tcp) return undefined
  noteIgnored(at, TcpProxySchema, tcp)
  return tcpCodec(at, tcp)
}

function tcpCodec(at: DecodePath, from: TcpProxy): Codec {
  const by = from.clusterSpecifier
  const idleMs = decodeMsOrNone(at.in('idle_timeout'), from.idleTimeout, HOUR_MS) ?? Infinity
  const logs = decodeAccessLogs(at.in('access_log'), from.accessLog)
  const hashesSource = from.hashPolicy.some((h) => h.policySpecifier.case === 'sourceIp')
  for (const [i, h] of from.hashPolicy.entries())
    if (h.policySpecifier.case !== 'sourceIp') at.in('hash_policy').item(i).ignore('not implemented')
  const maxConnectionMs = decodeMs(at.in('max_downstream_connection_duration'), from.maxDownstreamConnectionDuration)
  if (from.maxConnectAttempts === 0) at.in('max_connect_attempts').issue('must be 1 or more')
  const rest = {
    ...(from.maxConnectAttempts !== undefined && { maxConnectAttempts: from.maxConnectAttempts }),
    ...(maxConnectionMs && { maxConnectionMs }),
    idleMs,
    ...logs,
    ...(hashesSource && { hashesSource }),
    ...(from.tunnelingConfig && { tunnels: true as const }),
  }
  const named = (
    name: string,
    weight: number,
  ): { name: string; weight: number; headers: typeof NO_HEADER_CHANGES } => ({
    name,
    weight,
    headers: NO_HEADER_CHANGES,
  })
  // Bytes sent without the tunnel that was asked for would reach somebody else.
  if (from.tunnelingConfig && !isTunnelling(at.in('tunneling_config'), from.tunnelingConfig))
    return { kind: 'blocked', reason: 'such a tunneling_config is not implemented' }
  switch (by.case) {
    case 'cluster':
      return { kind: 'tcp', tcp: { clusters: [named(by.value, 1)], ...rest } }
    case 'weightedClusters':
      return {
        kind: 'tcp',
        tcp: {
          clusters: decodeWeighted(
            at.in('weighted_clusters'),
            by.value.clusters.map((c) => named(c.name, c.weight)),
          ),
          ...rest,
        },
      }
    case undefined:
      at.issue('names no cluster')
      return { kind: 'blocked', reason: 'tcp_proxy names no cluster' }
    default:
      return by satisfies never
  }
}
/** To where the connection was going, by CONNECT: what istiod asks for in an ambient mesh. */
function isTunnelling(at: DecodePath, { hostname, usePost, headersToAdd }: TcpProxy_TunnelingConfig): boolean {
  if (hostname !== '%DOWNSTREAM_LOCAL_ADDRESS%') at.in('hostname').ignore('only %DOWNSTREAM_LOCAL_ADDRESS%')
  if (usePost) at.in('use_post').ignore('tunnels are opened by CONNECT')
  for (const i of headersToAdd.keys()) at.in('headers_to_add').item(i).ignore('fields of our own are sent')
  return hostname === '%DOWNSTREAM_LOCAL_ADDRESS%' && !usePost
}
