/** What users are proved by at one state of `mqtt.users`: files and keys that are read again when they change. */
import { createHmac, randomBytes } from 'node:crypto'
import type { MeshError } from '../../../core/errors.ts'
import { readJwks, MAX_JWKS_BYTES, parseJwks, type Jwks } from '../../../core/jwt/jwks.ts'
import type { KeySource } from '../../../core/jwt/key-source.ts'
import type { JwtTime } from '../../../core/jwt/verify.ts'
import type { Log } from '../../../core/log.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { WatchedFile, type WatchedFileOptions } from '../../../core/os/files/watched-file.ts'
import type { TimeSlice } from '../../../core/os/time-slice.ts'
import type { JwtIssuerSettings, MqttUsers } from '../../../model/mqtt/users.ts'
import { MAX_FILE_BYTES, parsePasswordFile, type PasswordFile } from './password-file.ts'
import type { PasswordHash } from './password-hash.ts'
import { MAX_PSK_FILE_BYTES, parsePskFile, type PskFile } from './psk-file.ts'
import { type TokenIssuer, Tokens } from './tokens.ts'

export type UserSourcesOptions = {
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Log
  /** By which tokens are valid. */
  readonly time: () => JwtTime
  /** Keys that are fetched. */
  readonly fetchKeys: (url: string) => KeySource
  /** Users have come, gone or changed. */
  readonly onChange: () => void
}

export class UserSources {
  readonly settings: MqttUsers
  readonly passwords: WatchedFile<Passwords> | undefined
  readonly keys: WatchedFile<PskFile> | undefined
  readonly tokens: Tokens | undefined
  /** Resolves when every file was looked at. Never rejects. */
  readonly ready: Promise<void>
  readonly #opened: readonly (Disposable & Source)[]

  /** @param before what of it is named again goes over, as it is */
  constructor(settings: MqttUsers, o: UserSourcesOptions, before: UserSources | undefined) {
    this.settings = settings
    const { passwordFile, pskFile, jwt } = settings
    this.passwords =
      passwordFile === before?.settings.passwordFile
        ? before?.passwords
        : openNamed(passwordFile, (file) =>
            watchPasswords(file, o, () => this.passwords?.current ?? before?.passwords?.current),
          )
    this.keys =
      pskFile === before?.settings.pskFile ? before?.keys : openNamed(pskFile, (file) => watchPskKeys(file, o))
    const issuers = jwt?.issuers.map((one) => findIssuer(one, before) ?? openIssuer(one, o))
    this.tokens = issuers && new Tokens(issuers, o.time)
    this.#opened = [this.passwords, this.keys, ...(issuers ?? [])].filter((one) => one !== undefined)
    this.ready = Promise.all(this.#opened.map((one) => one.ready)).then(() => undefined)
  }

  problems(): readonly MeshError[] {
    return this.#opened.flatMap((one) => one.problems())
  }
  /** Of files that the other does not have: why nothing of one could be read. */
  findUnusable(besides: UserSources | undefined): MeshError | undefined {
    return this.#opened
      .filter((one) => !besides?.has(one))
      .find((one) => !one.isUsable)
      ?.problems()[0]
  }
  has(source: object): boolean {
    return this.#opened.includes(source as Disposable & Source)
  }
  /** @param heirs what they have goes on */
  end(heirs: UserSources | undefined): void {
    for (const one of this.#opened) if (!heirs?.has(one)) one[Symbol.dispose]()
  }
}

function openNamed<T>(file: string | undefined, open: (file: string) => T): T | undefined {
  return file === undefined ? undefined : open(file)
}

type Source = {
  readonly ready: Promise<void>
  readonly isUsable: boolean
  problems(): readonly MeshError[]
}

export type Passwords = PasswordFile & {
  readonly inPlaceOf: (name: string) => PasswordHash
  /** As the first verifier has them; undefined: there is none. */
  readonly scramIterations: number | undefined
}

function watchPasswords(
  file: string,
  o: UserSourcesOptions,
  current: () => PasswordFile | undefined,
): WatchedFile<Passwords> {
  return watchUsers(o, {
    file,
    setting: 'mqtt.users.passwordFile',
    maxBytes: MAX_FILE_BYTES,
    parse: (text, slice) => readPasswords(text, slice, current()),
    problemsOf: ({ problems }) => problems,
    isSecret: true,
  })
}

/** A line that is as it was keeps its object, so that nobody has to prove himself again. */
async function readPasswords(text: string, slice: TimeSlice, before: PasswordFile | undefined): Promise<Passwords> {
  const { users: read, problems } = await parsePasswordFile(text, slice)
  if (read.size === 0) throw new Error(problems.length === 0 ? 'it has no user' : `it has no user: ${problems[0]}`)
  const users = new Map<string, PasswordHash>()
  for (const [name, hash] of read) {
    const known = before?.users.get(name)
    users.set(name, known && isSame(known, hash) ? known : hash)
    if (slice.due) await slice.yield()
  }
  const all = [...users.values()]
  const key = randomBytes(32)
  return {
    users,
    problems,
    scramIterations: all.find((hash) => hash.kind === 'scram-sha-256')?.iterations,
    inPlaceOf: (name) => all[createHmac('sha256', key).update(name).digest().readUInt32BE() % all.length]!,
  }
}

function isSame(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function watchPskKeys(file: string, o: UserSourcesOptions): WatchedFile<PskFile> {
  return watchUsers(o, {
    file,
    setting: 'mqtt.users.pskFile',
    maxBytes: MAX_PSK_FILE_BYTES,
    parse: parsePskFile,
    problemsOf: ({ problems }) => problems,
    isSecret: true,
  })
}

type Watching<T> = Pick<WatchedFileOptions<T>, 'file' | 'setting' | 'maxBytes' | 'parse' | 'problemsOf' | 'isSecret'>
function watchUsers<T>({ disk, clock, log, onChange }: UserSourcesOptions, its: Watching<T>): WatchedFile<T> {
  return new WatchedFile({
    ...its,
    disk,
    clock,
    log,
    onChange,
    without: 'nobody gets in by it',
    code: 'MESH_MQTT_USERS_FILE',
    evt: 'mqtt.users',
    part: 'mqtt',
  })
}

type OpenIssuer = TokenIssuer & Disposable & Source

function findIssuer(settings: JwtIssuerSettings, before: UserSources | undefined): OpenIssuer | undefined {
  // Made here, each of them.
  const known = before?.tokens?.issuers as readonly OpenIssuer[] | undefined
  return known?.find((one) => isSame(one.settings, settings))
}

function openIssuer(settings: JwtIssuerSettings, o: UserSourcesOptions): OpenIssuer {
  const file = settings.jwksFile === undefined ? undefined : watchJwks(settings.jwksFile, o)
  const keys: KeySource =
    settings.jwksUrl === undefined ? (file ?? holdKeys(readJwks(settings.jwks))) : o.fetchKeys(settings.jwksUrl)
  return {
    settings,
    keys,
    ready: file?.ready ?? Promise.resolve(),
    get isUsable() {
      return file?.isUsable ?? true
    },
    problems: () => keys.problems(),
    [Symbol.dispose]: () => keys[Symbol.dispose](),
  }
}

type KeyFile = KeySource & Pick<Source, 'ready' | 'isUsable'>
function watchJwks(jwksFile: string, o: UserSourcesOptions): KeyFile {
  // A token is asked about when it comes, so nobody has to be told.
  const file: WatchedFile<Jwks> = watchUsers(
    { ...o, onChange: () => undefined },
    {
      file: jwksFile,
      setting: 'mqtt.users.jwt jwksFile',
      maxBytes: MAX_JWKS_BYTES,
      parse: parseJwks,
      isSecret: false,
    },
  )
  return {
    current: () => file.content,
    lookAgain: async () => false,
    problems: () => file.problems(),
    ready: file.ready,
    get isUsable() {
      return file.isUsable
    },
    [Symbol.dispose]: () => file[Symbol.dispose](),
  }
}

/** @param keys in the configuration itself */
function holdKeys(keys: Jwks): KeySource {
  return {
    current: () => keys,
    lookAgain: async () => false,
    problems: () => [],
    [Symbol.dispose]: () => undefined,
  }
}
