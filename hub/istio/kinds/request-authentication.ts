/** RequestAuthentication (security.istio.io): tokens of end users that a workload verifies. */
import * as z from 'zod'
import { duration, matchLabels, name, refuse, text } from './fields.ts'

/** As much as an agent takes. As with Go's net/url the host stays in the case it is written in. */
const KEYS_URI = /^(https?):\/\/([\w.~-]+|\[[\da-f:.]+\])(?::(\d{1,5}))?(?:[/?#][\x21-\x7e]*)?$/i

/** Where a jwksUri leads; undefined for one that an istiod refuses, or that leads nowhere. */
export function parseKeysUri(uri: string): { readonly host: string; readonly port: number } | undefined {
  const [, scheme, host, port] = KEYS_URI.exec(uri) ?? []
  if (scheme === undefined || host === undefined) return undefined
  const number = port ? Number(port) : scheme.toLowerCase() === 'https' ? 443 : 80
  return number >= 1 && number <= 65_535 ? { host: host.replace(/^\[|\]$/g, ''), port: number } : undefined
}

const keysUri = text
  .max(2_048)
  .refine((uri) => parseKeysUri(uri) !== undefined, 'must be an address as https://HOST[:PORT]/PATH')
  .optional()

const jwtRule = z.strictObject({
  issuer: text.max(2_048).optional(),
  audiences: z.array(text.min(1)).optional(),
  jwks: text.max(262_144).refine(isKeySet, 'must be a JSON Web Key Set').optional(),
  jwksUri: keysUri,
  /** The same, as the protobuf has it. */
  jwks_uri: keysUri,
  fromHeaders: z.array(z.strictObject({ name, prefix: text.optional() })).optional(),
  fromParams: z.array(name).optional(),
  fromCookies: z.array(name).optional(),
  outputPayloadToHeader: name.optional(),
  forwardOriginalToken: z.boolean().optional(),
  outputClaimToHeaders: z.array(z.strictObject({ header: name, claim: name })).optional(),
  timeout: duration.optional(),
  spaceDelimitedClaims: z.array(name).optional(),
})

/** Without either an istiod asks the issuer for the address (OpenID Connect discovery). */
const checkedRule = jwtRule
  .refine((rule) => (rule.jwks ?? rule.jwksUri ?? rule.jwks_uri) !== undefined, {
    path: ['jwks'],
    message: 'is missing, and so is jwksUri; the hub does not ask issuers where their keys are',
  })
  .refine((rule) => rule.jwksUri === undefined || rule.jwks_uri === undefined, {
    path: ['jwks_uri'],
    message: 'is jwksUri, which is there as well',
  })
  .refine((rule) => (rule.issuer ?? '') !== '' || (rule.jwksUri ?? rule.jwks_uri) !== undefined, {
    path: ['issuer'],
    message: 'is missing; only a rule with jwksUri can do without',
  })

export const requestAuthentication = z.strictObject({
  selector: matchLabels.optional(),
  targetRef: refuse('it attaches to gateways and waypoints'),
  targetRefs: refuse('it attaches to gateways and waypoints'),
  jwtRules: z.array(checkedRule).optional(),
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
