/** The users of this node: files and keys that are opened with the agent and read again when they change. */
import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { WatchedFile, type WatchedFileOptions } from '../../../core/os/files/watched-file.ts'
import type { TimeSlice } from '../../../core/os/time-slice.ts'
import type { MeshError } from '../../../core/errors.ts'
import { readJwks, MAX_JWKS_BYTES, parseJwks, type Jwks } from '../../../core/jwt/jwks.ts'
import type { KeySource } from '../../../core/jwt/key-source.ts'
import type { JwtTime } from '../../../core/jwt/verify.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { JwtIssuerSettings, MqttUsers } from '../../../model/mqtt/users.ts'
import { Guesses } from './guesses.ts'
import { PasswordChecks } from './password-checks.ts'
import { MAX_FILE_BYTES, parsePasswordFile, type PasswordFile } from './password-file.ts'
import { isPassword, type PasswordHash } from './password-hash.ts'
import { MAX_PSK_FILE_BYTES, parsePskFile, type PskFile } from './psk-file.ts'
import { inventVerifier, ScramExchange } from './scram.ts'
import { Tokens } from './tokens.ts'

export type UserDatabaseOptions = {
  readonly settings: MqttUsers
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** By which tokens are valid. */
  readonly time: () => JwtTime
  /** Keys that are fetched. */
  readonly fetchKeys: (url: string) => KeySource
}

export class UserDatabase implements Disposable {
  readonly checks: PasswordChecks
  readonly guesses: Guesses
  readonly tokens: Tokens | undefined
  /** Resolves when every file was looked at. Never rejects. */
  readonly ready: Promise<void>
  readonly #settings: MqttUsers
  readonly #passwords: WatchedFile<Passwords> | undefined
  readonly #keys: WatchedFile<PskFile> | undefined
  readonly #watchers = new Set<() => void>()

  constructor(o: UserDatabaseOptions) {
    const { settings, clock, metrics } = o
    this.#settings = settings
    this.checks = new PasswordChecks({
      maxRunning: settings.maxPasswordChecks,
      maxWaiting: settings.maxWaitingChecks,
      metrics,
    })
    this.guesses = new Guesses(clock, settings.maxRefusalDelayMs)
    const { passwordFile, jwt } = settings
    const onChange = (): void => {
      for (const watcher of this.#watchers) watcher()
    }
    this.#passwords =
      passwordFile === undefined
        ? undefined
        : watchUsers(o, {
            file: passwordFile,
            setting: 'mqtt.users.passwordFile',
            maxBytes: MAX_FILE_BYTES,
            parse: (text, slice) => readPasswords(text, slice, this.#passwords?.current),
            problemsOf: ({ problems }) => problems,
            isSecret: true,
            onChange,
          })
    this.#keys =
      settings.pskFile === undefined
        ? undefined
        : watchUsers(o, {
            file: settings.pskFile,
            setting: 'mqtt.users.pskFile',
            maxBytes: MAX_PSK_FILE_BYTES,
            parse: parsePskFile,
            problemsOf: ({ problems }) => problems,
            isSecret: true,
            onChange,
          })
    this.tokens =
      jwt &&
      new Tokens(
        jwt.issuers.map((one) => ({ settings: one, keys: keysOf(one, o) })),
        o.time,
      )
    this.ready = Promise.all([this.#passwords?.ready, this.#keys?.ready]).then(() => undefined)
  }
  [Symbol.dispose](): void {
    this.#passwords?.[Symbol.dispose]()
    this.#keys?.[Symbol.dispose]()
    this.tokens?.[Symbol.dispose]()
  }

  get settings(): MqttUsers {
    return this.#settings
  }
  problems(): readonly MeshError[] {
    const issuers = this.tokens?.issuers.flatMap(({ keys }) => keys.problems()) ?? []
    return [...(this.#passwords?.problems() ?? []), ...(this.#keys?.problems() ?? []), ...issuers]
  }
  /** Called when users have come, gone or changed. */
  watch(fn: () => void): Disposable {
    this.#watchers.add(fn)
    return {
      [Symbol.dispose]: () => {
        this.#watchers.delete(fn)
      },
    }
  }

  /**
   * A user that is not there costs as much as one that is: a hash of the file is computed for each name, always the
   * same.
   * @returns what the user was proved by, or why not
   * @throws MESH_MQTT_USERS_FILE
   */
  async checkPassword(name: string, password: Uint8Array): Promise<PasswordHash | string> {
    const { users, inPlaceOf } = this.#passwords!.content
    const hash = users.get(name)
    const isRight = await isPassword(hash ?? inPlaceOf(name), Buffer.from(password))
    if (!hash) return 'there is no such user'
    if (!isRight) return 'the password is wrong'
    // The file may have changed meanwhile.
    return this.isCurrent(name, hash) ? hash : 'it was changed at this moment'
  }
  /** @throws MESH_MQTT_USERS_FILE */
  startScram(): ScramExchange {
    const { users, scramIterations } = this.#passwords!.content
    return new ScramExchange({
      find(name) {
        const hash = users.get(name)
        return hash?.kind === 'scram-sha-256' ? hash : inventVerifier(name, INVENTED_KEY, scramIterations)
      },
      isReal: (name, verifier) => this.isCurrent(name, verifier),
    })
  }
  /** Of an identity that a handshake has proved; undefined: it was removed since. @throws MESH_MQTT_USERS_FILE */
  getKey(identity: string): Buffer | undefined {
    return this.#keys?.content.keys.get(identity)
  }
  /** For a handshake. Undefined: nobody has that identity. */
  findKey(identity: string): Buffer | undefined {
    return this.#keys?.current?.keys.get(identity)
  }
  /** @param key what getKey returned */
  isCurrentKey(identity: string, key: object): boolean {
    const now = this.#keys?.current?.keys.get(identity)
    return now !== undefined && key instanceof Uint8Array && now.equals(key)
  }
  /** @param secret what checkPassword returned */
  isCurrent(name: string, secret: object): boolean {
    return this.#passwords?.current?.users.get(name) === secret
  }
}

type Passwords = PasswordFile & {
  readonly inPlaceOf: (name: string) => PasswordHash
  /** As the first verifier has them; undefined: there is none. */
  readonly scramIterations: number | undefined
}
/** So that who does not exist has the same salt each time. */
const INVENTED_KEY = randomBytes(32)

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

function isSame(a: PasswordHash, b: PasswordHash): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

type Watching<T> = Pick<
  WatchedFileOptions<T>,
  'file' | 'setting' | 'maxBytes' | 'parse' | 'problemsOf' | 'isSecret' | 'onChange'
>
function watchUsers<T>({ disk, clock, log }: UserDatabaseOptions, its: Watching<T>): WatchedFile<T> {
  return new WatchedFile({
    ...its,
    disk,
    clock,
    log,
    without: 'nobody gets in by it',
    code: 'MESH_MQTT_USERS_FILE',
    evt: 'mqtt.users',
    part: 'mqtt',
  })
}

function keysOf(issuer: JwtIssuerSettings, o: UserDatabaseOptions): KeySource {
  const { jwks, jwksFile, jwksUrl } = issuer
  if (jwksUrl !== undefined) return o.fetchKeys(jwksUrl)
  if (jwksFile === undefined) return fixedKeys(readJwks(jwks))
  const file: WatchedFile<Jwks> = watchUsers(o, {
    file: jwksFile,
    setting: 'mqtt.users.jwt jwksFile',
    maxBytes: MAX_JWKS_BYTES,
    parse: parseJwks,
    isSecret: false,
    onChange: () => undefined,
  })
  return {
    current: () => file.content,
    lookAgain: async () => false,
    problems: () => file.problems(),
    [Symbol.dispose]: () => file[Symbol.dispose](),
  }
}

/** @param keys in the configuration itself */
function fixedKeys(keys: Jwks): KeySource {
  return {
    current: () => keys,
    lookAgain: async () => false,
    problems: () => [],
    [Symbol.dispose]: () => undefined,
  }
}
