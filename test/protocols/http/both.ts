/** The same listener behind HTTP/1 and HTTP/2 on real sockets, in front of an endpoint that tells what it saw. */
import type { TestContext } from 'node:test'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { Current } from '../../../core/current.ts'
import type { Log } from '../../../core/log.ts'
import type { ExportOutput } from '../../../model/access-log/collector.ts'
import type { AccessLogOutput } from '../../../model/access-log/access-log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { HttpConnectionManager, Listener } from '../../../model/listener.ts'
import type { Tables } from '../../../model/tables.ts'
import type { Connection } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS, type Limits } from '../../../protocols/context.ts'
import { serveHttp1 } from '../../../protocols/http/server/h1-server.ts'
import { serveHttp2 } from '../../../protocols/http/server/h2-server.ts'
import type { HttpUpstreams } from '../../../protocols/http/message.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { headers, portOf, RawH2, type Fields } from '../../helpers/raw-h2.ts'
import { openRemoteKeys } from '../jwks/rig.ts'
import { cluster, endpoint, tablesOf } from './harness.ts'
import { connectionInClear, realContext } from '../parts.ts'

export type Codec = 'http1' | 'http2'
export type Ask = {
  readonly method?: string
  readonly path?: string
  readonly authority?: string
  readonly fields?: Fields
  readonly body?: string
}
/** `status` 0: no answer, the stream or connection was reset. `saw`: what reached the endpoint. */
export type Told = {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly saw: Seen | undefined
}
export type Seen = {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

type Options = {
  limits?: Partial<Limits>
  cluster?: Partial<Cluster>
  log?: Log
  accessLogs?: AccessLogOutput
  exports?: ExportOutput
  direction?: Listener['direction']
  answer?: http.RequestListener
  onContinue?: http.RequestListener
  originPort?: number
  /** Beside the origin's. */
  clusters?: readonly Cluster[]
}

export class Both {
  readonly seen: Seen[] = []
  readonly metrics = new Metrics()
  readonly ports: Record<Codec, number> = { http1: 0, http2: 0 }
  /** Of the connections that are served. */
  readonly connections: Connection[] = []
  current: HttpConnectionManager
  direction: Listener['direction'] = 'inbound'
  readonly #aborted = new AbortController()
  #answer: http.RequestListener = (_request, response) => response.end('hi')

  constructor(current: HttpConnectionManager) {
    this.current = current
  }

  static async start(t: TestContext, manager: HttpConnectionManager, p: Options = {}): Promise<Both> {
    const both = new Both(manager)
    if (p.answer) both.#answer = p.answer
    if (p.direction) both.direction = p.direction
    const origin = await both.#origin()
    if (p.onContinue) origin.on('checkContinue', p.onContinue)
    const toOrigin = cluster([endpoint('127.0.0.1', p.originPort ?? portOf(origin))], p.cluster)
    const base = realContext({
      ...(p.log && { log: p.log }),
      ...(p.accessLogs && { accessLogs: p.accessLogs }),
      ...(p.exports && { exports: p.exports }),
      metrics: both.metrics,
      tables: new Current<Tables>(tablesOf([toOrigin, ...(p.clusters ?? [])])),
      limits: { ...DEFAULT_LIMITS, ...p.limits },
    })
    const keys = openRemoteKeys(base, () => upstreams)
    const ctx = { ...base, remoteKeys: keys }
    const upstreams: HttpUpstreams = createUpstreams(ctx)
    keys.serve(manager)
    const servers = [
      await both.#listen('http1', (conn) => serveHttp1(conn, ctx, upstreams)),
      await both.#listen('http2', (conn) => serveHttp2(conn, ctx, upstreams)),
    ]
    t.after(async () => {
      both.#aborted.abort()
      keys[Symbol.dispose]()
      for (const s of servers) s.close()
      origin.closeAllConnections()
      origin.close()
      await upstreams[Symbol.asyncDispose]()
    })
    return both
  }

  async #origin(): Promise<http.Server> {
    const origin = http
      .createServer({ maxHeaderSize: 1 << 20 }, (request, response) => {
        let body = ''
        request.on('data', (chunk: Buffer) => {
          body += chunk.toString('latin1')
        })
        request.on('end', () => {
          this.seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
          this.#answer(request, response)
        })
      })
      .listen(0, '127.0.0.1')
    await once(origin, 'listening')
    return origin
  }

  async #listen(codec: Codec, serve: (conn: Connection) => Promise<unknown>): Promise<net.Server> {
    const server = net
      .createServer({ allowHalfOpen: true }, (stream) => {
        stream.on('error', () => {})
        const conn = connectionInClear(stream, this.current, {
          local: { host: '127.0.0.1', port: this.ports[codec] },
          listener: { name: 'l', direction: this.direction } as Listener,
          aborted: this.#aborted.signal,
        })
        this.connections.push(conn)
        void serve(conn).then(() => {
          stream.destroy()
        })
      })
      .listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.ports[codec] = portOf(server)
    return server
  }

  /** One request on a connection of its own. */
  async ask(codec: Codec, ask: Ask = {}): Promise<Told> {
    const before = this.seen.length
    return { ...(await askAt(this.ports[codec], codec, ask)), saw: this.seen[before] }
  }
}

/** One request to whoever serves at that port of 127.0.0.1. */
export function askAt(port: number, codec: Codec, ask: Ask): Promise<Omit<Told, 'saw'>> {
  return codec === 'http1' ? ask1(port, ask) : ask2(port, ask)
}

async function ask1(
  port: number,
  { method = 'GET', path = '/', authority = 'a', fields = [], body }: Ask,
): Promise<Omit<Told, 'saw'>> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.write(
    `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\nconnection: close\r\n${lines}${body === undefined ? '' : `content-length: ${body.length}\r\n`}\r\n${body ?? ''}`,
    'latin1',
  )
  await once(socket, 'close')
  // Past informational answers.
  const [head = '', ...rest] = text.replace(/^(?:HTTP\/1\.1 1(?!01)\d\d[^]*?\r\n\r\n)+/, '').split('\r\n\r\n')
  const [status = '', ...own] = head.split('\r\n')
  return {
    status: Number(status.split(' ')[1] ?? 0),
    headers: Object.fromEntries(
      own.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    ),
    body: rest.join('\r\n\r\n'),
  }
}

async function ask2(
  port: number,
  { method = 'GET', path = '/', authority = 'a', fields = [], body }: Ask,
): Promise<Omit<Told, 'saw'>> {
  const raw = new RawH2(port)
  // The answer is read by node:http2's own parser, on a connection that is fed with the frames that come.
  raw.socket.write(
    headers(
      1,
      [
        [':method', method],
        [':scheme', 'http'],
        [':authority', authority],
        ...(method === 'CONNECT' ? [] : [[':path', path] as const]),
        ...fields,
      ],
      body === undefined,
    ),
  )
  if (body !== undefined)
    raw.socket.write(
      Buffer.concat([
        Buffer.from([0, body.length >> 8, body.length & 0xff, 0, 1, 0, 0, 0, 1]),
        Buffer.from(body, 'latin1'),
      ]),
    )
  const end = await raw.until((f) => f.stream === 1 && (f.type === 3 || (f.type <= 1 && (f.flags & 1) === 1)))
  raw.close()
  const head = raw.heard.find((f) => f.type === 1 && f.stream === 1)
  if (!end || end.type === 3 || !head) return { status: 0, headers: {}, body: '' }
  const data = raw.heard
    .filter((f) => f.type === 0)
    .map((f) => f.payload.toString('latin1'))
    .join('')
  return { ...(await decoded(head.payload)), body: data }
}

/** A header block as node:http2 understands it: a server of its own sends it to a client of its own. */
async function decoded(payload: Buffer): Promise<Pick<Told, 'status' | 'headers'>> {
  const server = net
    .createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        const frame = (type: number, flags: number, stream: number, bytes: Buffer): Buffer => {
          const h = Buffer.alloc(9)
          h.writeUIntBE(bytes.length, 0, 3)
          h[3] = type
          h[4] = flags
          h.writeUInt32BE(stream, 5)
          return Buffer.concat([h, bytes])
        }
        socket.write(Buffer.concat([frame(4, 0, 0, Buffer.alloc(0)), frame(1, 4, 1, payload)]))
      })
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = http2.connect(`http://127.0.0.1:${portOf(server)}`)
  session.on('error', () => {})
  try {
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {})
    const [all] = (await once(stream, 'response')) as [Record<string, string>]
    return { status: Number(all[':status']), headers: all }
  } finally {
    session.destroy()
    server.close()
  }
}
