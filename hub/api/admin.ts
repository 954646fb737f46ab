/** The hub's loopback HTTP port: metrics for Prometheus, and whether it is ready. It changes nothing. */
import http from 'node:http'
import type { Socket } from 'node:net'
import { guard, doNothing } from '../../core/defects/guard.ts'
import type { Metrics } from '../../core/metrics.ts'
import { findForeignCaller } from '../../model/browser.ts'
import { listenAt } from './listen.ts'

const MAX_HEADER_BYTES = 8 * 1024
/** A probe always gets in: with one more, the connection that has asked nothing for longest is closed. */
const MAX_CONNECTIONS = 64
const LIMITS = {
  maxHeaderSize: MAX_HEADER_BYTES,
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
}

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function startHubAdmin(
  at: { readonly address: string; readonly port: number },
  metrics: Metrics,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = http.createServer(LIMITS)
  closeQuietest(server)
  server.on(
    'request',
    guard(
      'hub',
      (_error, req) => {
        req.socket.destroy()
      },
      (req: http.IncomingMessage, res: http.ServerResponse) => {
        const { status, body } = answer(req, metrics)
        res.writeHead(status, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
          'content-length': Buffer.byteLength(body),
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
        })
        res.end(body)
      },
    ),
  )
  const problem = `the hub's admin port ${at.address}:${at.port} cannot be opened`
  const { port } = await listenAt(server, { host: at.address, port: at.port }, problem)
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((done) => {
        server.close(done)
      })
    },
  }
}

function closeQuietest(server: http.Server): void {
  /** The one that has asked nothing for longest comes first. */
  const quiet = new Set<Socket>()
  const destroy = (_error: unknown, socket: Socket): void => {
    socket.destroy()
  }
  const onConnection = (socket: Socket): void => {
    if (quiet.size >= MAX_CONNECTIONS) quiet.values().next().value?.destroy()
    quiet.add(socket)
    socket.once(
      'close',
      guard('hub', doNothing, () => {
        quiet.delete(socket)
      }),
    )
  }
  server.on('connection', guard('hub', destroy, onConnection))
  server.on(
    'request',
    guard('hub', doNothing, ({ socket }: http.IncomingMessage) => {
      quiet.delete(socket)
      quiet.add(socket)
    }),
  )
}

function answer(req: http.IncomingMessage, metrics: Metrics): { status: number; body: string } {
  const { method, url } = req
  const foreign = findForeignCaller(req)
  if (foreign !== undefined) return { status: 403, body: `${foreign}\n` }
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'use GET\n' }
  const path = url?.split('?')[0] ?? ''
  switch (path) {
    case '/metrics':
    case '/stats/prometheus':
      return { status: 200, body: metrics.text() }
    case '/ready':
      return { status: 200, body: 'ready\n' }
    default:
      return { status: 404, body: 'there are /metrics and /ready\n' }
  }
}
