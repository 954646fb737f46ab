/**
 * The loopback HTTP port for people and probes, in Envoy's shapes. It knows paths and methods; what stands behind each is passed in.
 */
import type http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import { MeshError } from './core/errors.ts'
import { detached, guarded, nothing } from './core/guard.ts'
import type { Log } from './core/log.ts'
import { listenAt } from './core/network.ts'

export type AdminReply = { readonly status?: number; readonly type?: 'text/plain' | 'application/json' | 'text/html' | 'text/plain; version=0.0.4'; readonly body: string }
export type AdminHandler = (query: URLSearchParams) => AdminReply | Promise<AdminReply>
export type AdminPage = { readonly method: 'GET' | 'POST'; readonly help: string; readonly handle: AdminHandler }

export type AdminServer = AsyncDisposable & { readonly port: number }

/** No request needs more: a longer path or header block is refused by node:http with 431. */
const MAX_HEADER_BYTES = 8 * 1024

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export function startAdmin(at: { readonly address: string; readonly port: number }, pages: ReadonlyMap<string, AdminPage>, log: Log): Promise<AdminServer> {
  const sockets = new Set<net.Socket>()
  let server: http.Server | undefined
  const door = net.createServer(guarded('admin', (_error, socket) => { socket.destroy() }, (socket: net.Socket) => {
    sockets.add(socket)
    socket.once('close', guarded('admin', nothing, () => { sockets.delete(socket) }))
    // Made at the first question: node:http costs some megabytes that an agent nobody asks keeps.
    server ??= httpServer(pages, log)
    server.emit('connection', socket)
  }))
  return new Promise((resolve, reject) => {
    // Later ones are connections that could not be accepted.
    door.on('error', guarded('admin', reject, (err: NodeJS.ErrnoException) => reject(bindError(err, at))))
    door.once('listening', guarded('admin', reject, () => {
      const bound = door.address()
      resolve({
        port: typeof bound === 'object' && bound ? bound.port : at.port,
        async [Symbol.asyncDispose]() {
          for (const socket of sockets) socket.destroy()
          await new Promise((done) => { door.close(done) })
        },
      })
    }))
    listenAt(door, { host: at.address, port: at.port })
  })
}

function httpServer(pages: ReadonlyMap<string, AdminPage>, log: Log): http.Server {
  const { createServer } = createRequire(import.meta.url)('node:http') as typeof http
  return createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 10_000, keepAliveTimeout: 5_000 }, guarded('admin', (_error, req) => { req.socket.destroy() }, (req: http.IncomingMessage, res: http.ServerResponse) => {
    detached('admin', answer(req, pages, log).then((reply) => {
      res.writeHead(reply.status ?? 200, { 'content-type': `${reply.type ?? 'text/plain'}${reply.type === 'text/plain; version=0.0.4' ? '' : '; charset=utf-8'}`, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
      res.end(reply.body)
    }), () => { req.socket.destroy() })
  }))
}

async function answer(req: http.IncomingMessage, pages: ReadonlyMap<string, AdminPage>, log: Log): Promise<AdminReply> {
  // A web page that rebinds its name to 127.0.0.1 still sends its own name here.
  if (!isLocalHost(req.headers.host)) return { status: 403, body: 'only loopback names are served here\n' }
  // A target such as `//` is a network path to URL, and none that it can read.
  const url = URL.parse(`http://localhost${req.url?.startsWith('/') ? req.url : '/'}`)
  if (!url) return { status: 400, body: 'this is no path\n' }
  const page = pages.get(url.pathname)
  if (!page) return { status: 404, body: `no such page; there are:\n${index(pages)}` }
  if (req.method !== page.method && !(page.method === 'GET' && req.method === 'HEAD')) return { status: 405, body: `use ${page.method}\n` }
  try {
    return await page.handle(url.searchParams)
  } catch (err) {
    log.error({ evt: 'admin.failed', path: url.pathname, err }, 'admin page failed')
    return { status: 500, body: 'internal error; see the log\n' }
  }
}

export function index(pages: ReadonlyMap<string, AdminPage>): string {
  return [...pages].map(([path, p]) => `  ${p.method.padEnd(4)} ${path.padEnd(20)} ${p.help}\n`).join('')
}

function isLocalHost(host: string | undefined): boolean {
  if (host === undefined) return false
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  return name === 'localhost' || net.isIP(name) !== 0
}

function bindError(err: NodeJS.ErrnoException, at: { address: string; port: number }): MeshError {
  const where = `admin port ${at.address}:${at.port}`
  if (err.code === 'EADDRINUSE') return new MeshError('MESH_PORT_IN_USE', `the ${where} is taken by another process`, { cause: err })
  if (err.code === 'EACCES') return new MeshError('MESH_PORT_FORBIDDEN', `the ${where} may not be opened`, { cause: err })
  return new MeshError('MESH_CONFIG_INVALID', `the ${where} cannot be opened: ${err.message}`, { cause: err })
}
