/** What goes over the API, once: checked by these, and described by them in its OpenAPI document. */
import * as z from 'zod'
import { CERTIFIERS } from '../../../model/fleet/enrollment.ts'
import { MAX_PROOF_CHARS } from '../../enrollment/proof.ts'

const MAX_TTL_SEC = 90 * 86_400
const certificateWish = {
  csr: z.string().max(16_384).optional().describe('PKCS#10, PEM; none: no certificate is wanted'),
  ttlSec: z.int().min(0).max(MAX_TTL_SEC).default(0).describe("life of the certificate; 0: the hub's default"),
}
const nonce = z
  .string()
  .regex(/^[\w-]{22,64}$/, 'must be 16 bytes or more, base64url')
  .describe('of this request; the same when it is made again because its answer got lost')
const bound = {
  cb: z.string().describe('exporter of the TLS connection (RFC 9266), base64url'),
  htu: z.string().describe('path of the request'),
}

/** The body of every request of a device. */
export const proofBody = z
  .string()
  .min(1)
  .max(MAX_PROOF_CHARS)
  .describe('compact JWS (RFC 7515), ES256, typ meshlet-device+jwt, with the device key as jwk in its header')

export const joinClaims = z.object({
  ...bound,
  ...certificateWish,
  token: z.string().min(1).max(4_096).describe('the join token'),
  name: z.string().min(1).max(253).optional().describe('of the device; refused where the token is for another'),
  ownName: z
    .string()
    .min(1)
    .max(253)
    .optional()
    .describe('what the device calls itself: its name where the token is for several, and no name is asked for'),
  nonce,
})
export const renewClaims = z.object({
  ...bound,
  ...certificateWish,
  counter: z.int().min(0).describe('of the last answer; 0: there was none'),
  chain: z.string().max(64).describe('of the last answer; empty: there was none'),
  nonce,
  controlToken: z.boolean().optional().describe("whether a token for the control plane's CA is wanted"),
})
export const boundClaims = z.object(bound)

export const renewed = z.object({
  certChain: z.array(z.string()).readonly().describe('PEM: leaf, intermediates, root last'),
  counter: z.int(),
  chain: z.string().describe('what the next renewal must repeat'),
  control: z
    .object({ token: z.string(), ttlSec: z.int() })
    .optional()
    .describe("JWT for the control plane's CA, and its life"),
  hubRootsPem: z.string().optional().describe("what the hub's own certificate is checked against from now on"),
})
export const joined = z.object({
  state: z.enum(['active', 'pending']),
  name: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  trustDomain: z.string(),
  hubRootsPem: z.string(),
  control: z.object({
    address: z.string(),
    rootsPem: z.string(),
    serverName: z.string().optional(),
    certificates: z.enum(CERTIFIERS).optional().describe('whose CA certifies the device; left out: the hub'),
  }),
  renewed: renewed.optional(),
})
export const discovery = z.object({
  issuer: z.string(),
  jwks_uri: z.string(),
  response_types_supported: z.array(z.string()),
  subject_types_supported: z.array(z.string()),
  id_token_signing_alg_values_supported: z.array(z.string()),
})
export const keySet = z.object({ keys: z.array(z.record(z.string(), z.unknown())).readonly() })
export const errorBody = z.object({
  code: z.string().describe('docs/errors.md'),
  message: z.string(),
  remedy: z.string(),
})
