/**
 * The API of a hub on another machine. What it answers is checked by the same schemas that describe it, bounded in time
 * and size, and never followed elsewhere; what it says is shown, and nothing in it is obeyed.
 */
import http from 'node:http'
import https from 'node:https'
import tls from 'node:tls'
import { bundle } from '../../../core/runtime/bundle.ts'
import { CATALOGUE, MeshError, type ErrorCode } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { toPrintable } from '../../../core/printable.ts'
import { sendRequest, type Exchanged } from '../../bounded-exchange.ts'
import { findProxyFor, type ReadProxy } from './proxy.ts'

/** A device has half a minute for its answer. */
const TIMEOUT_MS = 60_000
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024
const MAX_SAID_CHARS = 2_000
const MAX_CONNECTIONS = 4

export type HubAccess = {
  readonly url: URL
  /** PEM; undefined: those of the system. */
  readonly roots: string | undefined
  /** Of the session; undefined: there is none yet. */
  readonly secret: string | undefined
  /** Of the hub, when the session began. */
  readonly version?: string | undefined
  readonly clock: Clock
  /** Of the environment; left out: none. */
  readonly readProxy?: ReadProxy | undefined
}
/** Of zod, as far as an answer needs it. */
export type AnswerSchema<T> = {
  safeParse(answer: unknown): {
    readonly success: boolean
    readonly data?: T | undefined
    readonly error?:
      | { readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[] }
      | undefined
  }
}
export type Asked<T> = {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  /** Behind /api/v1/, each part encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: object
  readonly answer: AnswerSchema<T>
}

export class HubClient implements Disposable {
  readonly #access: HubAccess
  readonly #agent: http.Agent | https.Agent

  constructor(access: HubAccess) {
    this.#access = access
    const limits = { keepAlive: true, maxSockets: MAX_CONNECTIONS }
    this.#agent =
      access.url.protocol === 'https:'
        ? new https.Agent({
            ...limits,
            ...findProxyFor(access.url, access.readProxy),
            minVersion: 'TLSv1.2',
            ...describeTrust(access.roots),
          })
        : new http.Agent(limits)
  }
  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
  get hub(): string {
    return this.#access.url.origin
  }

  /**
   * Rejects with what the hub refuses with, MESH_HUB_SESSION, MESH_HUB_UNREACHABLE, MESH_HUB_TLS, MESH_HUB_ANSWER. The
   * answer is as it came: its fields have their order, and a newer hub's have more.
   */
  async ask<T>(asked: Asked<T>): Promise<T> {
    const exchanged = await this.#exchange(asked)
    const said = parseJson(exchanged.text)
    if (exchanged.status !== 200) throw this.#refusal(asked, exchanged, said)
    const { success, error } = asked.answer.safeParse(said)
    if (success) return said as T
    const [issue] = error?.issues ?? []
    const where = toPrintable(`${issue?.path.join('.') || 'all of it'}: ${issue?.message ?? ''}`)
    throw this.#otherVersion(`answers /api/v1/${asked.path} with what this version does not read (${where})`)
  }

  async #exchange({ method = 'GET', path, query = {}, body }: Asked<unknown>): Promise<Exchanged> {
    const { url, secret, clock } = this.#access
    const text = body && JSON.stringify(body)
    const asks = url.protocol === 'https:' ? https : http
    try {
      const request = asks.request({
        agent: this.#agent,
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port || (url.protocol === 'https:' ? 443 : 80),
        // Not by URL, which would take the dots of a name for a way up.
        path: `/api/v1/${path}${formatQuery(query)}`,
        method,
        headers: {
          host: url.host,
          accept: 'application/json',
          'user-agent': `meshlet-hub/${bundle?.version ?? 'development'}`,
          // Of those that show no bearer.
          'x-meshlet-console': '1',
          ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
          ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        },
      })
      return await sendRequest(request, text, { timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES, clock })
    } catch (cause) {
      throw toUnreachable(url, cause)
    }
  }

  #refusal({ path }: Asked<unknown>, { status }: Exchanged, said: unknown): MeshError {
    const { code, message } = Object(said) as { code?: unknown; message?: unknown }
    if (typeof code !== 'string' || typeof message !== 'string')
      return new MeshError('MESH_HUB_ANSWER', `${this.hub} answers with status ${status}, and not as a hub does`)
    const told = toPrintable(message.slice(0, MAX_SAID_CHARS))
    // Older hubs say that there is nothing of the name.
    const isNoPath = code === 'MESH_API_NOT_FOUND' || (code === 'MESH_CONSOLE_NOT_FOUND' && told === NO_PATH)
    if (isNoPath) return this.#otherVersion(`has no /api/v1/${path}`)
    if (code === 'MESH_CONSOLE_LOGIN') return new MeshError('MESH_HUB_SESSION', `${this.hub}: ${told}`)
    // What was typed is not what the hub takes.
    if (code === 'MESH_MALFORMED_INPUT') return new MeshError('MESH_CONFIG_INVALID', told)
    if (Object.hasOwn(CATALOGUE, code)) return new MeshError(code as ErrorCode, told)
    return new MeshError('MESH_HUB_ANSWER', `${this.hub} refuses: ${toPrintable(code.slice(0, 64))}: ${told}`)
  }

  #otherVersion(what: string): MeshError {
    const { version } = this.#access
    const itsOwn = version === undefined ? '' : `, and the hub was ${toPrintable(version)} at the login`
    return new MeshError(
      'MESH_HUB_ANSWER',
      `${this.hub} ${what}; this is meshlet-hub ${bundle?.version ?? 'development'}${itsOwn}`,
    )
  }
}
const NO_PATH = 'there is no such path'

/** What an operator has been given may be any certificate of the chain. */
function describeTrust(roots: string | undefined): tls.SecureContextOptions {
  if (roots !== undefined) return { ca: roots, allowPartialTrustChain: true }
  return { ca: [...tls.getCACertificates('default'), ...tls.getCACertificates('system')] }
}

function formatQuery(query: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]))
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function toUnreachable({ origin }: URL, cause: unknown): MeshError {
  const { code = '', message } = cause as NodeJS.ErrnoException
  if (message.startsWith('more than ')) return new MeshError('MESH_HUB_ANSWER', `${origin} answers with ${message}`)
  if (/CERT|TLS|SSL|ISSUER|SIGNATURE|EPROTO/.test(code))
    return new MeshError('MESH_HUB_TLS', `${origin} is not known: ${toPrintable(message)}`, { cause })
  return new MeshError('MESH_HUB_UNREACHABLE', `${origin} does not answer`, { cause })
}
