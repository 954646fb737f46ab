/**
 * An issuer of OpenID Connect: what it says of itself (Discovery 1.0 §4), its keys, and the code flow with PKCE (Core
 * 1.0 §3.1, RFC 7636). An id token counts when everything in it is as it must be (§3.1.3.7).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import { NO_KEYS, readJwks, type Jwks } from '../../../core/jwt/jwks.ts'
import { hasKeyFor, verifyJwt, type Claims } from '../../../core/jwt/verify.ts'
import type { OidcSettings } from '../settings.ts'
import { requestJson, type FetchOptions } from './fetch.ts'

/** What it says of itself is asked again after so long, and its keys no more often than that. */
const METADATA_MS = 3_600_000
const KEYS_AGAIN_MS = 30_000

type Metadata = {
  readonly authorizationEndpoint: string
  readonly tokenEndpoint: string
  readonly jwksUri: string
  readonly basicAuthentication: boolean
}
export type ProviderOptions = FetchOptions & { readonly settings: OidcSettings; readonly secret: string | undefined }
export type Flow = {
  readonly state: string
  readonly nonce: string
  /** Of PKCE. */
  readonly verifier: string
  readonly redirectUri: string
}

export class Provider {
  readonly #o: ProviderOptions
  #metadata: { readonly value: Metadata; readonly untilMs: number } | undefined
  #keys: Jwks = NO_KEYS
  #keysAtMs = Number.NEGATIVE_INFINITY

  constructor(options: ProviderOptions) {
    this.#o = options
  }

  /** Where the browser goes. Rejects with MESH_CONSOLE_OIDC. */
  async authorizeUrl({ state, nonce, verifier, redirectUri }: Flow): Promise<string> {
    const { clientId, scopes } = this.#o.settings
    const url = new URL((await this.#discover()).authorizationEndpoint)
    const query = {
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope: [...new Set(['openid', ...scopes])].join(' '),
      state,
      nonce,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    }
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  }

  /** @returns the claims of the id token. Rejects with MESH_CONSOLE_OIDC. */
  async redeem(code: string, flow: Flow): Promise<Claims> {
    const { settings, secret } = this.#o
    const { tokenEndpoint, basicAuthentication } = await this.#discover()
    const isBasic = secret !== undefined && basicAuthentication
    const said = await requestJson(
      {
        url: tokenEndpoint,
        form: {
          grant_type: 'authorization_code',
          code,
          redirect_uri: flow.redirectUri,
          code_verifier: flow.verifier,
          client_id: settings.clientId,
          ...(secret === undefined || isBasic ? {} : { client_secret: secret }),
        },
        headers: isBasic ? { authorization: formatBasic(settings.clientId, secret) } : {},
      },
      this.#o,
    )
    const token = said['id_token']
    if (typeof token !== 'string') throw new MeshError('MESH_CONSOLE_OIDC', 'the issuer gave no id token')
    return this.#verify(token, flow)
  }

  async #verify(token: string, { nonce }: Flow): Promise<Claims> {
    const { settings, clock } = this.#o
    const jwks = await this.#keysFor(token)
    const by = { issuer: settings.issuer, audiences: [settings.clientId], jwks }
    const answer = verifyJwt(token, by, { nowMs: clock.wallMs() })
    if (!answer.valid) throw new MeshError('MESH_CONSOLE_OIDC', `the id token is refused: ${answer.reason}`)
    const { claims, expiresAtMs } = answer
    if (expiresAtMs === undefined) throw new MeshError('MESH_CONSOLE_OIDC', 'the id token has no end (exp)')
    if (typeof claims['sub'] !== 'string' || claims['sub'] === '' || claims['sub'].length > 255)
      throw new MeshError('MESH_CONSOLE_OIDC', 'the id token names nobody (sub)')
    if (Array.isArray(claims['aud']) && claims['aud'].length > 1 && claims['azp'] !== settings.clientId)
      throw new MeshError('MESH_CONSOLE_OIDC', 'the id token was made for another client (azp)')
    if (!isSame(claims['nonce'], nonce))
      throw new MeshError('MESH_CONSOLE_OIDC', 'the id token is of another login (nonce)')
    return claims
  }

  async #keysFor(token: string): Promise<Jwks> {
    const nowMs = this.#o.clock.monotonicMs()
    if (hasKeyFor(token, this.#keys) || nowMs - this.#keysAtMs < KEYS_AGAIN_MS) return this.#keys
    this.#keysAtMs = nowMs
    const said = await requestJson({ url: (await this.#discover()).jwksUri }, this.#o)
    try {
      this.#keys = readJwks(said)
    } catch (cause) {
      throw new MeshError('MESH_CONSOLE_OIDC', "the issuer's keys cannot be read", { cause })
    }
    return this.#keys
  }

  async #discover(): Promise<Metadata> {
    const { settings, clock } = this.#o
    const nowMs = clock.monotonicMs()
    if (this.#metadata && nowMs < this.#metadata.untilMs) return this.#metadata.value
    const said = await requestJson(
      { url: `${settings.issuer.replace(/\/$/, '')}/.well-known/openid-configuration` },
      this.#o,
    )
    if (said['issuer'] !== settings.issuer)
      throw new MeshError('MESH_CONSOLE_OIDC', 'what is found at the issuer is of another (issuer)')
    const urlOf = (name: string): string => {
      const text = said[name]
      if (typeof text === 'string' && URL.parse(text)?.protocol === 'https:') return text
      throw new MeshError('MESH_CONSOLE_OIDC', `the issuer names no https URL as ${name}`)
    }
    const methods = said['token_endpoint_auth_methods_supported']
    const value = {
      authorizationEndpoint: urlOf('authorization_endpoint'),
      tokenEndpoint: urlOf('token_endpoint'),
      jwksUri: urlOf('jwks_uri'),
      // Discovery 1.0 §3: the default where nothing is said.
      basicAuthentication: !Array.isArray(methods) || methods.includes('client_secret_basic'),
    }
    this.#metadata = { value, untilMs: nowMs + METADATA_MS }
    return value
  }
}

/** RFC 6749 §2.3.1: both are encoded as in a form first. */
function formatBasic(id: string, secret: string): string {
  const encode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)
  return `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}`
}

export function isSame(a: unknown, b: string): boolean {
  if (typeof a !== 'string') return false
  const [x, y] = [Buffer.from(a), Buffer.from(b)]
  return x.length === y.length && timingSafeEqual(x, y)
}
