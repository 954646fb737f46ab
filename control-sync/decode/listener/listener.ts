/** envoy.config.listener.v3.Listener → Listener. */
import { ANY_CONNECTION, type Listener } from '../../../model/listener.ts'
import { TrafficDirection, TrafficDirectionSchema } from '../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import { ListenerSchema, type Listener as XListener } from '../../../proto/gen/envoy/config/listener/v3/listener_pb.ts'
import { DecodePath, refuse } from '../fields/decode-path.ts'
import { blockChain, filterChain } from './filter-chain.ts'
import { decodeListenerFilters } from './listener-filters.ts'
import { decodeAccessLogs } from '../telemetry/access-log.ts'
import { decodeMs, decodeSocketAddress } from '../fields/values.ts'

export function decodeListener(at: DecodePath, from: XListener): Listener {
  if (from.name === '') at.in('name').issue('is missing')
  const isInternal = from.listenerSpecifier.case === 'internalListener'
  if (isInternal && from.address) at.in('address').issue('an internal listener has none')
  const address = isInternal ? undefined : decodeSocketAddress(at.in('address'), from.address)
  const direction = directionOf(from)
  if (!TrafficDirectionSchema.value[from.trafficDirection])
    at.in('traffic_direction').issue(`unknown value ${from.trafficDirection}`)
  // Unspecified counts as inbound: what is not understood may be what keeps somebody out. So may it be at a gateway.
  const unknown = direction === 'outbound' && !at.isGateway ? 'skips' : 'blocks'
  const filters = decodeListenerFilters(at.in('listener_filters'), from.listenerFilters, unknown)
  const chain = (here: DecodePath, one: Parameters<typeof filterChain>[1]): Listener['filterChains'][number] => {
    const made = filterChain(here, one, unknown)
    const blockedBy = filters.blocks(made.match.destinationPort) ?? findMisplaced(made, isInternal)
    return blockedBy === undefined ? made : { ...made, codec: { kind: 'blocked', reason: blockedBy } }
  }
  refuse(at, ListenerSchema, from)
  const filterChains = from.filterChains.map((one, i) => chain(at.in('filter_chains').item(i), one))
  const defaultFilterChain = from.defaultFilterChain && chain(at.in('default_filter_chain'), from.defaultFilterChain)
  return {
    name: from.name,
    address: address?.host ?? '',
    port: address?.port ?? 0,
    direction,
    bindToPort: !isInternal && (from.bindToPort ?? true),
    useOriginalDst: from.useOriginalDst ?? false,
    ...(isInternal && { internal: true as const }),
    ...(filters.hasOriginalDst && { hasOriginalDst: true as const }),
    ...(address?.ipv4Compat ? { ipv4Compat: true } : {}),
    ...additionalOf(at.in('additional_addresses'), from),
    ...(from.transparent ? { transparent: true } : {}),
    sniff: {
      ...filters.sniff,
      timeoutMs: decodeMs(at.in('listener_filters_timeout'), from.listenerFiltersTimeout) ?? 15_000,
      onTimeout: from.continueOnListenerFiltersTimeout ? 'continue' : 'close',
    },
    ...(filters.proxyProtocol && { proxyProtocol: filters.proxyProtocol }),
    filterChains,
    defaultFilterChain,
    ...decodeAccessLogs(at.in('access_log'), from.accessLog),
    source: 'xds',
    ...(at.awaited.length === 0 ? {} : { extensions: at.awaited }),
  }
}

function additionalOf(at: DecodePath, { additionalAddresses }: XListener): Pick<Listener, 'additional'> {
  const additional = additionalAddresses.flatMap(({ address }, i) => {
    const found = decodeSocketAddress(at.item(i).in('address'), address)
    return found ? [{ address: found.host, port: found.port, ...(found.ipv4Compat && { ipv4Compat: true }) }] : []
  })
  return additional.length === 0 ? {} : { additional }
}

/** Tunnels are opened on the way to an endpoint, and not for connections of a port. */
function findMisplaced({ codec }: Listener['filterChains'][number], isInternal: boolean): string | undefined {
  if (codec.kind === 'tcp' && codec.tcp.tunnels && !isInternal)
    return 'tunneling_config is implemented in internal listeners only'
  return isInternal && codec.kind === 'hbone' ? 'a tunnel in a tunnel is not ended' : undefined
}

/**
 * What stands in for a listener of which no chain can be decided on: it refuses whoever comes, on its address where that is
 * known. What was redirected and belongs to another listener still gets there.
 */
export function blockListener(from: XListener, reason: string): Listener {
  const address = decodeSocketAddress(DecodePath.top(), from.address)
  return {
    name: from.name,
    address: address?.host ?? '',
    port: address?.port ?? 0,
    direction: directionOf(from),
    bindToPort: address !== undefined && (from.bindToPort ?? true),
    ...additionalOf(DecodePath.top(), from),
    ...(from.listenerSpecifier.case === 'internalListener' && { internal: true as const }),
    useOriginalDst: from.useOriginalDst ?? false,
    ...(from.transparent ? { transparent: true } : {}),
    sniff: { tls: false, http: false, timeoutMs: 15_000, onTimeout: 'close' },
    filterChains: [],
    defaultFilterChain: blockChain('', ANY_CONNECTION, reason),
    source: 'xds',
  }
}

function directionOf({ trafficDirection }: XListener): Listener['direction'] {
  switch (trafficDirection) {
    case TrafficDirection.INBOUND:
      return 'inbound'
    case TrafficDirection.OUTBOUND:
      return 'outbound'
    case TrafficDirection.UNSPECIFIED:
    default:
      return 'unspecified'
  }
}
