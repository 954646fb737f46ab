/** The same requests over HTTP/2 in clear: one session, a stream each. */
import http2 from 'node:http2'
import type { Answer } from './client.ts'
import type { Request } from './requests.ts'

/**
 * Two of one HTTP/1.1 connection, which HTTP/2 refuses. Beside `:scheme`, Envoy does not ask x-forwarded-proto for
 * redirects; meshlet does, over both.
 */
const NOT_IN_HTTP2: ReadonlySet<string> = new Set(['connection', 'te', 'x-forwarded-proto'])

export class StreamClient implements Disposable {
  readonly #session: http2.ClientHttp2Session
  constructor(port: number) {
    this.#session = http2.connect(`http://127.0.0.1:${port}`)
    this.#session.on('error', () => {})
  }

  ask({ method, target, host, fields, body }: Request): Promise<Answer> {
    const raw = [':method', method, ':scheme', 'http', ':authority', host, ':path', target]
    for (const [name, value] of fields) if (!NOT_IN_HTTP2.has(name)) raw.push(name, value)
    if (body !== undefined) raw.push('content-length', String(body.length))
    const stream = this.#session.request(raw, { endStream: (body ?? '') === '' })
    if ((body ?? '') !== '') stream.end(body, 'latin1')
    return new Promise((resolve) => {
      let answer: Answer = { status: 0, fields: [], body: '', isOpen: true }
      stream.on('response', (headers, _flags, pairs: string[]) => {
        const own = pairs.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, pairs[i + 1]!]] : []))
        answer = { ...answer, status: headers[':status'] ?? 0, fields: own.filter(([name]) => !name.startsWith(':')) }
      })
      stream.on('data', (bytes: Buffer) => {
        answer = { ...answer, body: answer.body + bytes.toString('latin1') }
      })
      stream.on('error', () => {})
      stream.on('close', () => {
        // Envoy resets the stream of a head that its codec refuses, meshlet says 400.
        resolve(answer.status === 0 ? { ...answer, status: 400 } : answer)
      })
    })
  }
  [Symbol.dispose](): void {
    this.#session.destroy()
  }
}
