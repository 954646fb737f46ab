/** envoy.config.listener.v3.Listener → Listener. */
import type { Listener } from '../../agent/model/listener.ts'
import { TrafficDirection } from '../proto/gen/envoy/config/core/v3/base_pb.ts'
import type { ListenerFilter } from '../proto/gen/envoy/config/listener/v3/listener_components_pb.ts'
import type { Listener as XListener } from '../proto/gen/envoy/config/listener/v3/listener_pb.ts'
import { effectiveType, typeNameOf } from './any.ts'
import type { At } from './at.ts'
import { filterChain } from './filter-chain.ts'
import { LISTENER_FILTER_NAMES, LISTENER_FILTERS, ORIGINAL_SRC } from './known-filters.ts'
import { ms, socketAddress } from './values.ts'

export function listener(at: At, from: XListener): Listener {
  if (from.name === '') at.in('name').issue('is missing')
  const address = socketAddress(at.in('address'), from.address)
  const direction = directionOf(from)
  // Unspecified counts as inbound: what is not understood may be what keeps somebody out.
  const unknown = direction === 'outbound' ? 'skips' : 'blocks'
  const { seen, blockedBy } = listenerFilters(at.in('listener_filters'), from.listenerFilters, unknown)
  const chain = (here: At, one: Parameters<typeof filterChain>[1]): Listener['filterChains'][number] => {
    const made = filterChain(here, one, unknown)
    return blockedBy === undefined ? made : { ...made, codec: { kind: 'blocked', reason: blockedBy } }
  }
  if (from.$unknown?.some(({ no }) => no === FILTER_CHAIN_MATCHER)) at.in('filter_chain_matcher').issue('match trees are not supported')
  const filterChains = from.filterChains.map((one, i) => chain(at.in('filter_chains').item(i), one))
  const defaultFilterChain = from.defaultFilterChain && chain(at.in('default_filter_chain'), from.defaultFilterChain)
  return {
    name: from.name, address: address?.host ?? '', port: address?.port ?? 0, direction,
    bindToPort: from.bindToPort ?? true, useOriginalDst: from.useOriginalDst ?? false,
    ...(from.transparent ? { transparent: true } : {}),
    sniff: {
      tls: seen.has('tls'), http: seen.has('http'), timeoutMs: ms(at.in('listener_filters_timeout'), from.listenerFiltersTimeout) ?? 15_000,
      onTimeout: from.continueOnListenerFiltersTimeout ? 'continue' : 'close',
    },
    filterChains, defaultFilterChain, source: 'xds',
    ...(at.awaited.length === 0 ? {} : { extensions: at.awaited }),
  }
}
/** Listener.filter_chain_matcher, which chooses chains instead of their own matches. */
const FILTER_CHAIN_MATCHER = 32

function directionOf({ trafficDirection }: XListener): Listener['direction'] {
  switch (trafficDirection) {
    case TrafficDirection.INBOUND: return 'inbound'
    case TrafficDirection.OUTBOUND: return 'outbound'
    case TrafficDirection.UNSPECIFIED: default: return 'unspecified'
  }
}

type Inspector = keyof typeof LISTENER_FILTERS
const BY_TYPE: ReadonlyMap<string, Inspector> = new Map((Object.keys(LISTENER_FILTERS) as Inspector[]).map((name) => [LISTENER_FILTERS[name], name]))

function listenerFilters(at: At, filters: readonly ListenerFilter[], unknown: 'blocks' | 'skips'): { readonly seen: ReadonlySet<Inspector>; readonly blockedBy: string | undefined } {
  const seen = new Set<Inspector>()
  let blockedBy: string | undefined
  for (const [i, filter] of filters.entries()) {
    const any = filter.configType.case === 'typedConfig' ? filter.configType.value : undefined
    const type = typeNameOf(any)
    const known = type === '' ? LISTENER_FILTER_NAMES[filter.name] : BY_TYPE.get(type)
    if (known) { seen.add(known); continue }
    // Keeps nobody out: the application sees another address of its client, and x-forwarded-for as ever.
    if (type === '' ? filter.name === ORIGINAL_SRC.name : type === ORIGINAL_SRC.type) { at.item(i).ignore('original_src: the application sees an address of this machine instead of its client\'s'); continue }
    const what = `the listener filter ${effectiveType(at.item(i), any) || filter.name} is not implemented`
    at.item(i).ignore(unknown === 'blocks' ? `${what}: the listener is blocked` : what)
    if (unknown === 'blocks') blockedBy ??= what
  }
  return { seen, blockedBy }
}
