import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { Current } from '../../../../core/current.ts'
import { Metrics } from '../../../../core/metrics.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { Tables } from '../../../../model/tables.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import { serveHttp1 } from '../../../../protocols/http/server/h1-server.ts'
import { serveHttp2 } from '../../../../protocols/http/server/h2-server.ts'
import { createUpstreams } from '../../../../protocols/upstream/upstreams.ts'
import { cluster, endpoint, forwardTo, manager, route, tablesOf } from '../harness.ts'
import { connectionInClear, realContext } from '../../parts.ts'

type Got = {
  status: number
  headers: http2.IncomingHttpHeaders
  body: string
  trailers: http2.IncomingHttpHeaders | undefined
  code: number
}
type Proxy = { session: http2.ClientHttp2Session; port: number; metrics: Metrics; drain(): void; connections(): number }

/** A proxy with one cluster on a port of its own, and a client connection to it. */
async function proxy(
  t: TestContext,
  originPort: number,
  p: {
    speaks?: 'http1' | 'http2'
    listen?: 'http1' | 'http2'
    http?: HttpConnectionManager
    cluster?: Partial<Cluster>
  } = {},
): Promise<Proxy> {
  const metrics = new Metrics()
  const tables = new Current<Tables>(
    tablesOf([cluster([endpoint('127.0.0.1', originPort)], { protocol: p.speaks ?? 'http2', ...p.cluster })]),
  )
  const ctx = realContext({ metrics, tables })
  const upstreams = createUpstreams(ctx)
  const serve = p.listen === 'http1' ? serveHttp1 : serveHttp2
  const draining = new AbortController()
  const aborted = new AbortController()
  let open = 0
  const server = net.createServer({ allowHalfOpen: true }, (stream) => {
    stream.on('error', () => {})
    const signals = { draining: draining.signal, aborted: aborted.signal }
    open++
    void serve(connectionInClear(stream, p.http ?? manager(), signals), ctx, upstreams).then(() => {
      open--
      stream.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  t.after(async () => {
    session.destroy()
    aborted.abort()
    server.close()
    await upstreams[Symbol.asyncDispose]()
  })
  return { session, port, metrics, drain: () => draining.abort(), connections: () => open }
}

async function h2Origin(
  t: TestContext,
  handle: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
): Promise<number> {
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (s) => {
    sessions.add(s)
  })
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    handle(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const s of sessions) s.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

function call(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders, body?: string): Promise<Got> {
  return new Promise((resolve) => {
    const stream = session.request({ ':authority': 'svc.test', ...headers }, { endStream: body === undefined })
    const got: Got = { status: 0, headers: {}, body: '', trailers: undefined, code: 0 }
    stream.on('response', (h) => {
      got.status = Number(h[':status'])
      got.headers = h
    })
    stream.on('trailers', (h) => {
      got.trailers = h
    })
    stream.on('data', (d: Buffer) => {
      got.body += d.toString()
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      got.code = stream.rstCode ?? 0
      resolve(got)
    })
    if (body !== undefined) stream.end(body)
  })
}

test('a request and its answer pass from HTTP/2 to HTTP/2, with bodies and without hop-by-hop fields', async (t) => {
  const seen: http2.IncomingHttpHeaders[] = []
  const origin = await h2Origin(t, (stream, headers) => {
    seen.push(headers)
    stream.respond({ ':status': 201, 'x-answer': 'yes' })
    stream.pipe(stream)
  })
  const { session } = await proxy(t, origin)
  const got = await call(session, { ':method': 'POST', ':path': '/a/../b?q', cookie: ['a=1', 'b=2'] as never }, 'ping')
  assert.deepEqual([got.status, got.body, got.headers['x-answer'], got.code], [201, 'ping', 'yes', 0])
  assert.equal(seen[0]![':path'], '/b?q')
  assert.equal(seen[0]!['cookie'], 'a=1; b=2')
  assert.equal(seen[0]![':authority'], 'svc.test')
})
test('gRPC: te: trailers reaches the server, and its trailers reach the client', async (t) => {
  let te: string | string[] | undefined
  const origin = await h2Origin(t, (stream, headers) => {
    te = headers['te']
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.resume()
    stream.on('end', () => stream.end('reply'))
  })
  const { session } = await proxy(t, origin)
  const got = await call(
    session,
    { ':method': 'POST', ':path': '/pkg.Svc/Call', 'content-type': 'application/grpc', te: 'trailers' },
    'question',
  )
  assert.deepEqual([got.status, got.body, got.trailers?.['grpc-status'], te], [200, 'reply', '0', 'trailers'])
})
for (const { name, answer, request = {}, length } of [
  { name: 'text/plain', answer: { 'content-type': 'text/plain' } },
  { name: 'text/plain with a length', answer: { 'content-type': 'text/plain', 'content-length': '5' } },
  { name: 'no content-type', answer: {} },
  { name: 'a gRPC request with a length', answer: {}, request: { 'content-type': 'application/grpc' }, length: '8' },
  { name: 'any request with a length', answer: {}, length: '8' },
] as { name: string; answer: http2.OutgoingHttpHeaders; request?: http2.OutgoingHttpHeaders; length?: string }[]) {
  test(`trailers pass in both directions: ${name}`, async (t) => {
    let seen: http2.IncomingHttpHeaders | undefined
    const origin = await h2Origin(t, (stream) => {
      stream.respond({ ':status': 200, ...answer }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-down': '1' }))
      stream.on('trailers', (trailers) => {
        seen = trailers
      })
      stream.resume()
      stream.on('end', () => stream.end('reply'))
    })
    const { session } = await proxy(t, origin)
    const stream = session.request(
      {
        ':authority': 'svc.test',
        ':method': 'POST',
        ':path': '/',
        ...request,
        ...(length === undefined ? {} : { 'content-length': length }),
      },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-up': '1' }))
    let down: http2.IncomingHttpHeaders | undefined
    let body = ''
    stream.on('trailers', (trailers) => {
      down = trailers
    })
    stream.on('data', (d: Buffer) => {
      body += d.toString()
    })
    stream.end('question')
    await once(stream, 'close')
    assert.deepEqual([body, down?.['x-down'], seen?.['x-up']], ['reply', '1', '1'])
  })
}
test("what is no request is refused in the caller's words, too", async (t) => {
  const { session } = await proxy(t, 1)
  const got = await call(session, { ':method': 'POST', ':path': '/%', 'content-type': 'application/grpc' }, 'x')
  assert.deepEqual(
    [got.status, got.headers['grpc-status'], got.headers['x-meshlet-error']],
    [200, '13', 'MESH_MALFORMED_INPUT'],
  )
})
test('gRPC callers get refusals as trailers-only answers', async (t) => {
  const { session } = await proxy(t, 1, { cluster: { name: 'other' } })
  const got = await call(
    session,
    { ':method': 'POST', ':path': '/pkg.Svc/Call', 'content-type': 'application/grpc' },
    'x',
  )
  assert.deepEqual(
    [got.status, got.headers['grpc-status'], got.headers['x-meshlet-error']],
    [200, '14', 'MESH_NO_CLUSTER'],
  )
})
test('many streams share one connection to the endpoint', async (t) => {
  const sessions = new Set<unknown>()
  const origin = await h2Origin(t, (stream) => {
    sessions.add(stream.session)
    setTimeout(() => {
      stream.respond({ ':status': 200 })
      stream.end('x')
    }, 20)
  })
  const { session } = await proxy(t, origin)
  await call(session, { ':path': '/first' })
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => call(session, { ':path': `/${i}` })))
  assert.ok(all.every((g) => g.status === 200 && g.body === 'x'))
  assert.equal(sessions.size, 1)
})
test('HTTP/1.1 behind HTTP/2, and HTTP/2 behind HTTP/1.1', async (t) => {
  const h1 = http
    .createServer((req, res) => {
      res.setHeader('connection', 'close')
      res.end(`${req.method} ${req.url} ${req.headers.host}`)
    })
    .listen(0, '127.0.0.1')
  await once(h1, 'listening')
  t.after(() => {
    h1.closeAllConnections()
    h1.close()
  })
  const down = await proxy(t, (h1.address() as AddressInfo).port, { speaks: 'http1' })
  const got = await call(down.session, { ':path': '/x' })
  assert.deepEqual([got.status, got.body, got.headers['connection']], [200, 'GET /x svc.test', undefined])

  const origin = await h2Origin(t, (stream, headers) => {
    stream.respond({ ':status': 200 })
    stream.end(`${headers[':method']} ${headers[':path']}`)
  })
  const up = await proxy(t, origin, { listen: 'http1' })
  const res = await fetch(`http://127.0.0.1:${up.port}/y`, { headers: { connection: 'close' } })
  assert.equal(await res.text(), 'GET /y')
})
test('a stream that the endpoint refuses was not worked on: even a POST is tried again where the route asks for it', async (t) => {
  let calls = 0
  const origin = await h2Origin(t, (stream) => {
    if (++calls === 1) {
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
      return
    }
    stream.respond({ ':status': 200 })
    stream.end('done')
  })
  const retry = {
    on: new Set(['refused-stream' as const]),
    maxRetries: 1,
    perTryTimeoutMs: undefined,
    statusCodes: new Set<number>(),
    backoff: { baseMs: 1, capMs: 2 },
    avoidPreviousHosts: false,
    maxHostPicks: 1,
  }
  const { session, metrics } = await proxy(t, origin, { http: manager([route(forwardTo({ retry }))]) })
  const got = await call(session, { ':method': 'POST', ':path': '/' }, 'body')
  assert.deepEqual([got.status, got.body, calls], [200, 'done', 2])
  assert.equal(metrics.total('mesh_upstream_retries_total', { result: 'sent' }), 1)
})
test('a stream that breaks in the middle of an answer is reset, never ended as if it were whole', async (t) => {
  const origin = await h2Origin(t, (stream) => {
    stream.respond({ ':status': 200 })
    stream.write('half')
    setTimeout(() => stream.destroy(new Error('broken')), 20)
  })
  const { session } = await proxy(t, origin)
  const got = await call(session, { ':path': '/' })
  assert.equal(got.status, 200)
  assert.notEqual(got.code, 0)
})
test('a client that gives up cancels the work at the endpoint', async (t) => {
  const cancelled = Promise.withResolvers<number>()
  const origin = await h2Origin(t, (stream) => {
    stream.on('close', () => cancelled.resolve(stream.rstCode ?? 0))
  })
  const { session } = await proxy(t, origin)
  const stream = session.request({ ':path': '/', ':authority': 'a' })
  stream.on('error', () => {})
  await once(session, 'remoteSettings').catch(() => undefined)
  setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 50)
  assert.equal(await cancelled.promise, http2.constants.NGHTTP2_CANCEL)
})
test('a request that breaks off in the middle is reset at the endpoint too, never ended as if it were whole', async (t) => {
  const seen = Promise.withResolvers<{ ended: boolean; code: number }>()
  const origin = await h2Origin(t, (stream) => {
    let ended = false
    stream
      .on('data', () => {})
      .on('end', () => {
        ended = !stream.aborted
      })
    stream.on('close', () => seen.resolve({ ended, code: stream.rstCode ?? 0 }))
  })
  const { session } = await proxy(t, origin)
  const stream = session.request({ ':method': 'POST', ':path': '/', ':authority': 'a' })
  stream.on('error', () => {})
  stream.write('half')
  setTimeout(() => stream.destroy(new Error('broken')), 50)
  const { ended, code } = await seen.promise
  assert.equal(ended, false)
  assert.notEqual(code, 0)
})
test('large bodies flow both ways without being held in memory', async (t) => {
  const origin = await h2Origin(t, (stream) => {
    stream.respond({ ':status': 200 })
    stream.pipe(stream)
  })
  const { session } = await proxy(t, origin)
  const body = 'x'.repeat(3_000_000)
  assert.equal((await call(session, { ':method': 'POST', ':path': '/' }, body)).body.length, body.length)
})
test('what is no request is answered with the reason and does not end the connection', async (t) => {
  const origin = await h2Origin(t, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end()
  })
  const { session } = await proxy(t, origin)
  assert.deepEqual((await call(session, { ':path': '/%00' })).status, 400)
  assert.equal((await call(session, { ':path': '/fine' })).status, 200)
})
test('a drain lets streams finish and takes no new connection work', async (t) => {
  const origin = await h2Origin(t, (stream) => {
    setTimeout(() => {
      stream.respond({ ':status': 200 })
      stream.end('late')
    }, 60)
  })
  const { session, drain } = await proxy(t, origin)
  const open = call(session, { ':path': '/' })
  setTimeout(drain, 20)
  assert.equal((await open).body, 'late')
  if (!session.closed) await once(session, 'close')
})
test('a connection that the client closes is over, though sockets here permit half-close', async (t) => {
  const origin = await h2Origin(t, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end()
  })
  const { port, connections } = await proxy(t, origin)
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  await once(socket, 'data')
  const before = connections()
  socket.end()
  await once(socket.resume(), 'close')
  assert.equal(connections(), before - 1)
})
