/**
 * Finds out which user a client is. The password or token in CONNECT is tried first, then the identity of the TLS
 * handshake. Wrong credentials are always refused. A client without credentials is accepted only where the listener
 * takes anonymous clients.
 */
import { looksLikeJwt } from '../../../core/jwt/verify.ts'
import { REASON, createViolation } from '../codec/reason.ts'
import { SCRAM_METHOD } from './scram.ts'
import { deriveSource } from '../../../core/ip-source.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Family, Metrics } from '../../../core/metrics.ts'
import { toPrintable } from '../../../core/printable.ts'
import type { PeerIdentity } from '../../../model/identity.ts'
import type { MqttListener } from '../../../model/mqtt-policy.ts'
import { type CertificateUser, listUserMethods, type UserMethod } from '../../../model/mqtt/users.ts'
import type { ProvedUser } from '../session/owner.ts'
import { readCertificateUser, readProxiedUser } from './certificate-user.ts'
import type { ProxiedCertificate } from '../../connection.ts'
import type { UserDatabase } from './user-database.ts'
import { findUserNameProblem } from './user-name.ts'

/** What a client brought. */
export type Credentials = {
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  /** Of the TLS handshake. */
  readonly peer: PeerIdentity | undefined
  readonly pskIdentity?: string | undefined
  /** Where what a load balancer says of its certificate counts, in place of `peer`. */
  readonly proxied?: ProxiedCertificate | undefined
}
export type Asking = {
  readonly credentials: Credentials
  readonly listener: MqttListener
  /** Where the client is. */
  readonly address: string
  /** Of the connection. */
  readonly signal: AbortSignal
}
export type Proof = {
  readonly method: UserMethod | 'none'
  readonly user: ProvedUser | undefined
  /** Wall milliseconds; undefined: it does not end by time. */
  readonly expiresAtMs: number | undefined
  /** What the user was proved by, as far as it can be changed: another one = it is to be proved again. */
  readonly secret: object | string | undefined
  /** The last word of an enhanced authentication. */
  readonly serverData?: Uint8Array
}
type Result = 'accepted' | 'refused' | 'not-checked'

export class Authentication {
  readonly #users: UserDatabase | undefined
  readonly #wallMs: () => number
  readonly #results: Family<'method' | 'result'>

  /** @param p.users undefined: nobody can prove a user, and nobody has to */
  constructor(p: { users: UserDatabase | undefined; wallMs: () => number; metrics: Metrics }) {
    this.#users = p.users
    this.#wallMs = p.wallMs
    this.#results = p.metrics.counter(
      'mesh_mqtt_authentications_total',
      'CONNECT packets by how their user was proved; `not-checked`: too many were waiting, or the users could not be read.',
      ['method', 'result'],
    )
  }

  /** Whether the node has users at all. */
  get hasUsers(): boolean {
    return this.#users?.settings !== undefined
  }
  /** Whether clients without a user may come by such a listener. */
  takesAnonymous({ anonymous }: MqttListener): boolean {
    return anonymous ?? !this.hasUsers
  }
  takes(method: UserMethod, listener: MqttListener): boolean {
    return listUserMethods(this.#users?.settings, listener).includes(method)
  }

  /**
   * @throws MESH_MQTT_BAD_CREDENTIALS, MESH_MQTT_USER_NEEDED; MESH_LISTENER_FULL, MESH_MQTT_USERS_FILE and what keeps
   * the keys of tokens away, when it could not be checked; the signal's reason
   */
  async authenticate(asking: Asking): Promise<Proof> {
    const { credentials, listener } = asking
    const { password } = credentials
    if (this.#users && password !== undefined) {
      const method = this.#methodOf(password, listener)
      if (method !== undefined) return this.#bySecret(method, asking, this.#users)
    }
    return this.#byHandshake(credentials, listener)
  }

  /**
   * By AUTH packets (MQTT 5.0 §4.12).
   * @param first what the client has said with the method
   * @param ask sends what it is given and resolves with what the client says then
   * @throws as `authenticate`; MESH_MQTT_PROTOCOL for a method that is not offered
   */
  async authenticateEnhanced(
    method: string,
    first: Uint8Array,
    { listener, address, signal }: Omit<Asking, 'credentials'>,
    ask: (data: Uint8Array) => Promise<Uint8Array>,
  ): Promise<Proof> {
    const users = this.#users
    if (!users || method !== SCRAM_METHOD || !this.takes('scram-sha-256', listener))
      throw createViolation(REASON.badAuthenticationMethod, '[MQTT-4.12.0-1] this authentication method is not offered')
    return this.#guarded('scram-sha-256', { users, source: deriveSource(address), signal }, async () => {
      const exchange = users.startScram()
      for (let data = first; ;) {
        const { data: serverData, proved } = exchange.next(data)
        if (proved) {
          const { name, secret } = proved
          return { method: 'scram-sha-256', user: { name, groups: [] }, expiresAtMs: undefined, secret, serverData }
        }
        data = await ask(serverData)
      }
    })
  }

  /** Why a connection that was let in may not go on, by the users and the listener of this moment. */
  findRefusal(proof: Proof, listener: MqttListener): MeshError | undefined {
    const { user, method, expiresAtMs, secret } = proof
    if (method === 'none' || !user)
      return this.takesAnonymous(listener) ? undefined : needed('the listener asks for a user now')
    const name = toPrintable(user.name)
    if (!this.takes(method, listener))
      return new MeshError('MESH_MQTT_USER_ENDED', `user ${name}: the listener does not take ${method} any more`)
    if (expiresAtMs !== undefined && this.#wallMs() >= expiresAtMs)
      return new MeshError('MESH_MQTT_USER_ENDED', `user ${name}: the token has expired`)
    // Whose name a certificate has is a setting.
    if (method === 'certificate' && secret !== this.#certificateUser(listener))
      return new MeshError('MESH_MQTT_USER_ENDED', `user ${name}: another part of the certificate is the user now`)
    if (method !== 'certificate' && !this.#users?.isCurrent(user.name, proof))
      return new MeshError(
        'MESH_MQTT_USER_ENDED',
        `user ${name}: it was removed, or has another ${method === 'jwt' ? 'issuer' : 'password'} now`,
      )
    return undefined
  }

  /** Undefined: passwords mean nothing on this listener. */
  #methodOf(password: Uint8Array, listener: MqttListener): 'password' | 'jwt' | undefined {
    const [passwords, tokens] = [this.takes('password', listener), this.takes('jwt', listener)]
    if (!passwords || !tokens) return passwords ? 'password' : tokens ? 'jwt' : undefined
    // A token of an unknown issuer may still be a password.
    const text = Buffer.from(password).toString('latin1')
    return looksLikeJwt(text) && this.#users?.tokens?.findIssuer(text) ? 'jwt' : 'password'
  }

  async #bySecret(method: 'password' | 'jwt', asking: Asking, users: UserDatabase): Promise<Proof> {
    const source = deriveSource(asking.address)
    return this.#guarded(method, { users, source, signal: asking.signal }, () =>
      method === 'jwt' ? byToken(asking.credentials, users) : byPassword(asking, source, users),
    )
  }

  /** Counted, and against guessing. */
  async #guarded(
    method: UserMethod,
    { users, source, signal }: { readonly users: UserDatabase; readonly source: string; readonly signal: AbortSignal },
    prove: () => Promise<Proof>,
  ): Promise<Proof> {
    try {
      users.guesses.mayTry(source)
      const proof = await prove()
      this.#count(method, 'accepted')
      return proof
    } catch (thrown) {
      const err = toMeshError(thrown)
      const isWrong = err.code === 'MESH_MQTT_BAD_CREDENTIALS'
      this.#count(method, isWrong ? 'refused' : 'not-checked')
      if (isWrong) await users.guesses.delayRefusal(source, signal)
      throw err
    }
  }

  #byHandshake({ peer, pskIdentity, username, proxied }: Credentials, listener: MqttListener): Proof {
    const key = pskIdentity !== undefined && this.takes('psk', listener) ? this.#users?.getKey(pskIdentity) : undefined
    if (key && pskIdentity !== undefined) {
      this.#count('psk', 'accepted')
      return { method: 'psk', user: { name: pskIdentity, groups: [] }, expiresAtMs: undefined, secret: key }
    }
    let why = username === undefined ? 'it showed none' : 'it only said a user name'
    const from = this.#certificateUser(listener)
    if ((proxied ?? peer) && from && this.takes('certificate', listener)) {
      const found = proxied ? readProxiedUser(proxied, from) : readCertificateUser(peer!, from)
      if (typeof found === 'object') {
        this.#count('certificate', 'accepted')
        return { method: 'certificate', user: { ...found, groups: [] }, expiresAtMs: undefined, secret: from }
      }
      why = `its certificate ${found}`
    }
    const isWelcome = this.takesAnonymous(listener)
    this.#count('none', isWelcome ? 'accepted' : 'refused')
    if (!isWelcome) throw needed(why)
    return { method: 'none', user: undefined, expiresAtMs: undefined, secret: undefined }
  }

  #certificateUser(listener: MqttListener): CertificateUser | undefined {
    return listener.certificateUser ?? this.#users?.settings?.certificateUser
  }
  #count(method: Proof['method'], result: Result): void {
    this.#results.cell({ method, result }).value++
  }
}

function needed(why: string): MeshError {
  return new MeshError('MESH_MQTT_USER_NEEDED', `the listener takes no client without a user, and ${why}`)
}

async function byToken({ password }: Credentials, users: UserDatabase): Promise<Proof> {
  const found = await users.tokens!.verify(Buffer.from(password ?? []).toString('latin1'))
  if (typeof found === 'string') throw wrong(found)
  return { method: 'jwt', ...found }
}

async function byPassword(
  { credentials: { username, password }, signal }: Asking,
  source: string,
  users: UserDatabase,
): Promise<Proof> {
  if (username === undefined || username === '') throw wrong('a password without a user name')
  const problem = findUserNameProblem(username)
  if (problem !== undefined) throw wrong(`a user name that ${problem}`)
  const secret = await users.checks.run(
    source,
    () => users.checkPassword(username, password ?? Buffer.alloc(0)),
    signal,
  )
  if (typeof secret === 'string') throw wrong(`user ${toPrintable(username)}: ${secret}`)
  return { method: 'password', user: { name: username, groups: [] }, expiresAtMs: undefined, secret }
}

function wrong(what: string): MeshError {
  return new MeshError('MESH_MQTT_BAD_CREDENTIALS', what)
}
