/** `meshlet mqtt passwd`: users of a password file, with the option letters of mosquitto_passwd where they are safe. */
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import { systemDisk, type Disk, type FileOwner } from '../../../core/os/disk.ts'
import { toPrintable } from '../../../core/printable.ts'
import { formatHash, hashPassword, type HashKind } from '../../../protocols/mqtt/users/password-hash.ts'
import { findUserNameProblem } from '../../../protocols/mqtt/users/user-name.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import type { Io } from '../io.ts'

export type PasswdOptions = {
  readonly create?: boolean
  readonly delete?: boolean
  readonly update?: boolean
  readonly batch?: boolean
  readonly hash: HashKind
}
type Target = { readonly file: string; readonly user: string | undefined }

/** mosquitto takes no other salt than 12 (or, since 2.1, 64) bytes in its own hashes. */
const SALT_BYTES: Readonly<Record<HashKind, number>> = {
  argon2id: 16,
  scrypt: 16,
  'sha512-pbkdf2': 12,
  'scram-sha-256': 16,
}
const MAX_PASSWORD_BYTES = 65_535

/** Rejects with MESH_CONFIG_INVALID for wrong usage, MESH_MQTT_USERS_FILE for a file that cannot be used. */
export async function changePasswordFile(
  { file, user }: Target,
  o: PasswdOptions,
  io: Io,
  disk: Disk = systemDisk,
): Promise<ExitCode> {
  if (o.batch)
    throw wrong(
      '-b is not taken: everybody on this machine sees the arguments of a command. Write the password to standard input',
    )
  const before = disk.stat(file)
  if (o.create && before) throw wrong(`-c makes a new file, and ${file} is there; without -c the user is added to it`)
  if (!o.create && !before) throw wrong(`there is no file ${file}; -c makes it`)
  const lines = before ? readLines(file, disk) : []
  const changed = o.update ? await hashed(lines, o.hash) : await withUser(lines, nameOf(user), o, io)
  if (disk.stat(file)?.stamp !== before?.stamp) throw unusable(`${file} was changed meanwhile; nothing was written`)
  write(file, changed, before?.owner, disk)
  return 0
}

async function withUser(lines: readonly string[], name: string, o: PasswdOptions, io: Io): Promise<readonly string[]> {
  const others = lines.filter((line) => nameIn(line) !== name)
  if (o.delete) {
    if (others.length === lines.length) throw wrong(`there is no user ${toPrintable(name)}`)
    return others
  }
  const line = `${name}:${await hashOf(await readPassword(io), o.hash)}`
  const at = lines.findIndex((one) => nameIn(one) === name)
  return at < 0 ? [...lines, line] : [...lines.slice(0, at), line, ...others.slice(at)]
}

/** Lines in plain text, as mosquitto_passwd -U; the others stay as they are. */
function hashed(lines: readonly string[], kind: HashKind): Promise<readonly string[]> {
  return Promise.all(
    lines.map(async (line) => {
      const name = nameIn(line)
      const password = name === undefined ? '' : line.slice(line.indexOf(':') + 1)
      if (name === undefined || password === '' || password.trimStart().startsWith('$')) return line
      return `${name}:${await hashOf(Buffer.from(password), kind)}`
    }),
  )
}

async function hashOf(password: Buffer, kind: HashKind): Promise<string> {
  return formatHash(await hashPassword(kind, password, randomBytes(SALT_BYTES[kind])))
}

/** On a terminal it is asked for twice and not shown; else it is the first line of standard input. */
async function readPassword(io: Io): Promise<Buffer> {
  const password = io.askSecret ? await askTwice(io.askSecret) : firstLine(await io.standardInput())
  if (password.length === 0) throw wrong('the password is empty')
  if (password.length > MAX_PASSWORD_BYTES) throw wrong(`the password is longer than ${MAX_PASSWORD_BYTES} bytes`)
  return password
}
async function askTwice(ask: NonNullable<Io['askSecret']>): Promise<Buffer> {
  const [first, again] = [await ask('Password: '), await ask('Password again: ')]
  if (first !== again) throw wrong('the two passwords are not the same')
  return Buffer.from(first)
}
function firstLine(input: Buffer): Buffer {
  const end = input.indexOf('\n')
  const line = end < 0 ? input : input.subarray(0, end)
  return line.at(-1) === 0x0d ? line.subarray(0, -1) : line
}

function readLines(file: string, disk: Disk): string[] {
  const content = disk.read(file)
  if (!content) throw unusable(`${file} cannot be read`)
  const text = content.toString('utf8')
  if (!Buffer.from(text).equals(content)) throw unusable(`${file} is no UTF-8`)
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''))
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** For meshlet's user to read although root has written it: whoever had the file, or has its folder. */
function write(file: string, lines: readonly string[], before: FileOwner | undefined, disk: Disk): void {
  const owner = before ?? disk.stat(path.dirname(path.resolve(file)))?.owner
  disk.replace(file, lines.map((line) => `${line}\n`).join(''), 0o600, owner)
}

/** The user of a line; undefined of comments and what is none. */
function nameIn(line: string): string | undefined {
  const at = line.indexOf(':')
  return at < 0 || line.startsWith('#') ? undefined : line.slice(0, at).trim()
}

function nameOf(user: string | undefined): string {
  if (user === undefined) throw wrong('the user is missing')
  const problem = user.includes(':') ? 'has a colon, which ends a name in the file' : findUserNameProblem(user)
  if (problem !== undefined || user.startsWith('#'))
    throw wrong(`the user name ${problem ?? 'begins with #, as a comment does'}`)
  return user
}

function wrong(text: string): MeshError {
  return new MeshError('MESH_CONFIG_INVALID', text)
}
function unusable(text: string): MeshError {
  return new MeshError('MESH_MQTT_USERS_FILE', text)
}
