/**
 * Applications without a mesh on the far machine, as a program (`node apps.ts JOB` in its namespace). They tell what
 * they got, and a query says how to behave: `status`, `times` (of the failures), `delay` (ms), `size` (bytes).
 */
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'

/**
 * `greeter` speaks first, `echo` answers each piece with its name before it, `authz` allows what says `x-ext-authz:
 * allow`, `authz-grpc` every connection but those of the service account guest, `limits` two of whatever says `limited`,
 * `jwks` has the keys of an issuer.
 */
export type AppKind = 'http' | 'https' | 'authz' | 'authz-grpc' | 'limits' | 'jwks' | 'grpc' | 'echo' | 'greeter'
export type FarApp = { readonly name: string; readonly kind: AppKind; readonly address: string; readonly port: number }
export type AppsJob = {
  readonly apps: readonly FarApp[]
  /** Where what they have seen is told: GET /?app=NAME, which forgets it, too. */
  readonly told: { readonly address: string; readonly port: number }
  /** Ports of this machine's loopback that are reached at the address of `told`. */
  readonly loopback: readonly number[]
  /** PEM for `https`. */
  readonly tls: { readonly key: string; readonly cert: string; readonly ca: string }
  /** For `jwks`. */
  readonly jwks: string
}
/** What an application got; it is the body of its answer, too. */
export type Seen = {
  readonly app: string
  readonly method: string
  readonly url: string
  readonly from: string
  readonly headers: Readonly<Record<string, string>>
  /** Names in the client's certificate; `https` only. */
  readonly certificate?: string
  readonly sni?: string
}

const seen = new Map<string, Seen[]>()
/** Failures that are still to come, by what the query calls them. */
const failures = new Map<string, number>()

function note(name: string, req: http.IncomingMessage): Seen {
  const headers = Object.fromEntries(Object.entries(req.headers).map(([k, v]) => [k, String(v)]))
  const { socket } = req
  const one: Seen = {
    app: name,
    method: req.method ?? '',
    url: req.url ?? '',
    from: socket.remoteAddress ?? '',
    headers,
    ...(socket instanceof tls.TLSSocket
      ? { certificate: socket.getPeerCertificate().subjectaltname ?? '', sni: String(socket.servername) }
      : {}),
  }
  seen.set(name, [...(seen.get(name) ?? []), one])
  return one
}

/** `fail=KEY&times=2&status=503`: the first two with that key. */
function isToFail(query: URLSearchParams): boolean {
  if (!query.has('status')) return false
  const times = query.get('times')
  if (times === null) return true
  const key = query.get('fail') ?? ''
  const left = failures.get(key) ?? Number(times)
  failures.set(key, left - 1)
  return left > 0
}

const answer =
  (name: string) =>
  (req: http.IncomingMessage, res: http.ServerResponse): void => {
    const one = note(name, req)
    const query = new URL(one.url, 'http://app').searchParams
    setTimeout(
      () => {
        res.statusCode = isToFail(query) ? Number(query.get('status')) : 200
        res.setHeader('content-type', 'application/json')
        res.end(JSON.stringify(one) + ' '.repeat(Number(query.get('size') ?? 0)))
      },
      Number(query.get('delay') ?? 0),
    )
  }

/** Answers any method with one empty message; `grpc-answer` in the request: with that status and no message. */
function serveGrpc(name: string): http2.Http2Server {
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    const all = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)]))
    seen.set(name, [
      ...(seen.get(name) ?? []),
      { app: name, method: all[':method'] ?? '', url: all[':path'] ?? '', from: '', headers: all },
    ])
    stream.on('error', () => {
      /* reset by the client */
    })
    const failed = all['grpc-answer']
    const head = { ':status': 200, 'content-type': 'application/grpc', 'x-app': name }
    if (failed !== undefined) {
      stream.respond({ ...head, 'grpc-status': failed }, { endStream: true })
      return
    }
    stream.respond(head, { waitForTrailers: true })
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': '0' })
    })
    stream.end(Buffer.alloc(5))
  })
  return server
}

/** envoy.service.auth.v3.CheckResponse in a frame of gRPC: its status OK (0), or PERMISSION_DENIED (7). */
const ALLOWED = Buffer.from([0, 0, 0, 0, 2, 0x0a, 0])
const DENIED = Buffer.from([0, 0, 0, 0, 4, 0x0a, 2, 0x08, 7])

/** envoy.service.ratelimit.v3.RateLimitResponse: its overall_code OK (1), or OVER_LIMIT (2). */
const FEW = Buffer.from([0, 0, 0, 0, 2, 0x08, 1])
const TOO_MANY = Buffer.from([0, 0, 0, 0, 2, 0x08, 2])
const LIMIT = 2
const counts = new Map<string, number>()
/** How often the same was asked. */
function count(asked: string): Buffer {
  const before = counts.get(asked) ?? 0
  counts.set(asked, before + 1)
  return asked.includes('limited') && before >= LIMIT ? TOO_MANY : FEW
}
const check = (asked: string): Buffer => (asked.includes('/sa/guest') ? DENIED : ALLOWED)

/** @param decide the message for what was asked */
function serveQuestions(name: string, decide: (asked: string) => Buffer): http2.Http2Server {
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    let asked = ''
    stream.on('error', () => {
      /* reset by the client */
    })
    stream.on('data', (bytes: Buffer) => (asked += bytes.toString('latin1')))
    stream.on('end', () => {
      const url = String(headers[':path'])
      seen.set(name, [...(seen.get(name) ?? []), { app: name, method: 'POST', url, from: '', headers: { asked } }])
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': '0' })
      })
      stream.end(decide(asked))
    })
  })
  return server
}

function serveRaw({ name, kind }: FarApp): net.Server {
  return net.createServer((socket) => {
    seen.set(name, [
      ...(seen.get(name) ?? []),
      { app: name, method: '', url: '', from: socket.remoteAddress ?? '', headers: {} },
    ])
    socket.on('error', () => {
      /* its end */
    })
    if (kind === 'greeter') socket.end(`hello from ${name}\n`)
    else socket.on('data', (bytes) => socket.write(`${name} ${bytes.toString()}`))
  })
}

const relay = (port: number): net.Server =>
  net.createServer((socket) => {
    const to = net.connect(port, '127.0.0.1')
    for (const one of [socket, to])
      one.on('error', () => {
        socket.destroy()
        to.destroy()
      })
    socket.pipe(to).pipe(socket)
  })

function serve(app: FarApp, job: AppsJob): net.Server {
  switch (app.kind) {
    case 'http':
      return http.createServer(answer(app.name))
    case 'https': {
      const { key, cert, ca } = job.tls
      const listener = answer(app.name)
      const server = tls.createServer({ key, cert, ca, requestCert: true, rejectUnauthorized: false })
      const inner = http.createServer(listener)
      server.on('secureConnection', (socket) => inner.emit('connection', socket)).on('tlsClientError', () => {})
      return server
    }
    case 'authz':
      return http.createServer((req, res) => {
        note(app.name, req)
        const allowed = req.headers['x-ext-authz'] === 'allow'
        res.writeHead(allowed ? 200 : 403, allowed ? { 'x-checked': 'yes' } : {}).end()
      })
    case 'authz-grpc':
      return serveQuestions(app.name, check)
    case 'limits':
      return serveQuestions(app.name, count)
    case 'jwks':
      return http.createServer((req, res) => {
        note(app.name, req)
        res.setHeader('content-type', 'application/json').end(job.jwks)
      })
    case 'grpc':
      return serveGrpc(app.name)
    case 'echo':
    case 'greeter':
      return serveRaw(app)
  }
}

function work(job: AppsJob): void {
  const told = http.createServer((req, res) => {
    const name = new URL(req.url ?? '', 'http://told').searchParams.get('app') ?? ''
    const all = seen.get(name) ?? []
    seen.delete(name)
    res.end(JSON.stringify(all))
  })
  const servers: [net.Server, number, string][] = [
    [told, job.told.port, job.told.address],
    ...job.loopback.map((port): [net.Server, number, string] => [relay(port), port, job.told.address]),
    ...job.apps.map((app): [net.Server, number, string] => [serve(app, job), app.port, app.address]),
  ]
  let open = 0
  for (const [server, port, address] of servers)
    server.listen(port, address, () => {
      open++
      if (open === servers.length) process.stdout.write('ready\n')
    })
}
if (process.argv[1] === import.meta.filename) work(JSON.parse(process.argv[2]!) as AppsJob)
