/** A set of public keys that tokens are verified by (RFC 7517 §5). */
import { createPublicKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto'
import { isAlgorithm, findKeyProblem } from './algorithms.ts'

export type VerificationKey = {
  /** `kid`; undefined: the set does not say. */
  readonly id: string | undefined
  /** `alg`; undefined: every algorithm of its kind of key. */
  readonly algorithm: string | undefined
  readonly key: KeyObject
}
export type Jwks = {
  readonly keys: readonly VerificationKey[]
  /** Of keys that stand in it and are not used, one line each. */
  readonly unused: readonly string[]
}

/** Of an issuer whose keys are not known yet: it has none for any token. */
export const NO_KEYS: Jwks = { keys: [], unused: [] }

export const MAX_JWKS_BYTES = 256 * 1024
/** Issuers have two to ten, with those that are going and coming. */
export const MAX_KEYS = 64
/** Of a text of the set in a message. */
const MAX_SHOWN_CHARS = 64

/**
 * Keys that no algorithm is for, or that are not for signatures, are passed over: a set may serve others, too.
 * @throws Error with what is wrong, when the text is no set or none of its keys can be used
 */
export function parseJwks(text: string): Jwks {
  if (text.length > MAX_JWKS_BYTES) throw new Error(`a set of keys is larger than ${MAX_JWKS_BYTES} bytes`)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new Error('it is no JSON', { cause })
  }
  return readJwks(parsed)
}

/** As parseJwks, of what is parsed already. */
export function readJwks(parsed: unknown): Jwks {
  const list = isObject(parsed) ? parsed['keys'] : undefined
  if (!Array.isArray(list)) throw new Error('it has no list `keys` (RFC 7517 §5)')
  if (list.length > MAX_KEYS) throw new Error(`it has ${list.length} keys; ${MAX_KEYS} are taken`)
  const keys: VerificationKey[] = []
  const unused: string[] = []
  list.forEach((one: unknown, i) => {
    const read = readKey(one)
    if (typeof read === 'object') keys.push(read)
    else unused.push(`keys[${i}] is ${read}`)
  })
  if (keys.length === 0) throw new Error(`none of its ${list.length} keys can be used: ${unused.join('; ') || 'empty'}`)
  return { keys, unused }
}

/** @returns the key, or what it is that is not used */
function readKey(jwk: unknown): VerificationKey | string {
  if (!isObject(jwk)) return 'no object'
  const { kty, kid, alg, use, key_ops: operations } = jwk
  if (kid !== undefined && typeof kid !== 'string') return 'a key whose kid is no text'
  if (alg !== undefined && (typeof alg !== 'string' || !isAlgorithm(alg))) return `a key for ${shown(alg)}`
  if (use !== undefined && use !== 'sig') return `a key for the use ${shown(use)}`
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return 'a key that is not for `verify`'
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return `a key of type ${shown(kty)}`
  let key: KeyObject
  try {
    // Node says what is wrong with the values.
    key = createPublicKey({ key: jwk as JsonWebKeyInput['key'], format: 'jwk' })
  } catch (err) {
    return `a key that cannot be read: ${err instanceof Error ? err.message : String(err)}`
  }
  return findKeyProblem(key) ?? { id: kid, algorithm: alg, key }
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, MAX_SHOWN_CHARS) ?? 'that it does not say'
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
