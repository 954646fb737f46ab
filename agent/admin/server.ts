/**
 * The loopback HTTP port for people and probes, in Envoy's shapes. It knows paths and methods; what stands behind each
 * is passed in.
 */
import type http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import { type Clock, systemClock, type Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { guard, doNothing, reportDefect } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import { listenAt } from '../../core/os/network.ts'
import { UntilItWorks } from '../../core/os/until-it-works.ts'
import { findForeignCaller } from '../../model/browser.ts'

export type AdminReply = {
  readonly status?: number
  readonly type?: 'text/plain' | 'application/json' | 'text/html' | 'text/plain; version=0.0.4'
  readonly body: string
}
export type AdminHandler = (query: URLSearchParams) => AdminReply | Promise<AdminReply>
export type AdminPage = {
  readonly method: 'GET' | 'POST'
  readonly help: string
  /** For callers on this machine that ask its loopback address, wherever else the port is open. */
  readonly onlyLocal?: boolean
  readonly handle: AdminHandler
}

export type AdminServer = AsyncDisposable & { readonly port: number }

export type AdminBounds = {
  /** One more closes the connection that has been quiet longest, so that a probe always gets in. */
  readonly maxConnections: number
  /**
   * Time for the head of a request, from the connection or the last answer on, and for an answer that is not read.
   */
  readonly quietMs: number
  /** Bytes of unread answers. Above it only short ones are given. */
  readonly maxUnreadBytes: number
}
const BOUNDS: AdminBounds = { maxConnections: 64, quietMs: 10_000, maxUnreadBytes: 8 * 1024 * 1024 }
/** No request needs more: a longer path or header block is refused by node:http with 431. */
const MAX_HEADER_BYTES = 8 * 1024
const MAX_REQUESTS_PER_CONNECTION = 1_000

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export function startAdmin(
  at: { readonly address: string; readonly port: number },
  pages: ReadonlyMap<string, AdminPage>,
  log: Log,
  clock: Clock = systemClock,
  bounds: AdminBounds = BOUNDS,
): Promise<AdminServer> {
  const port = new AdminPort(pages, log, clock, bounds)
  const door = net.createServer(
    guard(
      'admin',
      (_error, socket) => {
        socket.destroy()
      },
      (socket: net.Socket) => port.accept(socket),
    ),
  )
  return new Promise((resolve, reject) => {
    // Errors after that are of connections that could not be accepted.
    door.on(
      'error',
      guard('admin', reject, (err: NodeJS.ErrnoException) => reject(bindError(err, at))),
    )
    door.once(
      'listening',
      guard('admin', reject, () => {
        const bound = door.address()
        resolve({
          port: typeof bound === 'object' && bound ? bound.port : at.port,
          async [Symbol.asyncDispose]() {
            port.close()
            await new Promise((done) => {
              door.close(done)
            })
          },
        })
      }),
    )
    listenAt(door, { host: at.address, port: at.port })
  })
}

/** The port of `open`, now or once it can be had. */
export class AdminDoor implements AsyncDisposable {
  readonly ports: UntilItWorks
  #server: AdminServer | undefined

  constructor(open: () => Promise<AdminServer>, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.ports = new UntilItWorks({
      clock,
      part: 'admin',
      attempt: async () => {
        this.#server = await open()
      },
      failed: (err, retryInMs) => {
        log.warn({ evt: 'admin.port', retryInMs, err }, 'the admin port cannot be opened yet')
      },
    })
  }
  get port(): number | undefined {
    return this.#server?.port
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.ports[Symbol.asyncDispose]()
    await this.#server?.[Symbol.asyncDispose]()
  }
}

/** Node checks its own timeouts only in a server that listens, which this one does not. */
class AdminPort {
  readonly #pages: ReadonlyMap<string, AdminPage>
  readonly #log: Log
  readonly #clock: Clock
  readonly #bounds: AdminBounds
  /** Quietest first. */
  readonly #quiet = new Map<net.Socket, Timer>()
  #server: http.Server | undefined
  #unreadBytes = 0
  /** One page after the other, so that the bytes of one are counted before the next is made. */
  #turn = Promise.resolve()

  constructor(pages: ReadonlyMap<string, AdminPage>, log: Log, clock: Clock, bounds: AdminBounds) {
    this.#pages = pages
    this.#log = log
    this.#clock = clock
    this.#bounds = bounds
  }

  accept(socket: net.Socket): void {
    if (this.#quiet.size >= this.#bounds.maxConnections) this.#quiet.keys().next().value?.destroy()
    this.#wait(socket)
    socket.once(
      'close',
      guard('admin', doNothing, () => {
        this.#quiet.get(socket)?.cancel()
        this.#quiet.delete(socket)
      }),
    )
    // Made at the first request: node:http takes some megabytes.
    this.#server ??= this.#httpServer()
    this.#server.emit('connection', socket)
  }
  close(): void {
    for (const socket of this.#quiet.keys()) socket.destroy()
  }

  /** Something of a request or an answer has to happen within quietMs. */
  #wait(socket: net.Socket): void {
    this.#quiet.get(socket)?.cancel()
    this.#quiet.delete(socket)
    if (!socket.destroyed)
      this.#quiet.set(
        socket,
        this.#clock.after(this.#bounds.quietMs, () => {
          socket.destroy()
        }),
      )
  }

  #httpServer(): http.Server {
    const { createServer } = createRequire(import.meta.url)('node:http') as typeof http
    const server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: 5_000 },
      guard(
        'admin',
        (_error, req) => {
          req.socket.destroy()
        },
        (req: http.IncomingMessage, res: http.ServerResponse) => {
          const end = (): void => {
            req.socket.destroy()
          }
          this.#wait(req.socket)
          this.#turn = this.#turn
            .then(() => this.#answer(req, res))
            .catch((thrown: unknown) => {
              reportDefect('admin', thrown)
              end()
            })
        },
      ),
    )
    server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION
    return server
  }

  async #answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    if (req.socket.destroyed) return
    this.#send(req, res, await answer(req, this.#pages, this.#log, this.#unreadBytes > this.#bounds.maxUnreadBytes))
  }

  #send(req: http.IncomingMessage, res: http.ServerResponse, reply: AdminReply): void {
    const { socket } = req
    const body = Buffer.from(reply.body)
    this.#unreadBytes += body.length
    const taking = guard('admin', doNothing, () => this.#wait(socket))
    socket.on('drain', taking)
    res.once(
      'close',
      guard('admin', doNothing, () => {
        this.#unreadBytes -= body.length
        socket.removeListener('drain', taking)
        this.#wait(socket)
      }),
    )
    // Nobody reads bodies here.
    if (hasBody(req)) res.shouldKeepAlive = false
    res.writeHead(reply.status ?? 200, {
      'content-type': `${reply.type ?? 'text/plain'}${reply.type === 'text/plain; version=0.0.4' ? '' : '; charset=utf-8'}`,
      'content-length': body.length,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    })
    res.end(body)
  }
}

function hasBody({ headers }: http.IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

async function answer(
  req: http.IncomingMessage,
  pages: ReadonlyMap<string, AdminPage>,
  log: Log,
  isBusy: boolean,
): Promise<AdminReply> {
  const foreign = findForeignCaller(req)
  if (foreign !== undefined) return { status: 403, body: `${foreign}\n` }
  // URL reads a target such as `//` as a network path, and fails.
  const url = req.url?.startsWith('/') ? URL.parse(`http://localhost${req.url}`) : null
  if (!url) return { status: 400, body: 'this is no path\n' }
  const page = pages.get(url.pathname)
  if (!page) return { status: 404, body: `no such page; there are:\n${index(pages)}` }
  if (req.method !== page.method && !(page.method === 'GET' && req.method === 'HEAD'))
    return { status: 405, body: `use ${page.method}\n` }
  if (page.onlyLocal && !isLocal(req.socket)) return { status: 403, body: 'only requests from localhost are allowed\n' }
  if (isBusy) return { status: 503, body: 'too much of other answers is still unread\n' }
  try {
    return await page.handle(url.searchParams)
  } catch (err) {
    log.error({ evt: 'admin.failed', path: url.pathname, err }, 'admin page failed')
    return { status: 500, body: 'internal error; see the log\n' }
  }
}

/**
 * At both ends: what is forwarded to the port from elsewhere comes from a loopback address, too (127.0.0.6, as a
 * sidecar's inbound connections), and is made to another one.
 */
function isLocal({ remoteAddress, localAddress }: Pick<net.Socket, 'remoteAddress' | 'localAddress'>): boolean {
  return [remoteAddress, localAddress].every((one) => /^(::ffff:)?127\.|^::1$/.test(one ?? ''))
}

export function index(pages: ReadonlyMap<string, AdminPage>): string {
  return [...pages].map(([path, p]) => `  ${p.method.padEnd(4)} ${path.padEnd(20)} ${p.help}\n`).join('')
}

function bindError(err: NodeJS.ErrnoException, at: { address: string; port: number }): MeshError {
  const where = `admin port ${at.address}:${at.port}`
  if (err.code === 'EADDRINUSE')
    return new MeshError('MESH_PORT_IN_USE', `the ${where} is taken by another process`, { cause: err })
  if (err.code === 'EACCES')
    return new MeshError('MESH_PORT_FORBIDDEN', `the ${where} may not be opened`, { cause: err })
  if (err.code === 'EADDRNOTAVAIL')
    return new MeshError(
      'MESH_ADDRESS_MISSING',
      `the ${where} cannot be opened: this machine does not have that address`,
      { cause: err },
    )
  return new MeshError('MESH_PORT_FORBIDDEN', `the ${where} cannot be opened: ${err.message}`, { cause: err })
}
