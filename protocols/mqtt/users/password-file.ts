/**
 * Reads a password file in mosquitto's format: one `name:hash` per line, `#` begins a comment. A wrong line keeps out
 * only its own user. It is reported by its number, never by its text, which may be a password.
 */
import { walkLines } from '../../../core/os/files/lines.ts'
import type { TimeSlice } from '../../../core/os/time-slice.ts'
import { type PasswordHash, parseHash } from './password-hash.ts'
import { findUserNameProblem } from './user-name.ts'

export type PasswordFile = {
  readonly users: ReadonlyMap<string, PasswordHash>
  /** One for each line that is not used. */
  readonly problems: readonly string[]
}

export const MAX_FILE_BYTES = 8 * 1024 * 1024
const MAX_USERS = 100_000

/** Sixty thousand lines take a quarter of a second. */
export async function parsePasswordFile(text: string, slice: TimeSlice): Promise<PasswordFile> {
  const users = new Map<string, PasswordHash>()
  const problems: string[] = []
  const twice = new Set<string>()
  await walkLines(text, slice, (line, number) => {
    const read = parseLine(line)
    if (read === undefined) return
    const no = (problem: string): void => {
      problems.push(`line ${number} is ${problem}`)
    }
    if (typeof read === 'string') no(read)
    else if (users.has(read.name)) {
      twice.add(read.name)
      no('of a user who has a line already: neither is used')
    } else if (users.size >= MAX_USERS) no(`one more than ${MAX_USERS} users`)
    else users.set(read.name, read.hash)
  })
  // Which of the two was meant cannot be told, and the other may be the one that was to be revoked.
  for (const name of twice) users.delete(name)
  return { users, problems }
}

/** Undefined: a comment, or nothing. */
export function parseLine(line: string): { readonly name: string; readonly hash: PasswordHash } | string | undefined {
  const text = line.replace(/\r$/, '')
  if (text.trim() === '' || text.startsWith('#')) return undefined
  const at = text.indexOf(':')
  if (at < 0) return 'not of the form `name:hash`'
  const name = text.slice(0, at).trim()
  const problem = findUserNameProblem(name)
  if (problem !== undefined) return `of a user name that ${problem}`
  const hash = parseHash(text.slice(at + 1).trim())
  return typeof hash === 'string' ? hash : { name, hash }
}
