/**
 * Who may use the console: links that log in once, and sessions. Both are known by the SHA-256 of a random secret that
 * stands nowhere here: whoever reads the registry cannot log in by it.
 */
import type { Sql } from './sql.ts'

export type Role = 'viewer' | 'operator' | 'admin'
/** `namespace` `*`: of every namespace, and of what belongs to none. */
export type Grant = { readonly namespace: string; readonly role: Role }
/** What they logged in by; `cli`: by a link, for the command line of another machine. */
export type Via = 'link' | 'oidc' | 'cli'
export type LoginLink = {
  readonly hash: string
  readonly operator: string
  readonly grants: readonly Grant[]
  readonly endsMs: number
}
export type Session = {
  readonly hash: string
  /** `operator:NAME` of a link, `oidc:SUBJECT` of an issuer: the actor of the audit log. */
  readonly operator: string
  /** As it is shown. */
  readonly name: string
  readonly via: Via
  readonly grants: readonly Grant[]
  /** What the issuer said, of which `grants` were made. */
  readonly claims: readonly string[]
  readonly createdMs: number
  readonly seenMs: number
  readonly endsMs: number
  readonly address: string
}

/** Operators are few; who logs in over and over must not fill the disk. */
const MAX_SESSIONS = 1_000
const MAX_LINKS = 1_000

type Stored<T> = { [K in keyof T]: T[K] extends readonly unknown[] ? string : T[K] }
const COLUMNS = `hash, operator, name, via, grants, claims, created_ms AS "createdMs", seen_ms AS "seenMs", ends_ms AS "endsMs", address`

export class ConsoleSessions {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async addLink(l: LoginLink, nowMs: number): Promise<void> {
    await this.#sql.run('DELETE FROM console_links WHERE ends_ms <= ?', nowMs)
    await this.#sql.run(
      'INSERT INTO console_links (hash, operator, grants, ends_ms) VALUES (?, ?, ?, ?)',
      l.hash,
      l.operator,
      JSON.stringify(l.grants),
      l.endsMs,
    )
    await this.#sql.run(
      'DELETE FROM console_links WHERE hash NOT IN (SELECT hash FROM console_links ORDER BY ends_ms DESC LIMIT ?)',
      MAX_LINKS,
    )
  }
  /** Whoever takes it first has it; a second one finds nothing. */
  async takeLink(hash: string, nowMs: number): Promise<LoginLink | undefined> {
    const [found] = await this.#sql.all<Stored<LoginLink>>(
      'SELECT hash, operator, grants, ends_ms AS "endsMs" FROM console_links WHERE hash = ? AND ends_ms > ?',
      hash,
      nowMs,
    )
    const taken = await this.#sql.run('DELETE FROM console_links WHERE hash = ?', hash)
    return found && taken === 1 ? { ...found, grants: JSON.parse(found.grants) as Grant[] } : undefined
  }

  async add(s: Session): Promise<void> {
    await this.#sql.run('DELETE FROM console_sessions WHERE ends_ms <= ?', s.createdMs)
    await this.#sql.run(
      'INSERT INTO console_sessions (hash, operator, name, via, grants, claims, created_ms, seen_ms, ends_ms, address) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      s.hash,
      s.operator,
      s.name,
      s.via,
      JSON.stringify(s.grants),
      JSON.stringify(s.claims),
      s.createdMs,
      s.seenMs,
      s.endsMs,
      s.address,
    )
    await this.#sql.run(
      'DELETE FROM console_sessions WHERE hash NOT IN (SELECT hash FROM console_sessions ORDER BY seen_ms DESC LIMIT ?)',
      MAX_SESSIONS,
    )
  }
  async find(hash: string): Promise<Session | undefined> {
    return (await this.#sql.all<Stored<Session>>(`SELECT ${COLUMNS} FROM console_sessions WHERE hash = ?`, hash)).map(
      read,
    )[0]
  }
  /** Newest first. */
  async all(): Promise<readonly Session[]> {
    return (
      await this.#sql.all<Stored<Session>>(`SELECT ${COLUMNS} FROM console_sessions ORDER BY created_ms DESC, hash`)
    ).map(read)
  }
  async seen(hash: string, nowMs: number): Promise<void> {
    await this.#sql.run('UPDATE console_sessions SET seen_ms = ? WHERE hash = ?', nowMs, hash)
  }
  /** @returns how many there were */
  async end(hash: string): Promise<number> {
    return this.#sql.run('DELETE FROM console_sessions WHERE hash = ?', hash)
  }
  /** @returns how many there were, links that are not used among them */
  async endOf(operator: string): Promise<number> {
    return (
      (await this.#sql.run('DELETE FROM console_sessions WHERE operator = ?', operator)) +
      (await this.#sql.run('DELETE FROM console_links WHERE operator = ?', operator))
    )
  }
  /** Everybody logs in anew, and no link that was given out is good. */
  async endAll(): Promise<void> {
    await this.#sql.run('DELETE FROM console_sessions')
    await this.#sql.run('DELETE FROM console_links')
  }
  /** What somebody may has changed: sessions with other rights than these are over. */
  async endOthers(operator: string, grants: readonly Grant[]): Promise<void> {
    await this.#sql.run(
      'DELETE FROM console_sessions WHERE operator = ? AND grants <> ?',
      operator,
      JSON.stringify(grants),
    )
  }
}

const read = (row: Stored<Session>): Session => ({
  ...row,
  grants: JSON.parse(row.grants) as Grant[],
  claims: JSON.parse(row.claims) as string[],
})
