/**
 * The hub's HTTPS API. Routes stand by subject in routes/; what concerns all of them stands here: TLS with the hub's own
 * certificate, limits of size, time and rate, and errors as catalogue codes.
 */
import http, { type RequestListener } from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { fastify, type FastifyInstance, type RouteOptions } from 'fastify'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import type { Family, Metrics } from '../../../core/metrics.ts'
import { openDoor, type DoorLimits } from '../door.ts'
import type { ServerIdentity } from '../server-identity.ts'
import { toPlainAddress } from '../source-address.ts'
import { addErrors, checkByZod, MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_PATH_CHARS } from './app.ts'
import { describeApi } from './openapi.ts'
import { RateLimit, type RateLimits } from './rate-limit.ts'

export type ApiOptions = {
  readonly settings: Pick<RateLimits, 'requestsPerMinute'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly addRoutes: (app: FastifyInstance) => void
}
/** What answers requests, at whatever port they come in. */
export type Api = AsyncDisposable & { readonly handle: RequestListener }

export async function createApi(o: ApiOptions): Promise<Api> {
  const { settings, log, metrics } = o
  let handle: RequestListener | undefined
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: MAX_PATH_CHARS },
    serverFactory: (handler) => {
      handle = guard(
        'hub',
        (_error, request) => {
          request.socket.destroy()
        },
        (request, response) => handler(request, response),
      )
      // Ports are opened elsewhere.
      return http.createServer()
    },
  })
  checkByZod(app)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/jose', { parseAs: 'string' }, async (_request: unknown, body: string) => body)
  app.setNotFoundHandler(async () => {
    throw new MeshError('MESH_API_NOT_FOUND', 'there is no such path; /v1/openapi.json lists them')
  })
  addErrors(app, { log, evt: 'hub.api-refused', refused: countRefused(metrics), bodyType: 'application/jose' })
  const rate = new RateLimit({ ...settings, setting: 'api.requestsPerMinute' }, o)
  app.addHook('onRequest', async ({ raw }, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    rate.take(toPlainAddress(raw.socket.remoteAddress ?? ''))
  })
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    routes.push(route)
  })
  o.addRoutes(app)
  app.get('/v1/openapi.json', { schema: { summary: 'This document' } }, async () =>
    describeApi(routes, { title: 'meshlet hub', version: '1' }),
  )
  await app.ready()
  return {
    handle: (request, response) => handle!(request, response),
    [Symbol.asyncDispose]: async () => app.close(),
  }
}

export type ApiPortOptions = Omit<ApiOptions, 'addRoutes' | 'settings'> & {
  readonly api: Pick<Api, 'handle'>
  readonly settings: { readonly listen: string; readonly maxConnections: number; readonly requestMs: number }
  /** Of connections. */
  readonly limits: Pick<DoorLimits, 'maxStrangersPerAddress' | 'maxStrangerBytes'>
  readonly identity: ServerIdentity
}
export type ApiPort = AsyncDisposable & { readonly port: number }

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function openApiPort(o: ApiPortOptions): Promise<ApiPort> {
  const { identity, api } = o
  const server = createServer(identity, api.handle)
  const door = await openDoor({
    ...o,
    name: 'api',
    ...describeDoor(o),
    enter: (socket) => server.emit('connection', socket),
  })
  const renewed = identity.onRenewed(() => server.setSecureContext(createContext(identity)))
  return {
    port: door.port,
    async [Symbol.asyncDispose]() {
      renewed[Symbol.dispose]()
      await door[Symbol.asyncDispose]()
    },
  }
}

/**
 * Nobody is more than a stranger here: a connection is for one request, whose proof says nothing before it is whole, and
 * `requestMs` is all the time that it has.
 */
function describeDoor({ settings, limits }: ApiPortOptions): { readonly listen: string; readonly limits: DoorLimits } {
  const { listen, maxConnections, requestMs } = settings
  const { maxStrangersPerAddress, maxStrangerBytes } = limits
  return {
    listen,
    limits: {
      maxConnections,
      maxConnectionsPerDevice: maxConnections,
      maxStrangers: maxConnections,
      maxStrangersPerAddress,
      strangerMs: requestMs,
      maxStrangerBytes,
    },
  }
}

/** Does not listen: the door lets connections in. */
function createServer(identity: ServerIdentity, handle: RequestListener): https.Server {
  const server = https.createServer({ ...createContext(identity), maxHeaderSize: MAX_HEADER_BYTES }, handle)
  server.maxRequestsPerSocket = 1
  server.on(
    'tlsClientError',
    guard('hub', doNothing, (_err: Error, socket: Socket) => {
      socket.destroy()
    }),
  )
  return server
}

function createContext({ current: { chainPem: cert, keyPem: key } }: ServerIdentity) {
  // The exporter that proofs are bound to is safe from 1.3 on (RFC 9266 §4.2).
  return { cert, key, minVersion: 'TLSv1.3' } as const
}

function countRefused(metrics: Metrics): Family<'code'> {
  return metrics.counter('mesh_hub_api_refused_total', 'Requests to the API of the hub that were refused, by code.', [
    'code',
  ])
}
