/**
 * An issuer of OpenID Connect: what it says of itself (Discovery 1.0 §4), its keys, and the code flow with PKCE (Core
 * 1.0 §3.1, RFC 7636), or by a code that is typed elsewhere (RFC 8628). An id token counts when everything in it is as it must be (§3.1.3.7).
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
  /** Undefined: the issuer has none. */
  readonly deviceAuthorizationEndpoint: string | undefined
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

/** RFC 8628 §3.2, within bounds. */
export type DeviceAuthorization = {
  readonly deviceCode: string
  readonly userCode: string
  readonly verificationUri: string
  readonly verificationUriComplete: string | undefined
  readonly expiresSec: number
  readonly intervalSec: number
}
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'
/** RFC 8628 §3.2: where nothing is said. */
const DEFAULT_INTERVAL_SEC = 5
const MAX_INTERVAL_SEC = 60
const MAX_EXPIRES_SEC = 1_800
const MAX_DEVICE_CODE_CHARS = 4_096

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
    const { clientId } = this.#o.settings
    const url = new URL((await this.#discover()).authorizationEndpoint)
    const query = {
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope: this.#formatScope(),
      state,
      nonce,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    }
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  }

  #formatScope(): string {
    return [...new Set(['openid', ...this.#o.settings.scopes])].join(' ')
  }

  /** @returns the claims of the id token. Rejects with MESH_CONSOLE_OIDC. */
  async redeem(code: string, flow: Flow): Promise<Claims> {
    const { tokenEndpoint } = await this.#discover()
    const said = await this.#post(tokenEndpoint, {
      grant_type: 'authorization_code',
      code,
      redirect_uri: flow.redirectUri,
      code_verifier: flow.verifier,
    })
    return this.#verify(said['id_token'], flow.nonce)
  }

  /** Rejects with MESH_CONSOLE_OIDC; MESH_CONSOLE_NOT_FOUND: the issuer has no device authorization. */
  async authorizeDevice(): Promise<DeviceAuthorization> {
    const { deviceAuthorizationEndpoint: endpoint } = await this.#discover()
    if (endpoint === undefined)
      throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'the issuer names no device_authorization_endpoint (RFC 8628)')
    return readDeviceAuthorization(await this.#post(endpoint, { scope: this.#formatScope() }))
  }
  /** @returns the claims of the id token, or that nobody has confirmed yet. Rejects with MESH_CONSOLE_OIDC. */
  async redeemDevice(deviceCode: string): Promise<Claims | 'authorization_pending' | 'slow_down'> {
    const { tokenEndpoint } = await this.#discover()
    const waits = ['authorization_pending', 'slow_down'] as const
    const form = { grant_type: DEVICE_GRANT, device_code: deviceCode }
    const said = await this.#post(tokenEndpoint, form, waits)
    // Comes from the issuer itself, over TLS, for a code that nobody but this hub has; it knows no nonce.
    return waits.find((one) => one === said['error']) ?? (await this.#verify(said['id_token'], undefined))
  }

  async #post(
    url: string,
    form: Readonly<Record<string, string>>,
    expected: readonly string[] = [],
  ): Promise<Readonly<Record<string, unknown>>> {
    const { settings, secret } = this.#o
    const isBasic = secret !== undefined && (await this.#discover()).basicAuthentication
    const client = {
      client_id: settings.clientId,
      ...(secret === undefined || isBasic ? {} : { client_secret: secret }),
    }
    const headers = isBasic ? { authorization: formatBasic(settings.clientId, secret) } : {}
    return await requestJson({ url, form: { ...form, ...client }, headers, expected }, this.#o)
  }

  async #verify(token: unknown, nonce: string | undefined): Promise<Claims> {
    if (typeof token !== 'string') throw new MeshError('MESH_CONSOLE_OIDC', 'the issuer gave no id token')
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
    if (nonce !== undefined && !isSame(claims['nonce'], nonce))
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
      deviceAuthorizationEndpoint:
        said['device_authorization_endpoint'] === undefined ? undefined : urlOf('device_authorization_endpoint'),
      // Discovery 1.0 §3: the default where nothing is said.
      basicAuthentication: !Array.isArray(methods) || methods.includes('client_secret_basic'),
    }
    this.#metadata = { value, untilMs: nowMs + METADATA_MS }
    return value
  }
}

/** Throws MESH_CONSOLE_OIDC. */
function readDeviceAuthorization(said: Readonly<Record<string, unknown>>): DeviceAuthorization {
  const fail = (name: string): MeshError =>
    new MeshError('MESH_CONSOLE_OIDC', `the device authorization of the issuer has no usable ${name}`)
  const textOf = (name: string, maxChars: number): string => {
    const text = said[name]
    if (typeof text === 'string' && text !== '' && text.length <= maxChars) return text
    throw fail(name)
  }
  const pageOf = (name: string): string => {
    const text = textOf(name, 1_024)
    if (URL.parse(text)?.protocol !== 'https:') throw fail(name)
    return text
  }
  const { expires_in: expiresSec, interval: intervalSec = DEFAULT_INTERVAL_SEC } = said
  if (typeof expiresSec !== 'number' || !(expiresSec > 0)) throw fail('expires_in')
  if (typeof intervalSec !== 'number') throw fail('interval')
  return {
    deviceCode: textOf('device_code', MAX_DEVICE_CODE_CHARS),
    userCode: textOf('user_code', 64),
    verificationUri: pageOf('verification_uri'),
    verificationUriComplete:
      said['verification_uri_complete'] === undefined ? undefined : pageOf('verification_uri_complete'),
    expiresSec: Math.min(expiresSec, MAX_EXPIRES_SEC),
    intervalSec: Math.min(Math.max(intervalSec, 1), MAX_INTERVAL_SEC),
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
