/** Requests of our own through a cluster: to a server of HTTP/1, and to one of gRPC. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type net from 'node:net'
import { Current } from '../../../core/current.ts'
import type { Tables } from '../../../model/tables.ts'
import type { Cluster } from '../../../model/cluster.ts'
import { createPost } from '../../../protocols/http/post.ts'
import type { Post } from '../../../protocols/telemetry/export/offer.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { realContext } from '../parts.ts'
import { cluster, endpoint, tablesOf } from './harness.ts'

async function start(
  t: TestContext,
  server: net.Server,
  more: Partial<Cluster> = {},
): Promise<{ post: Post; to: Cluster }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const to = cluster([endpoint('127.0.0.1', (server.address() as net.AddressInfo).port)], more)
  const ctx = realContext({ tables: new Current<Tables>(tablesOf([to])) })
  const upstreams = createUpstreams(ctx)
  t.after(async () => {
    await upstreams[Symbol.asyncDispose]()
    server.close()
  })
  return { post: createPost(upstreams, ctx.clock), to }
}
const request = (body: string, more: object = {}): Parameters<Post>[1] => ({
  authority: 'collector.test',
  path: '/p',
  headers: ['content-type', 'a/b'],
  body: Buffer.from(body),
  speaks: 'http1',
  ...more,
})

test('HTTP/1: the body arrives, the status comes back', async (t) => {
  const seen: unknown[] = []
  const server = http.createServer((req, res) => {
    void req.toArray().then((chunks) => {
      seen.push([
        req.method,
        req.url,
        req.headers.host,
        req.headers['content-type'],
        Buffer.concat(chunks as Buffer[]).toString(),
      ])
      res.writeHead(202).end('thanks')
    })
  })
  const { post, to } = await start(t, server)
  assert.deepEqual(await post(to, request('hello')), { status: 202, grpcStatus: undefined })
  assert.deepEqual(seen, [['POST', '/p', 'collector.test', 'a/b', 'hello']])
})
test('gRPC: its status comes from trailers', async (t) => {
  const seen: unknown[] = []
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    void stream.toArray().then((chunks) => {
      seen.push([headers[':path'], headers[':authority'], headers['te'], Buffer.concat(chunks as Buffer[]).toString()])
    })
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '14' }))
    stream.end('x')
  })
  const { post, to } = await start(t, server, { protocol: 'http2' })
  const headers = ['content-type', 'application/grpc', 'te', 'trailers']
  assert.deepEqual(await post(to, request('hello', { speaks: 'http2', headers })), { status: 200, grpcStatus: '14' })
  assert.deepEqual(seen, [['/p', 'collector.test', 'trailers', 'hello']])
})
test('an answer that is larger than any, and a server that is gone, are errors', async (t) => {
  const server = http.createServer((_, res) => res.end(Buffer.alloc(2 * 1024 * 1024)))
  const { post, to } = await start(t, server)
  await assert.rejects(post(to, request('x')), { code: 'MESH_UPSTREAM_PROTOCOL' })
  server.close()
  server.closeAllConnections()
  await assert.rejects(post(to, request('x')), { code: 'MESH_CONNECT_FAILED' })
})
