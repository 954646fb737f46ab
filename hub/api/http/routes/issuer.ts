/** What an istiod asks the hub as the issuer of tokens: where its keys are, and which they are. */
import type { FastifyInstance } from 'fastify'
import { JWKS_PATH, type ControlTokens } from '../../../enrollment/control-tokens.ts'
import { discovery, keySet } from '../schemas.ts'

/** OpenID Connect Discovery 1.0 §4. */
const DISCOVERY_PATH = '/.well-known/openid-configuration'

export function addIssuerRoutes(app: FastifyInstance, tokens: ControlTokens): void {
  app.get(
    DISCOVERY_PATH,
    { schema: { summary: 'OpenID discovery of the issuer of tokens for an istiod', response: { 200: discovery } } },
    async () => tokens.discovery,
  )
  app.get(
    JWKS_PATH,
    { schema: { summary: 'Keys of tokens for an istiod (RFC 7517)', response: { 200: keySet } } },
    async () => tokens.keySet,
  )
}
