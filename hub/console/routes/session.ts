/** Login by a link, who is logged in, logout; and whose sessions there are. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import { Buckets } from '../../api/limits/buckets.ts'
import { deriveSource } from '../../../core/ip-source.ts'
import type { Session } from '../../registry/console-sessions.ts'
import { formatCookie, readCookie, SESSION_COOKIE } from '../cookies.ts'
import { endSessions } from '../logins.ts'
import * as schemas from '../schemas.ts'
import { ERRORS, noteChange, readAddress, type ConsoleParts } from './parts.ts'

const MINUTE_MS = 60_000
/** Of a session's hash: names it, and opens nothing. */
const ID_CHARS = 16

export type SessionRoutes = ConsoleParts & {
  readonly loginsPerMinute: number
  readonly sessionSec: number
  readonly hasOidc: boolean
}

/** Throws MESH_CONTROL_SLOW_DOWN. */
export type TakeLogin = (address: string) => void

export function limitLogins({ clock, loginsPerMinute }: Pick<SessionRoutes, 'clock' | 'loginsPerMinute'>): TakeLogin {
  const buckets = new Buckets(MINUTE_MS, clock)
  return (address) => {
    if (buckets.take(deriveSource(address), loginsPerMinute)) return
    throw new MeshError(
      'MESH_CONTROL_SLOW_DOWN',
      `more than ${loginsPerMinute} logins a minute from ${address} (console.loginsPerMinute)`,
    )
  }
}

export function addSessionRoutes(app: FastifyInstance, p: SessionRoutes, takeLogin: TakeLogin): void {
  app.get(
    '/api/v1/login',
    {
      config: { access: { of: 'anyone' } },
      schema: { summary: 'How one logs in', response: { 200: schemas.loginWays, ...ERRORS } },
    },
    async () => ({ oidc: p.hasOidc }),
  )
  app.post<{ Body: { token: string } }>(
    '/api/v1/login',
    {
      config: { access: { of: 'anyone' } },
      schema: {
        summary: 'A session for the link of `meshlet-hub login`, which is good for one',
        body: schemas.loginBody,
        response: { 200: schemas.whoami, ...ERRORS },
      },
    },
    async (request, reply) => {
      takeLogin(readAddress(request))
      const before = await p.logins.find(readCookie(request.raw.headers.cookie, SESSION_COOKIE))
      const { secret, session } = await p.logins.byLink(request.body.token, readAddress(request))
      if (before) await p.logins.end(before)
      setSession(reply, secret, p.sessionSec)
      return describeSession(session, p)
    },
  )
  app.post<{ Body: { token: string; verifier?: string } }>(
    '/api/v1/login/cli',
    {
      config: { access: { of: 'anyone' } },
      schema: {
        summary: 'For the same link, or a login at the issuer, a session of a command line: its secret is a bearer',
        body: schemas.cliLoginBody,
        response: { 200: schemas.cliLogin, ...ERRORS },
      },
    },
    async (request): Promise<schemas.CliLogin> => {
      takeLogin(readAddress(request))
      const { token, verifier } = request.body
      const address = readAddress(request)
      const { secret, session } =
        verifier === undefined
          ? await p.logins.byLink(token, address, 'cli')
          : await p.logins.byCode({ code: token, verifier }, address)
      return { secret, session: describeSession(session, p) }
    },
  )
  addOwnSession(app, p)
  addSessionList(app, p)
}

function addOwnSession(app: FastifyInstance, p: SessionRoutes): void {
  app.get(
    '/api/v1/session',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: { summary: 'Who is logged in', response: { 200: schemas.whoami, ...ERRORS } },
    },
    async (request) => describeSession(request.operator!.session, p),
  )
  app.delete(
    '/api/v1/session',
    {
      config: { access: { of: 'anyone' } },
      schema: { summary: 'Logs out', response: { 200: schemas.done, ...ERRORS } },
    },
    async (request, reply) => {
      if (request.operator) await p.logins.end(request.operator.session)
      reply.header('clear-site-data', '"cache", "cookies", "storage"')
      reply.header('set-cookie', formatCookie(SESSION_COOKIE, '', { sameSite: 'Strict', maxAgeSec: 0 }))
      return { detail: 'logged out' }
    },
  )
}

export function setSession(reply: FastifyReply, secret: string, maxAgeSec: number): void {
  reply.header('set-cookie', formatCookie(SESSION_COOKIE, secret, { sameSite: 'Strict', maxAgeSec }))
}

export const describeSession = (
  { name, operator, via, grants, endsMs }: Session,
  { hub }: Pick<ConsoleParts, 'hub'>,
): schemas.Whoami => ({ name, operator, via, grants, endsMs, version: hub.version })

function describeItem(s: Session, own: string): schemas.SessionItem {
  const { hash, ...shown } = s
  return { id: hash.slice(0, ID_CHARS), ...shown, own: hash === own }
}

function addSessionList(app: FastifyInstance, p: SessionRoutes): void {
  const { sessions } = p.registry
  app.get(
    '/api/v1/sessions',
    {
      config: { access: { of: 'all', role: 'admin' } },
      schema: { summary: 'Who is logged in anywhere', response: { 200: schemas.sessionList, ...ERRORS } },
    },
    async (request): Promise<schemas.SessionList> => {
      const nowMs = p.clock.wallMs()
      const own = request.operator!.session.hash
      const live = (await sessions.all()).filter((s) => !p.logins.isOver(s, nowMs))
      return { sessions: live.map((one) => describeItem(one, own)) }
    },
  )
  app.delete<{ Params: { id: string } }>(
    '/api/v1/sessions/:id',
    {
      config: { access: { of: 'all', role: 'admin' } },
      schema: { summary: 'Ends a session', params: schemas.identified, response: { 200: schemas.done, ...ERRORS } },
    },
    async (request) => {
      const found = (await sessions.all()).find(({ hash }) => hash.slice(0, ID_CHARS) === request.params.id)
      if (!found) throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'there is no such session')
      await p.registry.exclusively(async (tx) => {
        await tx.sessions.end(found.hash)
        const detail = found.operator
        await noteChange(p, request, { tx, event: 'console.ended', subject: found.name, detail, namespace: '' })
      })
      return { detail: `the session of ${found.name} is over` }
    },
  )
  app.post<{ Body: { operator: string } }>(
    '/api/v1/sessions/end',
    {
      config: { access: { of: 'all', role: 'admin' } },
      schema: {
        summary: 'Ends all sessions of somebody, and their links that are not used',
        body: schemas.endBody,
        response: { 200: schemas.ended, ...ERRORS },
      },
    },
    async (request) => {
      const { operator } = request.body
      return p.registry.exclusively(async (tx) => {
        const ended = await endSessions(tx.sessions, operator)
        const detail = `${ended} session(s) and links`
        await noteChange(p, request, { tx, event: 'console.ended', subject: operator, detail, namespace: '' })
        return { ended }
      })
    },
  )
}
