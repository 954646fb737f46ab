/**
 * Tokens by which devices get certificates of an istiod's CA: ES256 JWTs as Kubernetes signs them for service accounts,
 * which istiod's JWT_RULE trusts by OpenID discovery. (With a `jwks_uri` in that rule istiod takes RS256 only.)
 */
import { randomUUID, type KeyObject } from 'node:crypto'
import { hashThumbprint, signJwt, toEs256Jwk, type Es256Jwk } from '../../core/jwt/sign.ts'
import { MeshError } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { ControlToken } from '../../model/fleet/enrollment.ts'

export const CONTROL_TOKEN_KEY_FILE = 'control-token-key.pem'
export const JWKS_PATH = '/v1/jwks.json'

export type ControlTokensOptions = {
  readonly key: KeyObject
  /** URL of the hub's API, as in istiod's JWT_RULE. */
  readonly issuer: string
  readonly audience: string
  readonly ttlSec: number
  readonly clock: Clock
}
export type TokenBearer = { readonly name: string; readonly namespace: string; readonly serviceAccount: string }

export class ControlTokens {
  readonly #o: ControlTokensOptions
  readonly #jwk: Es256Jwk
  readonly #keyId: string

  /** Throws MESH_STATE_UNUSABLE for a key of another kind. */
  constructor(o: ControlTokensOptions) {
    const jwk = toEs256Jwk(o.key)
    if (!jwk) throw new MeshError('MESH_STATE_UNUSABLE', `the key in ${CONTROL_TOKEN_KEY_FILE} is not one of P-256`)
    this.#o = o
    this.#jwk = jwk
    this.#keyId = hashThumbprint(jwk)
  }

  issue({ name, namespace, serviceAccount }: TokenBearer): ControlToken {
    const { key, issuer, audience, ttlSec, clock } = this.#o
    const nowSec = Math.floor(clock.wallMs() / 1_000)
    const payload = {
      iss: issuer,
      aud: [audience],
      sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
      jti: randomUUID(),
      iat: nowSec,
      exp: nowSec + ttlSec,
      'meshlet.io/device': name,
    }
    return { token: signJwt({ alg: 'ES256', kid: this.#keyId, typ: 'JWT' }, payload, key), ttlSec }
  }

  /** RFC 7517 §5. */
  get keySet(): { readonly keys: readonly object[] } {
    return { keys: [{ ...this.#jwk, kid: this.#keyId, alg: 'ES256', use: 'sig' }] }
  }
  /** OpenID Connect Discovery 1.0 §3, as far as a verifier of tokens reads it. */
  get discovery() {
    const { issuer } = this.#o
    return {
      issuer,
      jwks_uri: issuer + JWKS_PATH,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    }
  }
}
