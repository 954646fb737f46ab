/** Documents of an issuer, over HTTPS alone. Redirects are not followed: what an issuer says stands where it says so. */
import https from 'node:https'
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { sendRequest, type Exchanged } from '../../bounded-exchange.ts'

const TIMEOUT_MS = 10_000
const MAX_BYTES = 512 * 1024

export type FetchOptions = {
  /** PEM; undefined: the authorities that Node brings. */
  readonly roots: string | undefined
  readonly clock: Clock
}
export type Asked = {
  readonly url: string
  /** A form to be posted; undefined: GET. */
  readonly form?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** `error` of RFC 6749 §5.2 that is an answer, with status 400. */
  readonly expected?: readonly string[]
}

/** Rejects with MESH_CONSOLE_OIDC, without what was sent. */
export async function requestJson(asked: Asked, o: FetchOptions): Promise<Readonly<Record<string, unknown>>> {
  const url = URL.parse(asked.url)
  if (url?.protocol !== 'https:') throw fail(asked.url, 'it is no https URL')
  const { status, text } = await exchange(url, asked, o)
  const error = findError(text)
  if (status === 400 && asked.expected?.includes(error ?? '')) return { error }
  if (status !== 200) throw fail(asked.url, `it answers with ${status}${error === undefined ? '' : `, ${error}`}`)
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>
  } catch {
    /* told below */
  }
  throw fail(asked.url, 'it answers with no JSON object')
}

const MAX_QUERY_SHOWN = 200
function fail(url: string, why: string, cause?: unknown): MeshError {
  return new MeshError('MESH_CONSOLE_OIDC', `${url.slice(0, MAX_QUERY_SHOWN)}: ${why}`, { cause })
}

/** `error` of RFC 6749 §5.2: letters that mean the same everywhere. */
const findError = (text: string): string | undefined => /"error"\s*:\s*"([\w.-]{1,64})"/.exec(text)?.[1]

async function exchange(url: URL, { form, headers }: Asked, o: FetchOptions): Promise<Exchanged> {
  const body = form && new URLSearchParams(form).toString()
  try {
    const request = https.request(url, {
      method: body === undefined ? 'GET' : 'POST',
      agent: false,
      ...(o.roots === undefined ? {} : { ca: o.roots }),
      minVersion: 'TLSv1.2',
      headers: {
        accept: 'application/json',
        'user-agent': 'meshlet-hub',
        ...headers,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }),
      },
    })
    return await sendRequest(request, body, { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, clock: o.clock })
  } catch (cause) {
    throw fail(url.href, 'it cannot be asked', cause)
  }
}
