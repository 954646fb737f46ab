/** envoy.extensions.filters.http.cors.v3.CorsPolicy, which routes, virtual hosts and tables have for the filter. */
import type { CorsPolicy } from '../../model/http/cors.ts'
import type { CorsPolicy as XCorsPolicy } from '../../proto/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts'
import type { DecodePath } from './fields/decode-path.ts'
import { decodeStringMatch } from './fields/matchers.ts'
import { decodeRuntimeFraction } from './fields/values.ts'

/** @param outer of the enclosing virtual host or table: what `from` leaves out, it says (Envoy's CorsFilter) */
export function decodeCors(at: DecodePath, from: XCorsPolicy, outer: CorsPolicy | undefined): CorsPolicy {
  const origins = from.allowOriginStringMatch.flatMap(
    (match, i) => decodeStringMatch(at.in('allow_origin_string_match').item(i), match) ?? [],
  )
  const text = (field: string, value: string): string => {
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[\0-\x08\x0a-\x1f\x7f-\uffff]/.test(value)) at.in(field).issue('is no value of a header')
    return value
  }
  return {
    enabled: decodeRuntimeFraction(at.in('filter_enabled'), from.filterEnabled) ?? 1,
    shadow: decodeRuntimeFraction(at.in('shadow_enabled'), from.shadowEnabled) ?? 0,
    origins: origins.length > 0 ? origins : (outer?.origins ?? []),
    allowMethods: text('allow_methods', from.allowMethods) || (outer?.allowMethods ?? ''),
    allowHeaders: text('allow_headers', from.allowHeaders) || (outer?.allowHeaders ?? ''),
    exposeHeaders: text('expose_headers', from.exposeHeaders) || (outer?.exposeHeaders ?? ''),
    maxAge: text('max_age', from.maxAge) || (outer?.maxAge ?? ''),
    allowCredentials: from.allowCredentials ?? outer?.allowCredentials,
    allowPrivateNetwork: from.allowPrivateNetworkAccess ?? outer?.allowPrivateNetwork,
    forwardOthers: from.forwardNotMatchingPreflights ?? outer?.forwardOthers,
  }
}
