/**
 * Join tokens as a Kubernetes API server or a hub would sign them: ES256 JWTs, and the OpenID discovery that istiod
 * learns the keys from. (A JWT_RULE with a `jwks_uri` of its own takes RS256 only: go-oidc's default, and istiod sets
 * nothing else.)
 */
import { once } from 'node:events'
import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import http from 'node:http'
import type net from 'node:net'
import type { Finally } from '../../programs.ts'

export type TokenClaims = {
  readonly namespace?: string
  readonly serviceAccount?: string
  readonly audience?: string
  readonly issuer?: string
  readonly ttlSec?: number
}

const AUDIENCE = 'istio-ca'

export class TokenIssuer {
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
  readonly #keyId = randomUUID()
  #issuer = ''

  /** Serves its keys on loopback until the test ends. */
  static async start(t: Finally): Promise<TokenIssuer> {
    const issuer = new TokenIssuer()
    const server = http
      .createServer((req, res) => {
        res
          .setHeader('content-type', 'application/json')
          .end(JSON.stringify(req.url === '/jwks.json' ? { keys: [issuer.publicJwk] } : issuer.discovery))
      })
      .listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    issuer.#issuer = `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`
    return issuer
  }
  get publicJwk(): object {
    return { ...createPublicKey(this.#key).export({ format: 'jwk' }), kid: this.#keyId, alg: 'ES256', use: 'sig' }
  }
  get discovery(): object {
    return {
      issuer: this.#issuer,
      jwks_uri: `${this.#issuer}/jwks.json`,
      id_token_signing_alg_values_supported: ['ES256'],
    }
  }
  /** istiod's JWT_RULE. */
  get jwtRule(): string {
    return JSON.stringify({ issuer: this.#issuer, audiences: [AUDIENCE] })
  }

  /** Default: ns edge, sa gateway, valid for an hour. A negative life makes one that has expired. */
  token({
    namespace = 'edge',
    serviceAccount = 'gateway',
    audience = AUDIENCE,
    issuer = this.#issuer,
    ttlSec = 3600,
  }: TokenClaims = {}): string {
    const nowSec = Math.floor(Date.now() / 1000)
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const signed = `${part({ alg: 'ES256', kid: this.#keyId, typ: 'JWT' })}.${part({
      iss: issuer,
      aud: [audience],
      sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
      iat: nowSec - 7200,
      nbf: nowSec - 7200,
      exp: nowSec + ttlSec,
    })}`
    return `${signed}.${sign('sha256', Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
}
