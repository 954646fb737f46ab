/**
 * The one place that says who may ask what: each route names what it needs (access.ts), and a route that names nothing
 * does not come into being.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../../core/errors.ts'
import { Operator, type Access } from './access.ts'
import type { Session } from '../registry/console-sessions.ts'
import { readBearer } from './browser-checks.ts'
import { readCookie, SESSION_COOKIE } from './cookies.ts'
import type { Logins } from './logins.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Of the console: who may. */
    readonly access?: Access
  }
  interface FastifyRequest {
    /** Who asks; undefined: nobody in particular, where that is enough. */
    operator: Operator | undefined
  }
}

export type AuthorizeOptions = {
  readonly logins: Logins
  /** The connection is an operator's. Throws MESH_CONTROL_SLOW_DOWN when they have too many. */
  readonly proved: (request: FastifyRequest, operator: Operator) => void
}

/** To be called before any route is added. */
export function authorizeRoutes(app: FastifyInstance, { logins, proved }: AuthorizeOptions): void {
  app.decorateRequest('operator', undefined)
  app.addHook('onRoute', ({ config, method, url }) => {
    if (!config?.access) throw new Error(`${String(method)} ${url} does not say who may ask it (config.access)`)
  })
  app.addHook('onRequest', async (request) => {
    if (request.is404) return
    const access = request.routeOptions.config.access!
    const session = await findSession(request.raw.headers, logins)
    if (session) {
      request.operator = new Operator(session)
      proved(request, request.operator)
    }
    if (access.of === 'anyone') return
    if (!request.operator) throw new MeshError('MESH_CONSOLE_LOGIN', 'nobody is logged in, or the session is over')
    checkRole(request.operator, access)
  })
  // What a request names is known when its parameters and body are checked.
  app.addHook('preHandler', async (request) => {
    const access = request.is404 ? undefined : request.routeOptions.config.access
    if (access?.of !== 'named') return
    checkNamespaces(request, access, await access.find(request))
  })
}

/** A command line shows a bearer; a cookie that comes beside it counts for nothing. */
async function findSession(headers: IncomingHttpHeaders, logins: Logins): Promise<Session | undefined> {
  const bearer = readBearer(headers)
  return bearer === undefined ? logins.find(readCookie(headers.cookie, SESSION_COOKIE)) : logins.find(bearer, 'bearer')
}

function checkRole(operator: Operator, access: Exclude<Access, { of: 'anyone' }>): void {
  const { role, of } = access
  if (of === 'all' ? operator.may(role, '*') : operator.mayAnywhere(role)) return
  throw new MeshError(
    'MESH_CONSOLE_FORBIDDEN',
    `that needs the role ${role} ${of === 'all' ? 'in all namespaces' : 'in a namespace'}`,
  )
}

/** Who may not see it learns no more than who asks for what is not there. */
export function checkNamespaces(
  { operator, method }: Pick<FastifyRequest, 'operator' | 'method'>,
  { role }: Pick<Extract<Access, { of: 'named' }>, 'role'>,
  namespaces: readonly string[],
): void {
  if (!namespaces.some((one) => operator!.sees(one)))
    throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'there is nothing of this name, or it is not for you to see')
  const isRead = method === 'GET'
  const missing = namespaces.filter((one) => !operator!.may(role, one))
  if (isRead ? missing.length < namespaces.length : missing.length === 0) return
  throw new MeshError(
    'MESH_CONSOLE_FORBIDDEN',
    `that needs the role ${role} in ${missing.filter((one) => operator!.sees(one)).join(', ') || 'another namespace'}`,
  )
}
