/** RequestAuthentication (security.istio.io): tokens of end users that a workload verifies. */
import * as z from 'zod'
import { duration, matchLabels, name, refuse, text } from './fields.ts'

const jwtRule = z.strictObject({
  issuer: name.max(2_048),
  audiences: z.array(text).optional(),
  jwks: text.max(262_144).refine(isKeySet, 'must be a JSON Web Key Set').optional(),
  jwksUri: refuse('an istiod fetches the keys itself; put them here as jwks'),
  jwks_uri: refuse('an istiod fetches the keys itself; put them here as jwks'),
  fromHeaders: z.array(z.strictObject({ name, prefix: text.optional() })).optional(),
  fromParams: z.array(name).optional(),
  fromCookies: z.array(name).optional(),
  outputPayloadToHeader: name.optional(),
  forwardOriginalToken: z.boolean().optional(),
  outputClaimToHeaders: z.array(z.strictObject({ header: name, claim: name })).optional(),
  timeout: duration.optional(),
  spaceDelimitedClaims: z.array(name).optional(),
})

/** Without keys an istiod asks the issuer for them (OpenID Connect discovery). */
export const requestAuthentication = z.strictObject({
  selector: matchLabels.optional(),
  targetRef: refuse('it attaches to gateways and waypoints'),
  targetRefs: refuse('it attaches to gateways and waypoints'),
  jwtRules: z
    .array(
      jwtRule.refine((rule) => rule.jwks !== undefined, {
        path: ['jwks'],
        message: 'is missing; the hub fetches no keys',
      }),
    )
    .optional(),
})

function isKeySet(jwks: string): boolean {
  try {
    return Array.isArray((JSON.parse(jwks) as { readonly keys?: unknown }).keys)
  } catch {
    return false
  }
}

export type RequestAuthentication = z.infer<typeof requestAuthentication>
export type JwtRule = z.infer<typeof jwtRule>
