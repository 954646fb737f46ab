/** envoy.config.route.v3.RouteAction.RequestMirrorPolicy, of routes, virtual hosts and tables. */
import type { MirrorPolicy } from '../../../model/route.ts'
import type { RouteAction_RequestMirrorPolicy } from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeRuntimeFraction } from '../fields/values.ts'

/** Left out where there are none: the next level's count then, as in Envoy. */
export function decodeMirrors(
  at: DecodePath,
  from: readonly RouteAction_RequestMirrorPolicy[],
): { readonly mirrors?: readonly MirrorPolicy[] } {
  if (from.length === 0) return {}
  return { mirrors: from.map((policy, i) => mirrorPolicy(at.in('request_mirror_policies').item(i), policy)) }
}

function mirrorPolicy(at: DecodePath, from: RouteAction_RequestMirrorPolicy): MirrorPolicy {
  if ((from.cluster === '') === (from.clusterHeader === '')) at.issue('needs one of cluster and cluster_header')
  return {
    cluster: from.clusterHeader === '' ? { name: from.cluster } : { header: from.clusterHeader.toLowerCase() },
    fraction: decodeRuntimeFraction(at.in('runtime_fraction'), from.runtimeFraction) ?? 1,
    keepsHost: from.disableShadowHostSuffixAppend,
  }
}
