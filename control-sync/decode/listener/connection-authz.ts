/** envoy.extensions.filters.network.ext_authz.v3.ExtAuthz, as istiod makes it of a CUSTOM AuthorizationPolicy for TCP. */
import type { Any } from '@bufbuild/protobuf/wkt'
import { NETWORK_RBAC_METADATA, type ConnectionAuthz } from '../../../model/http/ext-authz.ts'
import { ExtAuthzSchema } from '../../../proto/gen/envoy/extensions/filters/network/ext_authz/v3/ext_authz_pb.ts'
import { decodeGrpc } from '../ext-authz.ts'
import { unpack } from '../fields/any.ts'
import { noteIgnored, refuse, type DecodePath } from '../fields/decode-path.ts'
import { decodeMetadataMatch } from '../fields/metadata.ts'

/** @returns undefined for another filter */
export function decodeConnectionAuthz(at: DecodePath, any: Any | undefined): ConnectionAuthz | undefined {
  const from = unpack(at, any, ExtAuthzSchema)
  if (!from) return undefined
  noteIgnored(at, ExtAuthzSchema, from)
  refuse(at, ExtAuthzSchema, from)
  const enabledBy =
    from.filterEnabledMetadata && decodeMetadataMatch(at.in('filter_enabled_metadata'), from.filterEnabledMetadata)
  if (from.filterEnabledMetadata && enabledBy?.filter !== NETWORK_RBAC_METADATA)
    at.in('filter_enabled_metadata').issue('asks for metadata that nobody here writes')
  if (!from.grpcService) {
    at.in('grpc_service').issue('is missing')
    return undefined
  }
  return {
    statPrefix: from.statPrefix,
    service: decodeGrpc(at.in('grpc_service'), from.grpcService),
    failureAllows: from.failureModeAllow,
    enabledBy,
    sendsServerName: from.includeTlsSession,
    sendsCertificate: from.includePeerCertificate,
  }
}
