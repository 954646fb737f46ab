/**
 * Login at an issuer. What belongs to a login that is under way goes with the browser, sealed: nobody fills the hub by
 * beginning logins, and any replica may finish one. Where the browser goes afterwards is fixed: to the console, or to
 * the port of its own machine where `meshlet-hub login --oidc` waits (RFC 8252 §7.3), if who logs in confirms it.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Sealer } from '../../../core/pki/sealing.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import { formatCookie, LOGIN_COOKIE, readCookie, SESSION_COOKIE } from '../cookies.ts'
import type { Logins } from '../logins.ts'
import { readAddress } from '../routes/parts.ts'
import { setSession, type TakeLogin } from '../routes/session.ts'
import { oidcQuery, type OidcQuery } from '../schemas.ts'
import type { OidcSettings } from '../settings.ts'
import { formatConsentPage } from './consent.ts'
import { describePerson, type Person } from './grants.ts'
import { isSame, type Flow, type Provider } from './provider.ts'

const BEGIN = '/login/oidc'
const CALLBACK = '/login/oidc/callback'
const FLOW_MS = 600_000
const PURPOSE = 'console login'

export type OidcRoutes = {
  readonly settings: OidcSettings
  readonly provider: Provider
  readonly logins: Logins
  readonly sealer: Sealer
  readonly sessionSec: number
  /** Of the console, as browsers reach it; undefined: as the browser says, whose Host was checked. */
  readonly publicOrigin: string | undefined
  readonly isHttps: boolean
  readonly takeLogin: TakeLogin
  readonly clock: Clock
  readonly log: Log
}
/** A command line that waits for the browser on this port of its machine, and holds what the challenge was made of. */
type WaitingCli = { readonly port: number; readonly challenge: string }
type StoredFlow = Flow & { readonly endsMs: number; readonly cli: WaitingCli | undefined }

export function addOidcRoutes(app: FastifyInstance, p: OidcRoutes): void {
  const config = { access: { of: 'anyone' } } as const
  const schema = { summary: 'Leads to the issuer', querystring: oidcQuery }
  app.get<{ Querystring: OidcQuery }>(BEGIN, { config, schema }, async (request, reply) => {
    p.takeLogin(readAddress(request))
    const { port, challenge } = request.query
    const cli = port === undefined || challenge === undefined ? undefined : { port, challenge }
    const origin = p.publicOrigin ?? `${p.isHttps ? 'https' : 'http'}://${request.headers.host}`
    const secret = () => randomBytes(32).toString('base64url')
    const flow = { state: secret(), nonce: secret(), verifier: secret(), redirectUri: origin + CALLBACK }
    const url = await p.provider.authorizeUrl(flow)
    const sealed = p.sealer.seal(
      Buffer.from(JSON.stringify({ ...flow, cli, endsMs: p.clock.wallMs() + FLOW_MS })),
      PURPOSE,
    )
    putLogin(reply, sealed.toString('base64url'))
    return reply.redirect(url, 302)
  })
  app.get<{ Querystring: Readonly<Record<string, unknown>> }>(
    CALLBACK,
    { config, schema: { summary: 'Where the issuer leads back to' } },
    async (request, reply) => {
      putLogin(reply, '')
      let cli: WaitingCli | undefined
      try {
        p.takeLogin(readAddress(request))
        const { cookie } = request.headers
        const flow = openFlow(p, readCookie(cookie, LOGIN_COOKIE))
        cli = flow.cli
        const newcomer = { ...(await identify(p, request.query, flow)), address: readAddress(request) }
        if (cli) {
          const code = await p.logins.offerCli(newcomer, cli.challenge)
          const [confirm, refuse] = [formatLoopback(cli, { code }), formatLoopback(cli, { refused: 'by the browser' })]
          const page = formatConsentPage({ ...newcomer, challenge: cli.challenge, confirm, refuse })
          return await reply.type('text/html; charset=utf-8').send(page)
        }
        const before = await p.logins.find(readCookie(cookie, SESSION_COOKIE))
        const { secret } = await p.logins.begin({ ...newcomer, via: 'oidc' })
        if (before) await p.logins.end(before)
        setSession(reply, secret, p.sessionSec)
        return await reply.redirect('/', 303)
      } catch (thrown) {
        const err = toMeshError(thrown)
        p.log.warn({ evt: 'hub.console-oidc', ip: readAddress(request), err }, 'a login at the issuer failed')
        return reply.redirect(cli ? formatLoopback(cli, { refused: err.code }) : `/login?refused=${err.code}`, 303)
      }
    },
  )
}

function putLogin(reply: FastifyReply, value: string): void {
  // The issuer leads back from another site: a strict cookie would stay at home.
  reply.header('set-cookie', formatCookie(LOGIN_COOKIE, value, { sameSite: 'Lax', maxAgeSec: FLOW_MS / 1_000 }))
}

/** RFC 8252 §7.3: by address, for a name may lead elsewhere; the path is known to who waits and to this browser. */
function formatLoopback({ port, challenge }: WaitingCli, query: Readonly<Record<string, string>>): string {
  return `http://127.0.0.1:${port}/${challenge}?${new URLSearchParams(query).toString()}`
}

async function identify(p: OidcRoutes, query: Readonly<Record<string, unknown>>, flow: StoredFlow): Promise<Person> {
  const { code, state, error, iss } = query
  if (!isSame(state, flow.state)) throw new MeshError('MESH_CONSOLE_OIDC', 'the answer is of another login (state)')
  // RFC 9207 §2.4: of another issuer, which somebody mixed in.
  if (iss !== undefined && iss !== p.settings.issuer)
    throw new MeshError('MESH_CONSOLE_OIDC', 'the answer is of another issuer (iss)')
  if (typeof code !== 'string' || code.length > 4_096)
    throw new MeshError('MESH_CONSOLE_OIDC', `the issuer gave no code${describeRefusal(error)}`)
  const claims = await p.provider.redeem(code, flow)
  return describePerson(claims, p.settings)
}

/** Throws MESH_CONSOLE_OIDC: none is under way in this browser. */
function openFlow({ sealer, clock }: OidcRoutes, cookie: string | undefined): StoredFlow {
  try {
    const flow = JSON.parse(sealer.open(Buffer.from(cookie ?? '', 'base64url'), PURPOSE).toString()) as StoredFlow
    if (clock.wallMs() < flow.endsMs) return flow
  } catch {
    /* told below */
  }
  throw new MeshError('MESH_CONSOLE_OIDC', 'no login is under way in this browser, or it took too long')
}

const describeRefusal = (error: unknown): string =>
  typeof error === 'string' && /^[\w.-]{1,64}$/.test(error) ? `: ${error}` : ''
