/** The hub's loopback HTTP port: metrics for Prometheus, and whether it is ready. It changes nothing. */
import http from 'node:http'
import type { Socket } from 'node:net'
import { MeshError } from '../../core/errors.ts'
import { guarded, nothing } from '../../core/defects/guard.ts'
import type { Metrics } from '../../core/metrics.ts'
import { foreignCaller } from '../../model/browser.ts'

const MAX_HEADER_BYTES = 8 * 1024
/** With one more the connection that has asked nothing for longest is closed: a probe always gets in. */
const MAX_CONNECTIONS = 64
const LIMITS = {
  maxHeaderSize: MAX_HEADER_BYTES,
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
}

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export function startHubAdmin(
  at: { readonly address: string; readonly port: number },
  metrics: Metrics,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = http.createServer(LIMITS)
  const quiet = new Set<Socket>()
  server.on(
    'connection',
    guarded(
      'hub',
      (_error, socket) => {
        socket.destroy()
      },
      (socket: Socket) => {
        if (quiet.size >= MAX_CONNECTIONS) quiet.values().next().value?.destroy()
        quiet.add(socket)
        socket.once(
          'close',
          guarded('hub', nothing, () => {
            quiet.delete(socket)
          }),
        )
      },
    ),
  )
  server.on(
    'request',
    guarded(
      'hub',
      (_error, req) => {
        req.socket.destroy()
      },
      (req: http.IncomingMessage, res: http.ServerResponse) => {
        quiet.delete(req.socket)
        quiet.add(req.socket)
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
  return new Promise((resolve, reject) => {
    // Later ones are connections that could not be accepted.
    server.on('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new MeshError(
          cause.code === 'EACCES' ? 'MESH_PORT_FORBIDDEN' : 'MESH_PORT_IN_USE',
          `the hub's admin port ${at.address}:${at.port} cannot be opened`,
          { cause },
        ),
      ),
    )
    server.listen(
      at.port,
      at.address,
      guarded('hub', reject, () => {
        const bound = server.address()
        resolve({
          port: typeof bound === 'object' && bound ? bound.port : at.port,
          async [Symbol.asyncDispose]() {
            server.closeAllConnections()
            await new Promise((done) => {
              server.close(done)
            })
          },
        })
      }),
    )
  })
}

function answer(req: http.IncomingMessage, metrics: Metrics): { status: number; body: string } {
  const { method, url } = req
  const foreign = foreignCaller(req)
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
