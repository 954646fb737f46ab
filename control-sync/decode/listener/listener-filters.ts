/**
 * Listener.listener_filters: what is looked at before a chain is chosen, and on which ports (filter_disabled). istiod
 * switches the inspectors off where the port is plain TCP or PeerAuthentication says DISABLE: a server that speaks
 * first would otherwise wait for a client that waits for it.
 */
import type { ConnectionMatch, Listener, ProxyProtocol, ProxyVersion } from '../../../model/listener.ts'
import { matchesPort } from '../../../model/listener.ts'
import type { DescMessage } from '@bufbuild/protobuf'
import { HttpInspectorSchema } from '../../../proto/gen/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.ts'
import { OriginalDstSchema } from '../../../proto/gen/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.ts'
import { ProxyProtocolConfig_Version as Version } from '../../../proto/gen/envoy/config/core/v3/proxy_protocol_pb.ts'
import {
  ProxyProtocolSchema,
  type ProxyProtocol_Rule,
} from '../../../proto/gen/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts'
import { TlsInspectorSchema } from '../../../proto/gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts'
import type {
  ListenerFilter,
  ListenerFilterChainMatchPredicate as Predicate,
} from '../../../proto/gen/envoy/config/listener/v3/listener_components_pb.ts'
import type { Any } from '@bufbuild/protobuf/wkt'
import { readEffectiveType, noteOnly, readTypeName, unpack } from '../fields/any.ts'
import { hasUnknown, type DecodePath } from '../fields/decode-path.ts'
import { LISTENER_FILTER_NAMES, LISTENER_FILTERS, ORIGINAL_SRC, type Unknown } from '../fields/known-filters.ts'
import { findSkippedExtension } from '../fields/skipped.ts'
import { decodeTlvTypes } from '../cluster/transport.ts'

type Inspector = keyof typeof LISTENER_FILTERS
const BY_TYPE: ReadonlyMap<string, Inspector> = new Map(
  (Object.keys(LISTENER_FILTERS) as Inspector[]).map((name) => [LISTENER_FILTERS[name], name]),
)

export type ListenerFilters = {
  readonly sniff: Pick<Listener['sniff'], 'tls' | 'http' | 'tlsOff' | 'httpOff'>
  readonly proxyProtocol: ProxyProtocol | undefined
  /** Connections are for where they were going before they were redirected (envoy.filters.listener.original_dst). */
  readonly hasOriginalDst: boolean
  /** Why a chain may serve nobody. @param port the only one that it serves, or undefined */
  blocks(port: number | undefined): string | undefined
}

export function decodeListenerFilters(
  at: DecodePath,
  filters: readonly ListenerFilter[],
  unknown: Unknown,
): ListenerFilters {
  const off = new Map<Inspector, ConnectionMatch[]>()
  let proxyProtocol: ProxyProtocol | undefined
  const blocking: { readonly reason: string; readonly off: ConnectionMatch }[] = []
  for (const [i, filter] of filters.entries()) {
    const here = at.item(i)
    const any = filter.configType.case === 'typedConfig' ? filter.configType.value : undefined
    const type = readTypeName(any)
    const known = type === '' ? LISTENER_FILTER_NAMES[filter.name] : BY_TYPE.get(type)
    const disabled = filter.filterDisabled
      ? (predicate(here.in('filter_disabled'), filter.filterDisabled, 0) ?? NEVER)
      : NEVER
    if (known) noteOnly(here.in('typed_config'), any, SCHEMAS[known])
    if (known === 'proxyProtocol') {
      if (proxyProtocol) here.issue('stands twice: one header is read')
      proxyProtocol = decodeProxyProtocol(here.in('typed_config'), any, disabled)
      continue
    }
    if (known) {
      off.set(known, [...(off.get(known) ?? []), disabled])
      continue
    }
    // Keeps nobody out: the application sees another address of its client, and x-forwarded-for as ever.
    if (type === '' ? filter.name === ORIGINAL_SRC.name : type === ORIGINAL_SRC.type) {
      here.skip(findSkippedExtension(ORIGINAL_SRC.type))
      here.ignore("original_src: the application sees an address of this machine instead of its client's")
      continue
    }
    const what = `the listener filter ${readEffectiveType(here, any) || filter.name} is not implemented`
    here.ignore(unknown === 'blocks' ? `${what}: the listener is blocked` : what)
    if (unknown === 'blocks') blocking.push({ reason: what, off: disabled })
    else here.skip(findSkippedExtension(readEffectiveType(here, any) || filter.name))
  }
  return {
    sniff: {
      tls: off.has('tls'),
      http: off.has('http'),
      ...isOff('tlsOff', off.get('tls')),
      ...isOff('httpOff', off.get('http')),
    },
    proxyProtocol,
    hasOriginalDst: off.has('originalDst'),
    blocks: (port) =>
      blocking.find((b) => (port === undefined ? b.off.kind !== 'any' : !matchesPort(b.off, port)))?.reason,
  }
}

const SCHEMAS: Readonly<Record<Inspector, DescMessage>> = {
  tls: TlsInspectorSchema,
  http: HttpInspectorSchema,
  originalDst: OriginalDstSchema,
  proxyProtocol: ProxyProtocolSchema,
}

/** As Envoy has it, whoever connects is believed: what may reach the port is the network's matter. */
function decodeProxyProtocol(at: DecodePath, any: Any | undefined, off: ConnectionMatch): ProxyProtocol {
  const message = unpack(at, any, ProxyProtocolSchema)
  return {
    trusted: undefined,
    isOptional: message?.allowRequestsWithoutProxyProtocol ?? false,
    disallowedVersions: (message?.disallowedVersions ?? []).flatMap((version, i) => {
      const known = VERSIONS.get(version)
      if (known === undefined) at.in('disallowed_versions').item(i).issue(`unknown value ${version}`)
      return known ?? []
    }),
    ...(off === NEVER ? {} : { off }),
    ...(message?.passThroughTlvs && { keeps: decodeTlvTypes(at.in('pass_through_tlvs'), message.passThroughTlvs) }),
    ...(message &&
      message.rules.length > 0 && { rules: message.rules.flatMap((r, i) => rule(at.in('rules').item(i), r)) }),
  }
}
function rule(at: DecodePath, { tlvType, onTlvPresent: to }: ProxyProtocol_Rule): NonNullable<ProxyProtocol['rules']> {
  if (tlvType > 255) at.in('tlv_type').issue('is above 255')
  if (!to) return []
  if (to.key === '') at.in('on_tlv_present').in('key').issue('is missing')
  return [{ type: tlvType, filter: to.metadataNamespace || 'envoy.filters.listener.proxy_protocol', key: to.key }]
}
const VERSIONS: ReadonlyMap<number, ProxyVersion> = new Map([
  [Version.V1, 1],
  [Version.V2, 2],
])

const NEVER: ConnectionMatch = { kind: 'not', of: { kind: 'any' } }

/** One of several filters of a kind that looks is enough. */
function isOff<K extends 'tlsOff' | 'httpOff'>(
  key: K,
  each: readonly ConnectionMatch[] | undefined,
): { readonly [k in K]?: ConnectionMatch } {
  if (!each || each.includes(NEVER)) return {}
  return { [key]: each.length === 1 ? each[0]! : { kind: 'and', of: each } } as { readonly [k in K]?: ConnectionMatch }
}

const MAX_DEPTH = 32

/**
 * Undefined for a condition that is not understood: then the filter looks always, and who must not be looked at is
 * refused at worst.
 */
function predicate(at: DecodePath, from: Predicate, depth: number): ConnectionMatch | undefined {
  const { rule: by } = from
  if (depth > MAX_DEPTH || hasUnknown(from)) return notUnderstood(at)
  const all = (field: string, rules: readonly Predicate[]): readonly ConnectionMatch[] | undefined => {
    const made = rules.flatMap((r, i) => predicate(at.in(field).in('rules').item(i), r, depth + 1) ?? [])
    return made.length === rules.length ? made : undefined
  }
  switch (by.case) {
    case 'anyMatch':
      return by.value ? { kind: 'any' } : notUnderstood(at)
    // Int32Range excludes its end.
    case 'destinationPortRange':
      return { kind: 'destination-port', from: by.value.start, to: by.value.end - 1 }
    case 'notMatch': {
      const of = predicate(at.in('not_match'), by.value, depth + 1)
      return of && { kind: 'not', of }
    }
    case 'andMatch': {
      const of = all('and_match', by.value.rules)
      return of && { kind: 'and', of }
    }
    case 'orMatch': {
      const of = all('or_match', by.value.rules)
      return of && { kind: 'or', of }
    }
    case undefined:
      return notUnderstood(at)
    default:
      return by satisfies never
  }
}

function notUnderstood(at: DecodePath): undefined {
  at.ignore('a condition that meshlet does not know: the filter looks at every connection')
}
