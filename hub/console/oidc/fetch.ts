/** Documents of an issuer, over HTTPS alone. Redirects are not followed: what an issuer says stands where it says so. */
import https from 'node:https'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'

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
}

/** Rejects with MESH_CONSOLE_OIDC, without what was sent. */
export async function requestJson(asked: Asked, o: FetchOptions): Promise<Readonly<Record<string, unknown>>> {
  const url = URL.parse(asked.url)
  if (url?.protocol !== 'https:') throw fail(asked.url, 'it is no https URL')
  const { status, text } = await exchange(url, asked, o)
  if (status !== 200) throw fail(asked.url, `it answers with ${status}${describe(text)}`)
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
function describe(text: string): string {
  const found = /"error"\s*:\s*"([\w.-]{1,64})"/.exec(text)
  return found ? `, ${found[1]}` : ''
}

function exchange(url: URL, { form, headers }: Asked, o: FetchOptions): Promise<{ status: number; text: string }> {
  const body = form && new URLSearchParams(form).toString()
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown): void => reject(fail(url.href, 'it cannot be asked', cause))
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
    const late = o.clock.after(TIMEOUT_MS, () => request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    request.on('error', guard('hub', failed, failed))
    request.on(
      'close',
      guard('hub', doNothing, () => late.cancel()),
    )
    request.on(
      'response',
      guard('hub', failed, (response) => {
        const parts: Buffer[] = []
        let bytes = 0
        response.on('error', guard('hub', failed, failed))
        response.on(
          'data',
          guard('hub', failed, (part: Buffer) => {
            bytes += part.length
            if (bytes > MAX_BYTES) request.destroy(new Error(`more than ${MAX_BYTES} bytes`))
            else parts.push(part)
          }),
        )
        response.on(
          'end',
          guard('hub', failed, () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
          ),
        )
      }),
    )
    request.end(body)
  })
}
