/**
 * The console: a page and the API that it uses, on a port of its own. What concerns every request stands here, in order:
 * headers, Host and Origin, rate, who may; routes stand by subject in routes/.
 */
import type http from 'node:http'
import type https from 'node:https'
import { fastify, type FastifyInstance, type RouteOptions } from 'fastify'
import { MeshError } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { addErrors, checkByZod, MAX_BODY_BYTES, MAX_PATH_CHARS } from '../api/http/app.ts'
import { describeApi } from '../api/http/openapi.ts'
import { RateLimit } from '../api/http/rate-limit.ts'
import { openDoor, type DoorLimits } from '../api/door.ts'
import type { ServerIdentity } from '../api/server-identity.ts'
import { authorizeRoutes } from './authorize.ts'
import { checkBrowser, type Origins } from './browser-checks.ts'
import { addCompression } from './compression.ts'
import { addSecurityHeaders } from './headers.ts'
import { createServer, usesTls } from './listener.ts'
import type { Logins } from './logins.ts'
import { ERRORS, readAddress } from './routes/parts.ts'
import { document } from './schemas.ts'
import type { ConsoleSettings } from './settings.ts'

/** Connections of one session; a browser opens six. Behind a proxy, many sessions come over one. */
const MAX_CONNECTIONS_PER_SESSION = 32
/** A browser opens connections before it needs them. */
const STRANGER_MS = 30_000
const MAX_STRANGER_BYTES = 256 * 1024

export type ConsoleServerOptions = {
  readonly settings: ConsoleSettings
  readonly origins: Origins
  readonly logins: Logins
  readonly identity: ServerIdentity
  readonly limits: Pick<DoorLimits, 'maxStrangersPerAddress'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly addRoutes: (app: FastifyInstance) => void
}
export type ConsoleServer = AsyncDisposable & { readonly port: number; readonly routes: readonly RouteOptions[] }

/** Rejects with MESH_PORT_IN_USE, MESH_PORT_FORBIDDEN or MESH_CONFIG_INVALID. */
export async function startConsoleServer(o: ConsoleServerOptions): Promise<ConsoleServer> {
  let server: ((http.Server | https.Server) & Disposable) | undefined
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: MAX_PATH_CHARS },
    serverFactory: (handler) => (server = createServer(o, handler)),
  })
  const routes = addSteps(app, o, (peer, session) => {
    if (door.proved(peer, session)) return
    throw new MeshError('MESH_CONTROL_SLOW_DOWN', `the session has ${MAX_CONNECTIONS_PER_SESSION} connections already`)
  })
  o.addRoutes(app)
  app.get(
    '/api/v1/openapi.json',
    {
      config: { access: { of: 'anyone' } },
      schema: { summary: 'This document', response: { 200: document, ...ERRORS } },
    },
    async () =>
      describeApi(
        routes.filter(({ url }) => url.startsWith('/api/')),
        { title: 'meshlet hub console', version: '1' },
      ),
  )
  await app.ready()
  const door = await openDoor({
    ...o,
    name: 'console',
    ...describeDoor(o),
    enter: (socket) => server!.emit('connection', socket),
  })
  return {
    port: door.port,
    routes,
    async [Symbol.asyncDispose]() {
      server![Symbol.dispose]()
      await door[Symbol.asyncDispose]()
      await app.close()
      server!.close()
    },
  }
}

/** @returns the routes that are added from now on */
function addSteps(
  app: FastifyInstance,
  o: ConsoleServerOptions,
  proved: (peer: string, session: string) => void,
): RouteOptions[] {
  const { settings, origins, logins, log, metrics } = o
  checkByZod(app)
  app.removeContentTypeParser('text/plain')
  const refused = metrics.counter(
    'mesh_hub_console_refused_total',
    'Requests to the console of the hub that were refused, by code.',
    ['code'],
  )
  addErrors(app, { log, evt: 'hub.console-refused', refused, bodyType: 'application/json' })
  app.setNotFoundHandler(async () => {
    throw new MeshError('MESH_API_NOT_FOUND', 'there is no such path')
  })
  const rate = new RateLimit({ requestsPerMinute: settings.requestsPerMinute, setting: 'console.requestsPerMinute' }, o)
  const isHttps = usesTls(settings) || settings.publicUrl?.startsWith('https:') === true
  addSecurityHeaders(app, { isHttps })
  app.addHook('onRequest', async (request) => {
    rate.take(readAddress(request))
    checkBrowser(request.raw, origins)
  })
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    routes.push(route)
  })
  authorizeRoutes(app, {
    logins,
    proved: ({ raw: { socket } }, { session }) => proved(`${socket.remoteAddress}:${socket.remotePort}`, session.hash),
  })
  addCompression(app)
  return routes
}

function describeDoor({ settings, limits }: ConsoleServerOptions): {
  readonly listen: string
  readonly limits: DoorLimits
} {
  const { listen, maxConnections } = settings
  return {
    listen,
    limits: {
      maxConnections,
      maxConnectionsPerDevice: MAX_CONNECTIONS_PER_SESSION,
      maxStrangers: maxConnections,
      maxStrangersPerAddress: limits.maxStrangersPerAddress,
      strangerMs: STRANGER_MS,
      maxStrangerBytes: MAX_STRANGER_BYTES,
    },
  }
}
