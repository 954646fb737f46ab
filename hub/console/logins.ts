/** Logins and sessions of the console. Whoever has a secret is who it was given to; the registry has its hash. */
import { createHash, randomBytes } from 'node:crypto'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { ConsoleSessions, Grant, Session } from '../registry/console-sessions.ts'
import { describeGrants } from './access.ts'
import type { AuditLog } from '../registry/audit.ts'

const SECRET_BYTES = 32
const SECRET = /^[\w-]{43}$/
/** A page that is open asks all the time; not each of that is worth a write. */
const SEEN_STEP_MS = 60_000
/** From the browser to the command line that waits: somebody reads a page before. */
const CODE_MS = 300_000
const MAX_CODE_CHARS = 8_000

export type LoginsOptions = {
  readonly sessions: ConsoleSessions
  readonly audit: AuditLog
  readonly clock: Clock
  readonly idleMs: number
  readonly sessionMs: number
  /** Of a command line, used or not. */
  readonly cliSessionMs: number
  /** What an issuer's claims give now; undefined: there is no issuer. */
  readonly toGrants: ((claims: readonly string[]) => readonly Grant[]) | undefined
}
export type NewSession = { readonly secret: string; readonly session: Session }
export type Newcomer = Pick<Session, 'operator' | 'name' | 'via' | 'grants' | 'claims' | 'address'>

/** What shows the secret: a browser its cookie, a command line the header `Authorization`. */
export type Shown = 'cookie' | 'bearer'

/** Of what was shown in one way, and never in the other: a stolen bearer is no cookie, and no cookie is a bearer. */
export function hashSecret(secret: string, shown: Shown = 'cookie'): string {
  return createHash('sha256')
    .update(shown === 'bearer' ? `bearer ${secret}` : secret)
    .digest('hex')
}

function hashCode(code: string, challenge: string): string {
  return createHash('sha256').update(`code ${challenge} ${code}`).digest('hex')
}

/** A link for one login, as `meshlet-hub login` prints it. @returns the secret */
export async function addLoginLink(
  sessions: ConsoleSessions,
  p: { readonly operator: string; readonly grants: readonly Grant[]; readonly ttlMs: number; readonly nowMs: number },
): Promise<string> {
  const secret = randomBytes(SECRET_BYTES).toString('base64url')
  const { operator, grants, nowMs } = p
  await sessions.addLink({ hash: hashSecret(secret), operator, grants, endsMs: nowMs + p.ttlMs }, nowMs)
  return secret
}

/** @returns how many, links that are not used among them. Rejects with MESH_CONFIG_INVALID when they have none. */
export async function endSessions(sessions: ConsoleSessions, operator: string): Promise<number> {
  const ended = await sessions.endOf(operator)
  if (ended > 0) return ended
  throw new MeshError(
    'MESH_CONFIG_INVALID',
    `${JSON.stringify(operator)} has no session; meshlet-hub sessions shows who has (e.g. operator:root)`,
  )
}

export class Logins {
  readonly #o: LoginsOptions
  constructor(options: LoginsOptions) {
    this.#o = options
  }

  /** @returns the secret of the session. Throws MESH_CONSOLE_LOGIN: used, ended, or never made. */
  async byLink(secret: string, address: string, via: 'link' | 'cli' = 'link'): Promise<NewSession> {
    const { sessions, clock } = this.#o
    const link = SECRET.test(secret) ? await sessions.takeLink(hashSecret(secret), clock.wallMs()) : undefined
    if (!link) throw new MeshError('MESH_CONSOLE_LOGIN', 'the link is used already, too old, or not one of this hub')
    const { operator, grants } = link
    return this.begin({ operator, name: operator.replace(/^operator:/, ''), via, grants, claims: [], address })
  }

  /**
   * For a command line whose user has proved who they are in a browser: good for one session within five minutes, for
   * whoever has what the challenge was made of. Throws MESH_CONSOLE_OIDC.
   */
  async offerCli({ operator, name, grants, claims }: Omit<Newcomer, 'via'>, challenge: string): Promise<string> {
    const { sessions, clock } = this.#o
    const said = Buffer.from(JSON.stringify({ name, claims })).toString('base64url')
    const code = `${randomBytes(SECRET_BYTES).toString('base64url')}.${said}`
    if (code.length > MAX_CODE_CHARS)
      throw new MeshError('MESH_CONSOLE_OIDC', 'the issuer gives more than a command line can be told')
    const nowMs = clock.wallMs()
    await sessions.addLink({ hash: hashCode(code, challenge), operator, grants, endsMs: nowMs + CODE_MS }, nowMs)
    return code
  }
  /** Throws MESH_CONSOLE_LOGIN: used, ended, never made, or made for another verifier. */
  async byCode(p: { readonly code: string; readonly verifier: string }, address: string): Promise<NewSession> {
    const { sessions, clock } = this.#o
    const challenge = createHash('sha256').update(p.verifier).digest('base64url')
    const link = await sessions.takeLink(hashCode(p.code, challenge), clock.wallMs())
    if (!link) throw new MeshError('MESH_CONSOLE_LOGIN', 'the login is used already, too old, or not one of this hub')
    // As it was given out: what is changed has another hash.
    const { name, claims } = JSON.parse(Buffer.from(p.code.split('.')[1]!, 'base64url').toString()) as Newcomer
    return this.begin({ operator: link.operator, name, via: 'cli', grants: link.grants, claims, address })
  }

  /** A session for somebody who has proved who they are. */
  async begin(p: Newcomer): Promise<NewSession> {
    const { sessions, clock, audit } = this.#o
    const [shown, lifeMs]: [Shown, number] =
      p.via === 'cli' ? ['bearer', this.#o.cliSessionMs] : ['cookie', this.#o.sessionMs]
    const nowMs = clock.wallMs()
    const secret = randomBytes(SECRET_BYTES).toString('base64url')
    const hash = hashSecret(secret, shown)
    const session = { ...p, hash, createdMs: nowMs, seenMs: nowMs, endsMs: nowMs + lifeMs }
    if (p.claims.length > 0) await sessions.endOthers(p.operator, p.grants)
    await sessions.add(session)
    await audit.add({
      atMs: nowMs,
      actor: p.operator,
      event: 'console.login',
      subject: p.name,
      address: p.address,
      detail: `${describeGrants(p.grants)}; by ${p.via}${p.via === 'cli' && p.claims.length > 0 ? ', oidc' : ''}`,
    })
    return { secret, session }
  }

  /** The session of a secret; undefined: there is none, or it is over. */
  async find(secret: string | undefined, shown: Shown = 'cookie'): Promise<Session | undefined> {
    const { sessions, clock } = this.#o
    if (secret === undefined || !SECRET.test(secret)) return undefined
    const session = await sessions.find(hashSecret(secret, shown))
    if (!session) return undefined
    const nowMs = clock.wallMs()
    if (this.isOver(session, nowMs)) {
      await sessions.end(session.hash)
      return undefined
    }
    if (nowMs - session.seenMs >= SEEN_STEP_MS) await sessions.seen(session.hash, nowMs)
    return session
  }

  /** Whether a stream that began with the session may go on. Does not count as use. */
  async isLive({ hash }: Session): Promise<boolean> {
    const session = await this.#o.sessions.find(hash)
    return session !== undefined && !this.isOver(session, this.#o.clock.wallMs())
  }

  async end(session: Session): Promise<void> {
    await this.#o.sessions.end(session.hash)
  }

  /** Also when hub.yaml gives the claims another role than they had. */
  isOver(s: Session, nowMs: number): boolean {
    const { idleMs, toGrants } = this.#o
    if (nowMs >= s.endsMs || nowMs < s.createdMs - SEEN_STEP_MS) return true
    // A command line asks when somebody types, and has nobody to keep it alive between.
    if (s.via !== 'cli' && nowMs - s.seenMs >= idleMs) return true
    return s.claims.length > 0 && JSON.stringify(toGrants?.(s.claims)) !== JSON.stringify(s.grants)
  }
}
