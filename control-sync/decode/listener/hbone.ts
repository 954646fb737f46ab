/**
 * Istio's listener `connect_terminate`: an HTTP connection manager that does nothing but end tunnels, each of which is
 * served by an internal listener (HBONE). Others that take CONNECT are HTTP as ever.
 */
import type { Codec } from '../../../model/listener.ts'
import type { Route } from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import type { FilterStateValue } from '../../../proto/gen/envoy/extensions/filters/common/set_filter_state/v3/value_pb.ts'
import { ConfigSchema } from '../../../proto/gen/envoy/extensions/filters/http/set_filter_state/v3/set_filter_state_pb.ts'
import { RouterSchema } from '../../../proto/gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import type {
  HttpConnectionManager as XManager,
  HttpFilter as XFilter,
} from '../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { readEffectiveType, readTypeName, unpack } from '../fields/any.ts'
import { hasUnknown, noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { OBSERVING_HTTP_FILTERS } from '../fields/known-filters.ts'
import { PEER_PRINCIPAL } from '../policy.ts'

/** @returns undefined: no such listener */
export function decodeTunnelServer(at: DecodePath, from: XManager): Codec | undefined {
  if (from.routeSpecifier.case !== 'routeConfig') return undefined
  const hosts = from.routeSpecifier.value.virtualHosts
  const routes = hosts.flatMap((host) => host.routes)
  const clusters = new Set(routes.map(clusterOf))
  if (routes.length === 0 || clusters.has(undefined)) return undefined
  const [cluster, ...more] = clusters
  const blockedBy =
    hosts.length > 1 || more.length > 0 || hosts[0]!.domains.join() !== '*'
      ? 'tunnels that are told apart by their authority are not implemented'
      : from.httpFilters
          .map((filter, i) => findUnknown(at.in('http_filters').item(i).in('typed_config'), filter))
          .find((reason) => reason !== undefined)
  return blockedBy === undefined ? { kind: 'hbone', hbone: { cluster } } : { kind: 'blocked', reason: blockedBy }
}

/** Of a route that takes every CONNECT and ends it; undefined for every other. */
function clusterOf({ match, action }: Route): string | undefined {
  if (match?.pathSpecifier.case !== 'connectMatcher' || action.case !== 'route') return undefined
  const { headers, queryParameters, dynamicMetadata, grpc, runtimeFraction } = match
  const narrowed = headers.length + queryParameters.length + dynamicMetadata.length > 0 || grpc || runtimeFraction
  const { clusterSpecifier: to, upgradeConfigs } = action.value
  const ends = upgradeConfigs.some((u) => u.upgradeType.toUpperCase() === 'CONNECT' && u.connectConfig)
  return narrowed || !ends || hasUnknown(match) || to.case !== 'cluster' ? undefined : to.value
}

/** @returns why nothing may pass */
function findUnknown(at: DecodePath, from: XFilter): string | undefined {
  const any = from.configType.case === 'typedConfig' ? from.configType.value : undefined
  const type = readEffectiveType(at, any)
  if (from.disabled || OBSERVING_HTTP_FILTERS.has(type) || readTypeName(any) === RouterSchema.typeName) return undefined
  const state = unpack(at, any, ConfigSchema)
  if (!state) {
    at.ignore(`${type} is not implemented: tunnels are refused`)
    return `the filter ${type || from.name} is not implemented`
  }
  noteIgnored(at, ConfigSchema, state)
  return state.onRequestHeaders
    .map((value, i) => findOtherValue(at.in('on_request_headers').item(i), value))
    .find((reason) => reason !== undefined)
}

/** What the data path does with a tunnel. What else is written into the filter state nobody reads. */
const DONE: ReadonlyMap<string, string> = new Map([
  ['envoy.filters.listener.original_dst.local_ip', '%REQ(:AUTHORITY)%'],
  ['envoy.filters.listener.original_dst.remote_ip', '%DOWNSTREAM_REMOTE_ADDRESS%'],
  [PEER_PRINCIPAL, '%DOWNSTREAM_PEER_URI_SAN%'],
])
function findOtherValue(at: DecodePath, { key, value }: FilterStateValue): string | undefined {
  const done = DONE.get(key.value ?? '')
  if (done === undefined) return undefined
  const text = value.value?.format
  const source = text?.case === 'textFormatSource' ? text.value.specifier : undefined
  if ((source?.case === 'inlineString' ? source.value : undefined) === done) return undefined
  at.in('format_string').ignore(`only ${done} is implemented: tunnels are refused`)
  return `${key.value} is to be something other than ${done}`
}
