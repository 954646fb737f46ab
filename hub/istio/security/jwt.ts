/** RequestAuthentications of a workload → Envoy's jwt_authn filter (security/authn/policy_applier.go). */
import { formatDuration } from '../kinds/durations.ts'
import { compareText, isSelected } from '../config.ts'
import { parseKeysUri, type JwtRule } from '../kinds/request-authentication.ts'
import { makeAny, compact, makeExtension, type Json } from '../json.ts'
import type { Proxy } from '../mesh/proxy.ts'

/** Undefined: no token is looked at. */
export function makeJwtFilter({ mesh, node, labels }: Proxy): Json | undefined {
  const { rootNamespace } = mesh.options
  const own = [...new Set([node.namespace, rootNamespace])].flatMap((namespace) =>
    mesh.configs.RequestAuthentication.filter(
      (r) => r.namespace === namespace && isSelected(r.spec.selector?.matchLabels, labels),
    ),
  )
  const rules = own.flatMap((r) => r.spec.jwtRules ?? []).sort((a, b) => compareText(a.issuer ?? '', b.issuer ?? ''))
  if (rules.length === 0) return undefined
  const names = rules.map((_, i) => `origins-${i}`)
  const each = names.map((name) => ({
    requires_any: { requirements: [{ provider_name: name }, { allow_missing: {} }] },
  }))
  // A token that is there must be right; of several places with the same one, one issuer is enough.
  const all = {
    requires_any: {
      requirements: [...names.map((name) => ({ provider_name: name })), { requires_all: { requirements: each } }],
    },
  }
  return makeExtension(
    'envoy.filters.http.jwt_authn',
    makeAny('envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', {
      providers: Object.fromEntries(rules.map((rule, i) => [names[i]!, makeProvider(rule)])),
      rules: [{ match: { prefix: '/' }, requires: rules.length === 1 ? each[0]! : all }],
      bypass_cors_preflight: true,
    }),
  )
}

function makeProvider(rule: JwtRule): Json {
  const delimited = [...new Set([...(rule.spaceDelimitedClaims ?? []), 'permission', 'scope'])].sort(compareText)
  return compact({
    issuer: rule.issuer,
    audiences: rule.audiences,
    forward: rule.forwardOriginalToken,
    forward_payload_header: rule.outputPayloadToHeader,
    payload_in_metadata: 'payload',
    normalize_payload_in_metadata: { space_delimited_claims: delimited },
    claim_to_headers: rule.outputClaimToHeaders?.map(({ header, claim }) => ({
      header_name: header,
      claim_name: claim,
    })),
    from_headers: rule.fromHeaders?.map(({ name, prefix }) => compact({ name, value_prefix: prefix })),
    from_params: rule.fromParams,
    from_cookies: rule.fromCookies,
    ...makeKeys(rule),
  })
}

/** As PILOT_JWT_ENABLE_REMOTE_JWKS=envoy has it: the node fetches them, where an istiod would by default. */
function makeKeys({ jwks, timeout = '5s', ...rule }: JwtRule): Json {
  const uri = rule.jwksUri ?? rule.jwks_uri
  if (uri === undefined) return { local_jwks: { inline_string: jwks! } }
  const { host, port } = parseKeysUri(uri)!
  const http_uri = { uri, cluster: `outbound|${port}||${host}`, timeout: formatDuration(timeout) }
  return { remote_jwks: { http_uri, cache_duration: '300s' } }
}
