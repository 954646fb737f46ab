/** envoy.config.route.v3.RouteAction.RequestMirrorPolicy, of routes, virtual hosts and tables. */
import type { MirrorPolicy } from '../../../model/route.ts'
import {
  RouteAction_RequestMirrorPolicySchema,
  type RouteAction_RequestMirrorPolicy,
} from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { findFieldName, type DecodePath } from '../fields/decode-path.ts'
import { decodeRuntimeFraction } from '../fields/values.ts'

/** Left out where there are none: the next level's count then, as in Envoy. */
export function decodeMirrors(
  at: DecodePath,
  from: readonly RouteAction_RequestMirrorPolicy[],
): { readonly mirrors?: readonly MirrorPolicy[] } {
  if (from.length === 0) return {}
  return { mirrors: from.flatMap((policy, i) => mirrorPolicy(at.in('request_mirror_policies').item(i), policy) ?? []) }
}

/** Without its changes a mirror would get headers that are to be taken away: it gets nothing. */
const CHANGES = 'request_headers_mutations'

function mirrorPolicy(at: DecodePath, from: RouteAction_RequestMirrorPolicy): MirrorPolicy | undefined {
  if ((from.cluster === '') === (from.clusterHeader === '')) at.issue('needs one of cluster and cluster_header')
  if (from.$unknown?.some(({ no }) => findFieldName(RouteAction_RequestMirrorPolicySchema, no) === CHANGES)) {
    at.in(CHANGES).ignore('not implemented: nothing is mirrored')
    return undefined
  }
  return {
    cluster: from.clusterHeader === '' ? { name: from.cluster } : { header: from.clusterHeader.toLowerCase() },
    fraction: decodeRuntimeFraction(at.in('runtime_fraction'), from.runtimeFraction) ?? 1,
    keepsHost: from.disableShadowHostSuffixAppend,
  }
}
