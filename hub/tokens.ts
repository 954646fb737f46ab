/**
 * Join tokens: ES256 JWTs (RFC 7519, RFC 7518 §3.4) that the hub signs and only the hub checks. A token says as which
 * workload its bearer joins; that it exists, is not revoked and how often it was used stands in the registry.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  randomUUID,
  type KeyObject,
} from 'node:crypto'
import path from 'node:path'
import type { Clock } from '../core/os/clock.ts'
import type { Disk } from '../core/os/disk.ts'
import { MeshError } from '../core/errors.ts'
import { isSignedBy } from '../core/jwt/algorithms.ts'
import { encodeJson, signJwt } from '../core/jwt/sign.ts'
import { parseRange } from '../model/ip.ts'
import { findLabelProblem } from './enrollment/labels.ts'
import type { Labels } from './registry/enrollments.ts'
import { isNodePattern } from './registry/node-names.ts'
import type { Registry } from './registry/registry.ts'

export const TOKEN_KEY_FILE = 'token-key.pem'
const AUDIENCE = 'meshlet-hub'
const ES256 = { alg: 'ES256', typ: 'JWT' }
const HEADER = encodeJson(ES256)
const MAX_CIDRS = 32
const MAX_TOKEN_CHARS = 4_096
/** A hub that was moved to a machine whose clock is a little late. */
const LEEWAY_MS = 60_000
/** RFC 1123 label and subdomain, as Kubernetes wants them. */
const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/
const SERVICE_ACCOUNT = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/

export function isNamespace(text: string): boolean {
  return NAMESPACE.test(text)
}

export type JoinClaims = {
  readonly jti: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly expiresMs: number
}
export type CreateToken = {
  readonly namespace: string
  readonly serviceAccount: string
  readonly ttlSec: number
  readonly maxUses?: number | undefined
  /** The node name that it is good for, or a pattern with `*`. */
  readonly nodes: string
  /** Ranges that its bearer must come from; none: anywhere. */
  readonly cidrs?: readonly string[] | undefined
  readonly labels?: Labels | undefined
  /** Who joins with it waits for an operator's word. */
  readonly approval?: boolean | undefined
  /** Pins of the hub's roots (hub/ca/pin.ts), so that whoever has the token knows the hub. */
  readonly roots?: readonly string[] | undefined
}

/** The signing key of the folder, made when there is none (0600). Throws MESH_STATE_UNUSABLE. */
export function openTokenKey(folder: string, disk: Disk, name = TOKEN_KEY_FILE): KeyObject {
  const file = path.join(folder, name)
  try {
    const stored = disk.read(file)
    if (stored) return createPrivateKey(stored)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    disk.makeFolder(folder, 0o700)
    disk.replace(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600)
    return privateKey
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${file} can neither be read nor made`, { cause })
  }
}

export class Tokens {
  readonly #key: KeyObject
  readonly #publicKey: KeyObject
  readonly #registry: Registry
  readonly #clock: Clock
  readonly #issuer: string
  constructor(p: {
    readonly key: KeyObject
    readonly registry: Registry
    readonly clock: Clock
    readonly trustDomain: string
  }) {
    this.#key = p.key
    this.#publicKey = createPublicKey(p.key)
    this.#registry = p.registry
    this.#clock = p.clock
    this.#issuer = `${AUDIENCE}.${p.trustDomain}`
  }

  /** 32 bytes that only the hub has, for one purpose; the same as long as it has its key. */
  deriveSecret(purpose: string): Buffer {
    const key = this.#key.export({ type: 'pkcs8', format: 'der' })
    return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), `meshlet hub ${purpose} v1`, 32))
  }

  /**
   * Rejects with MESH_CONFIG_INVALID for names that Kubernetes would not take.
   * @param registry a transaction that it is part of
   */
  async create(p: CreateToken, registry: Registry = this.#registry): Promise<JoinClaims & { readonly token: string }> {
    if (!NAMESPACE.test(p.namespace))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `"${p.namespace}" is not a namespace: lower-case letters, digits and -, at most 63`,
      )
    if (!SERVICE_ACCOUNT.test(p.serviceAccount))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `"${p.serviceAccount}" is not a service account: lower-case letters, digits, - and ., at most 253`,
      )
    if (!isNodePattern(p.nodes))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `"${p.nodes}" is no node name (letters, digits, ".", "_" and "-", at most 253), and no pattern of them with *`,
      )
    const unreadable = p.cidrs?.find((cidr) => !parseRange(cidr))
    if (unreadable !== undefined || (p.cidrs?.length ?? 0) > MAX_CIDRS)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        unreadable === undefined ? `at most ${MAX_CIDRS} ranges are taken` : `"${unreadable}" is no address or range`,
      )
    const label = findLabelProblem(p.labels ?? {})
    if (label !== undefined) throw new MeshError('MESH_CONFIG_INVALID', label)
    return await this.#issue(p, registry)
  }

  async #issue(p: CreateToken, registry: Registry): Promise<JoinClaims & { readonly token: string }> {
    const createdMs = Math.floor(this.#clock.wallMs() / 1_000) * 1_000
    const { namespace, serviceAccount, nodes, cidrs, labels, approval, maxUses = null, roots } = p
    const claims = { jti: randomUUID(), namespace, serviceAccount, expiresMs: createdMs + p.ttlSec * 1_000 }
    const payload = {
      iss: this.#issuer,
      aud: [AUDIENCE],
      sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
      jti: claims.jti,
      iat: createdMs / 1_000,
      exp: claims.expiresMs / 1_000,
      ...(roots === undefined ? {} : { roots }),
    }
    const token = signJwt(ES256, payload, this.#key)
    await registry.addToken({
      ...claims,
      createdMs,
      maxUses,
      nodes,
      hash: hashToken(token),
      cidrs: cidrs ?? [],
      labels: labels ?? {},
      approval: approval ?? false,
    })
    return { ...claims, token }
  }

  /** Rejects with MESH_TOKEN_INVALID: not ours, changed, ended, unknown to the registry, or revoked. */
  async verify(token: string): Promise<JoinClaims> {
    const claims = this.#claimsOf(token)
    const nowMs = this.#clock.wallMs()
    if (nowMs >= claims.expiresMs) throw invalid(`ended at ${new Date(claims.expiresMs).toISOString()}`)
    const row = await this.#registry.token(claims.jti)
    if (!row) throw invalid('is not known to the registry of this hub')
    // Who has the signing key alone cannot make what the registry knows.
    if (row.hash !== null && row.hash !== hashToken(token)) throw invalid('is not the one that was given out')
    if (row.revokedMs !== null) throw invalid(`was revoked at ${new Date(row.revokedMs).toISOString()}`)
    return claims
  }

  #claimsOf(token: string): JoinClaims {
    const [header, payload, signature, ...rest] = token.length > MAX_TOKEN_CHARS ? [] : token.split('.')
    // The header is compared whole: no algorithm is ever taken from the token (RFC 8725 §3.1).
    if (header !== HEADER || payload === undefined || signature === undefined || rest.length)
      throw invalid('is not one of this hub')
    const raw = Buffer.from(signature, 'base64url')
    const genuine =
      raw.length === 64 &&
      raw.toString('base64url') === signature &&
      isSignedBy('ES256', this.#publicKey, Buffer.from(`${header}.${payload}`), raw)
    if (!genuine) throw invalid('is not signed by this hub')
    const c = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as {
      iss: string
      aud: string[]
      sub: string
      jti: string
      iat: number
      exp: number
    }
    if (c.iss !== this.#issuer || !c.aud.includes(AUDIENCE)) throw invalid('is for another hub')
    if (c.iat * 1_000 > this.#clock.wallMs() + LEEWAY_MS)
      throw new MeshError('MESH_CLOCK_WRONG', 'the join token was made later than the clock of the hub shows')
    const [, , namespace, serviceAccount] = c.sub.split(':') as [string, string, string, string]
    return { jti: c.jti, namespace, serviceAccount, expiresMs: c.exp * 1_000 }
  }
}

const hashToken = (token: string): string => createHash('sha256').update(token).digest('hex')
const invalid = (what: string): MeshError => new MeshError('MESH_TOKEN_INVALID', `the join token ${what}`)
