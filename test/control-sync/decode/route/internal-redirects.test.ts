import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import { decodeInternalRedirects } from '../../../../control-sync/decode/route/internal-redirects.ts'
import type { InternalRedirects } from '../../../../model/http/internal-redirect.ts'
import { InternalRedirectPolicySchema } from '../../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { loadRegistry } from '../../../../proto/registry.ts'

function decode(policy: JsonObject): { readonly made: InternalRedirects | undefined; readonly skipped: string } {
  const at = DecodePath.top()
  const from = fromJson(InternalRedirectPolicySchema, policy, { registry: loadRegistry() })
  return { made: decodeInternalRedirects(at, from).internalRedirects, skipped: at.skipped.join() }
}
const predicate = (type: string, config: JsonObject = {}): JsonObject => ({
  name: 'p',
  typed_config: { '@type': `type.googleapis.com/envoy.${type}`, ...config },
})

test('an empty policy follows one 302', () =>
  assert.deepEqual(decode({}).made, {
    statuses: new Set([302]),
    max: 1,
    crossesSchemes: false,
    predicates: [],
    copies: [],
  }))
test('a policy with everything', () =>
  assert.deepEqual(
    decode({
      max_internal_redirects: 4_000_000,
      redirect_response_codes: [301, 308, 304, 200],
      allow_cross_scheme_redirect: true,
      response_headers_to_copy: ['X-A'],
      predicates: [
        predicate('extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig'),
        predicate('extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig', {
          allowed_route_names: ['a'],
        }),
        predicate('extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig'),
      ],
    }).made,
    {
      statuses: new Set([301, 308]),
      max: 20,
      crossesSchemes: true,
      predicates: [
        { kind: 'previous-routes' },
        { kind: 'allowed-routes', names: new Set(['a']) },
        { kind: 'safe-scheme' },
      ],
      copies: ['x-a'],
    },
  ))
test('a predicate that is not known leaves redirects to clients, and is told', () => {
  const { made, skipped } = decode({ predicates: [predicate('extensions.filters.http.cors.v3.Cors')] })
  assert.equal(made, undefined)
  assert.match(skipped, /internal_redirect_policy/)
})
