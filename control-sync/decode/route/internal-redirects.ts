/** RouteAction.internal_redirect_policy. What cannot be applied is left out and told: clients follow by themselves. */
import type { InternalRedirects, RedirectPredicate } from '../../../model/http/internal-redirect.ts'
import type { InternalRedirectPolicy } from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { AllowListedRoutesConfigSchema } from '../../../proto/gen/envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config_pb.ts'
import { PreviousRoutesConfigSchema } from '../../../proto/gen/envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config_pb.ts'
import { SafeCrossSchemeConfigSchema } from '../../../proto/gen/envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config_pb.ts'
import { unpack } from '../fields/any.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeHeaderName } from './header-changes.ts'

/** As many as Envoy permits to be listed. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
/** So that one request cannot become thousands. */
const MAX_REDIRECTS = 20

export function decodeInternalRedirects(
  at: DecodePath,
  from: InternalRedirectPolicy | undefined,
): { readonly internalRedirects?: InternalRedirects } {
  if (!from) return {}
  const predicates = from.predicates.map((one, i) => predicateOf(at.in('predicates').item(i), one.typedConfig))
  const known = predicates.filter((one) => one !== undefined)
  if (known.length < predicates.length) {
    at.in('predicates').ignore('one of them is not implemented')
    at.skip('redirects go back to the client (internal_redirect_policy)')
    return {}
  }
  const statuses = from.redirectResponseCodes.filter((status) => REDIRECTS.has(status))
  return {
    internalRedirects: {
      statuses: new Set(from.redirectResponseCodes.length === 0 ? [302] : statuses),
      max: Math.min(MAX_REDIRECTS, from.maxInternalRedirects ?? 1),
      crossesSchemes: from.allowCrossSchemeRedirect,
      predicates: known,
      copies: from.responseHeadersToCopy.flatMap(
        (name, i) => decodeHeaderName(at.in('response_headers_to_copy').item(i), name) ?? [],
      ),
    },
  }
}

function predicateOf(at: DecodePath, any: Parameters<typeof unpack>[1]): RedirectPredicate | undefined {
  const here = at.in('typed_config')
  if (unpack(here, any, PreviousRoutesConfigSchema)) return { kind: 'previous-routes' }
  if (unpack(here, any, SafeCrossSchemeConfigSchema)) return { kind: 'safe-scheme' }
  const allowed = unpack(here, any, AllowListedRoutesConfigSchema)
  return allowed && { kind: 'allowed-routes', names: new Set(allowed.allowedRouteNames) }
}
