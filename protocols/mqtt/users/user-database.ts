/** The users of this node, as `mqtt.users` has them now. */
import { randomBytes } from 'node:crypto'
import type { Prepared } from '../../../core/current.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { MqttUsers, UserMethod } from '../../../model/mqtt/users.ts'
import { Guesses } from './guesses.ts'
import { PasswordChecks } from './password-checks.ts'
import { isPassword, type PasswordHash } from './password-hash.ts'
import { inventVerifier, ScramExchange } from './scram.ts'
import type { Tokens } from './tokens.ts'
import { UserSources, type UserSourcesOptions } from './user-sources.ts'

export type UserDatabaseOptions = Omit<UserSourcesOptions, 'onChange'> & {
  /** Undefined: nobody proves a user, and nobody has to. */
  readonly settings: MqttUsers | undefined
  readonly metrics: Metrics
}

/** As a Proof has it (authentication.ts). */
type Proved = { readonly method: UserMethod | 'none'; readonly secret: object | string | undefined }

/** Of a node without users nobody is checked. */
const NO_CHECKS = { maxPasswordChecks: 1, maxWaitingChecks: 1, maxRefusalDelayMs: 0 }

export class UserDatabase implements Disposable {
  readonly checks: PasswordChecks
  readonly guesses: Guesses
  readonly #o: UserSourcesOptions
  #sources: UserSources | undefined
  readonly #watchers = new Set<() => void>()

  constructor(o: UserDatabaseOptions) {
    const { settings, clock, metrics } = o
    this.#o = { ...o, onChange: () => this.#tell() }
    const bounds = settings ?? NO_CHECKS
    this.checks = new PasswordChecks({ ...bounds, metrics })
    this.guesses = new Guesses(clock, bounds.maxRefusalDelayMs)
    this.#sources = settings && new UserSources(settings, this.#o, undefined)
  }
  [Symbol.dispose](): void {
    this.#sources?.end(undefined)
  }

  /** Undefined: nobody proves a user, and nobody has to. */
  get settings(): MqttUsers | undefined {
    return this.#sources?.settings
  }
  get tokens(): Tokens | undefined {
    return this.#sources?.tokens
  }
  /** Resolves when every file was looked at. Never rejects. */
  get ready(): Promise<void> {
    return this.#sources?.ready ?? Promise.resolve()
  }
  problems(): readonly MeshError[] {
    return this.#sources?.problems() ?? []
  }
  /** Called when a file has changed. */
  watch(fn: () => void): Disposable {
    this.#watchers.add(fn)
    return {
      [Symbol.dispose]: () => {
        this.#watchers.delete(fn)
      },
    }
  }
  #tell(): void {
    for (const watcher of this.#watchers) watcher()
  }

  /**
   * For other settings. Whoever commits lets connections be asked again (broker.reauthorize): a user whose line,
   * issuer or method is another has to be proved again.
   * @throws MESH_MQTT_USERS_FILE for a file that is new and cannot be used
   */
  async prepare(settings: MqttUsers | undefined): Promise<Prepared> {
    const before = this.#sources
    const next = settings && new UserSources(settings, this.#o, before)
    await next?.ready
    const problem = next?.findUnusable(before)
    if (problem) {
      next?.end(before)
      throw problem
    }
    let isOpen = true
    return {
      commit: () => {
        isOpen = false
        this.#sources = next
        before?.end(next)
        const bounds = settings ?? NO_CHECKS
        this.checks.use(bounds)
        this.guesses.maxDelayMs = bounds.maxRefusalDelayMs
      },
      [Symbol.dispose]: () => {
        if (isOpen) next?.end(before)
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
    const file = this.#sources?.passwords
    if (!file) return 'there are no passwords any more'
    const { users, inPlaceOf } = file.content
    const hash = users.get(name)
    const isRight = await isPassword(hash ?? inPlaceOf(name), Buffer.from(password))
    if (!hash) return 'there is no such user'
    if (!isRight) return 'the password is wrong'
    // The file may have changed meanwhile.
    return this.#hasPassword(name, hash) ? hash : 'it was changed at this moment'
  }
  /** @throws MESH_MQTT_USERS_FILE */
  startScram(): ScramExchange {
    const { users, scramIterations } = this.#sources!.passwords!.content
    return new ScramExchange({
      find(name) {
        const hash = users.get(name)
        return hash?.kind === 'scram-sha-256' ? hash : inventVerifier(name, INVENTED_KEY, scramIterations)
      },
      isReal: (name, verifier) => this.#hasPassword(name, verifier),
    })
  }
  /** Of an identity that a handshake has proved; undefined: it was removed since. @throws MESH_MQTT_USERS_FILE */
  getKey(identity: string): Buffer | undefined {
    return this.#sources?.keys?.content.keys.get(identity)
  }
  /** For a handshake. Undefined: nobody has that identity. */
  findKey(identity: string): Buffer | undefined {
    return this.#sources?.keys?.current?.keys.get(identity)
  }

  /** Whether what a user was proved by is still the same. */
  isCurrent(user: string, { method, secret }: Proved): boolean {
    switch (method) {
      case 'password':
      case 'scram-sha-256':
        return this.#hasPassword(user, secret)
      case 'psk': {
        const now = this.findKey(user)
        return now !== undefined && secret instanceof Uint8Array && now.equals(secret)
      }
      case 'jwt':
        return this.tokens?.issuers.some((one) => one === secret) ?? false
      case 'certificate':
      case 'none':
        return true
      default:
        return method satisfies never
    }
  }
  #hasPassword(name: string, hash: object | string | undefined): boolean {
    return hash !== undefined && this.#sources?.passwords?.current?.users.get(name) === hash
  }
}

/** So that who does not exist has the same salt each time. */
const INVENTED_KEY = randomBytes(32)
