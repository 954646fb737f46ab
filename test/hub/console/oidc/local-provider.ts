/** A small issuer of OpenID Connect over HTTPS, which can be made to answer wrongly. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { createKey, createToken, type TestKey } from '../../../helpers/jwt.ts'
import { testCa } from '../../../helpers/test-ca.ts'

type Finally = { after(fn: () => void): void }
type Asked = { readonly path: string; readonly form: URLSearchParams; readonly authorization: string | undefined }
type Answer = { readonly status: number; readonly body: string }

export class LocalProvider {
  issuer = ''
  readonly rootsPem: string
  /** What the next id token says beside what it must; undefined takes a claim away. */
  claims: Record<string, unknown> = {}
  /** What the document of the issuer says instead. */
  metadata: Record<string, unknown> = {}
  /** Of the answer of the token endpoint, where it is to fail. */
  failure: Answer | undefined
  readonly asked: Asked[] = []
  #published = createKey('RS256', 'one')
  /** Signs; not among those of the set when it is another. */
  key: TestKey = this.#published
  readonly #codes = new Map<string, URLSearchParams>()
  /** By device code, the errors that it is answered with before it is redeemed; `undefined` redeems it. */
  readonly #devices = new Map<string, (string | undefined)[]>()
  /** What the next device code is answered with, in turn. */
  deviceAnswers: (string | undefined)[] = []

  constructor(rootsPem: string) {
    this.rootsPem = rootsPem
  }

  /** The issuer has other keys from now on. */
  rotate(): void {
    this.#published = createKey('RS256', 'two')
    this.key = this.#published
  }
  /** As the browser is led there and back. @returns the query of the callback */
  authorize(url: string): URLSearchParams {
    const query = new URL(url).searchParams
    const code = `code-${this.#codes.size}`
    this.#codes.set(code, query)
    return new URLSearchParams({ code, state: query.get('state')! })
  }
  /** Offers RFC 8628. */
  offerDevices(): void {
    this.metadata = { device_authorization_endpoint: `${this.issuer}/device` }
  }
  answer(asked: Asked): Answer {
    this.asked.push(asked)
    const { issuer } = this
    if (asked.path === '/.well-known/openid-configuration')
      return toJson({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        ...this.metadata,
      })
    if (asked.path === '/keys') return toJson({ keys: [this.#published.jwk] })
    if (this.failure) return this.failure
    if (asked.path === '/device') return this.#authorizeDevice()
    return asked.form.has('device_code') ? this.#redeemDevice(asked.form) : this.#redeem(asked.form)
  }

  #authorizeDevice(): Answer {
    const code = `device-${this.#devices.size}`
    this.#devices.set(code, this.deviceAnswers)
    return toJson({
      device_code: code,
      user_code: 'WDJB-MJHT',
      verification_uri: `${this.issuer}/activate`,
      verification_uri_complete: `${this.issuer}/activate?code=WDJB-MJHT`,
      expires_in: 600,
      interval: 1,
    })
  }
  #redeemDevice(form: URLSearchParams): Answer {
    const isGrant = form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:device_code'
    const answers = this.#devices.get(form.get('device_code')!)
    if (!isGrant || !answers || answers.length === 0) return refuse('invalid_grant')
    const error = answers.shift()
    return error === undefined ? this.#grant(null) : refuse(error)
  }

  #redeem(form: URLSearchParams): Answer {
    const query = this.#codes.get(form.get('code') ?? '')
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (!query || query.get('code_challenge') !== challenge || query.get('redirect_uri') !== form.get('redirect_uri'))
      return refuse('invalid_grant')
    this.#codes.delete(form.get('code')!)
    return this.#grant(query.get('nonce'))
  }
  #grant(nonce: string | null): Answer {
    const nowSec = Math.floor(Date.now() / 1_000)
    const base = { iss: this.issuer, aud: 'hub', sub: 'u1', iat: nowSec, exp: nowSec + 300, groups: ['ops'] }
    const claims = { ...base, ...(nonce === null ? {} : { nonce }), ...this.claims }
    return toJson({ id_token: createToken(this.key, claims), access_token: 'x', token_type: 'Bearer' })
  }
}

export async function startProvider(t: Finally): Promise<LocalProvider> {
  const { chainPem, keyPem, rootsPem } = testCa().issue('edge', 'issuer', { dnsNames: ['127.0.0.1'] })
  const provider = new LocalProvider(rootsPem)
  const server = https.createServer({ cert: chainPem, key: keyPem }, (request, response) => {
    let sent = ''
    request.on('data', (part: Buffer) => {
      sent += part.toString()
    })
    request.on('end', () => {
      const form = new URLSearchParams(sent)
      const { status, body } = provider.answer({
        path: request.url!,
        form,
        authorization: request.headers.authorization,
      })
      response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  provider.issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return provider
}

const toJson = (value: object): Answer => ({ status: 200, body: JSON.stringify(value) })
const refuse = (error: string): Answer => ({ status: 400, body: JSON.stringify({ error }) })
