/** A listener, a request, and what of the answer and of the endpoint's request must be the same. */
import zlib from 'node:zlib'
import type http from 'node:http'
import type { Ask, Codec, Told } from '../../../protocols/http/both.ts'
import type { ListenerRow } from './listener-of.ts'

export type FilterRow = ListenerRow & {
  readonly ask: Ask
  readonly only?: Codec
  /** Fields of the answer, and of the request that reached the endpoint. */
  readonly told?: readonly string[]
  readonly saw?: readonly string[]
  /** Text is each proxy's own. */
  readonly ownText?: boolean
  /** A difference with its reason in docs/differences.md: what meshlet does. */
  readonly differs?: { readonly codec?: Codec; readonly facts: Readonly<Record<string, unknown>> }
}

/** One more than `Both` remembers: what a client sent, in bytes. */
export type SeenAll = {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly rawHeaders?: readonly string[]
  readonly body: string
}

export function factsOf(row: FilterRow, told: Omit<Told, 'saw'>, saw: readonly SeenAll[]): Record<string, unknown> {
  const { headers, status } = told
  const encoding = headers['content-encoding']
  const body = headers['transfer-encoding'] === 'chunked' ? joinChunks(told.body) : told.body
  return {
    status,
    fields: Object.fromEntries((row.told ?? []).map((name) => [name, headers[name]])),
    body: row.ownText ? undefined : expand(body, encoding),
    saw: saw.map((one) => ({
      method: one.method,
      url: one.url,
      host: one.headers.host,
      body: expand(one.body, one.headers['content-encoding']),
      fields: Object.fromEntries((row.saw ?? []).map((name) => [name, one.headers[name]])),
    })),
  }
}

function joinChunks(text: string): string {
  let out = ''
  let at = 0
  for (;;) {
    const end = text.indexOf('\r\n', at)
    const length = parseInt(text.slice(at, end), 16)
    if (!(length > 0)) return out
    out += text.slice(end + 2, end + 2 + length)
    at = end + 2 + length + 2
  }
}

/** How well it is compressed is each library's own. */
function expand(body: string, encoding: string | undefined): string {
  const decode = encoding === undefined ? undefined : DECODERS.get(encoding)
  if (!decode) return body
  try {
    return decode(Buffer.from(body, 'latin1')).toString('latin1')
  } catch {
    // It only says that it is.
    return body
  }
}
const DECODERS: ReadonlyMap<string, (bytes: Buffer) => Buffer> = new Map([
  ['gzip', (bytes: Buffer) => zlib.gunzipSync(bytes)],
  ['br', (bytes: Buffer) => zlib.brotliDecompressSync(bytes)],
  ['zstd', (bytes: Buffer) => zlib.zstdDecompressSync(bytes)],
])
