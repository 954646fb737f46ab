/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, over AUTH packets (MQTT 5.0 §4.12): the client proves that it
 * knows the password without sending it, and we prove that we know the verifier. Without channel binding.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import { toPrintable } from '../../../core/printable.ts'
import type { ScramVerifier } from './password-hash.ts'
import { findUserNameProblem } from './user-name.ts'

export const SCRAM_METHOD = 'SCRAM-SHA-256'

/** One exchange of AUTH packets with a client. */
export interface EnhancedExchange {
  /**
   * @returns what the client is sent, and the user once it is proved
   * @throws MESH_MQTT_BAD_CREDENTIALS
   */
  next(data: Uint8Array): EnhancedStep
}
export type EnhancedStep = {
  readonly data: Uint8Array
  readonly proved: { readonly name: string; readonly secret: object } | undefined
}

/** Of one message of the client; a user name, two nonces and a proof are some hundred. */
const MAX_MESSAGE_BYTES = 2_048
const MAX_NONCE_CHARS = 256
const NONCE_BYTES = 18
const SALT_BYTES = 16
/** Iterations for files without any verifier; the same as `meshlet mqtt passwd` writes. */
const ITERATIONS = 600_000

export class ScramExchange implements EnhancedExchange {
  readonly #find: (name: string) => ScramVerifier
  readonly #isReal: (name: string, verifier: ScramVerifier) => boolean
  readonly #nonce: string
  #sent: Sent | undefined

  /**
   * @param p.find the verifier of a user, of whom there is none, too: nobody learns which names there are
   * @param p.isReal whether it is that of a user
   */
  constructor(p: {
    find: (name: string) => ScramVerifier
    isReal: (name: string, verifier: ScramVerifier) => boolean
    nonce?: string
  }) {
    this.#find = p.find
    this.#isReal = p.isReal
    this.#nonce = p.nonce ?? randomBytes(NONCE_BYTES).toString('base64')
  }

  next(data: Uint8Array): EnhancedStep {
    const text = textOf(data)
    if (this.#sent) return this.#last(text, this.#sent)
    const { bare, name, nonce } = readFirst(text)
    const verifier = this.#find(name)
    const both = nonce + this.#nonce
    const first = `r=${both},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`
    this.#sent = {
      name,
      verifier,
      nonce: both,
      header: text.slice(0, text.length - bare.length),
      signed: `${bare},${first}`,
    }
    return { data: Buffer.from(first), proved: undefined }
  }

  #last(text: string, { name, verifier, nonce, header, signed }: Sent): EnhancedStep {
    const found = /^c=([A-Za-z0-9+/=]+),r=([^,]+)((?:,[A-Za-z]=[^,]*)*),p=([A-Za-z0-9+/=]+)$/.exec(text)
    const [, binding = '', said = '', , proof64 = ''] = found ?? []
    if (!found || said !== nonce || Buffer.from(binding, 'base64').toString() !== header)
      throw wrong(`user ${toPrintable(name)}: the last message of SCRAM does not go with the first`)
    const message = `${signed},${text.slice(0, text.lastIndexOf(',p='))}`
    const signature = hmac(verifier.storedKey, message)
    const proof = Buffer.from(proof64, 'base64')
    const key = Buffer.from(signature.map((byte, i) => byte ^ (proof[i] ?? 0)))
    const stored = createHash('sha256').update(key).digest()
    const isRight =
      proof.length === signature.length &&
      proof.toString('base64') === proof64 &&
      timingSafeEqual(stored, verifier.storedKey)
    if (!isRight || !this.#isReal(name, verifier))
      throw wrong(`user ${toPrintable(name)}: the password is wrong, or the user has no SCRAM verifier`)
    return {
      data: Buffer.from(`v=${hmac(verifier.serverKey, message).toString('base64')}`),
      proved: { name, secret: verifier },
    }
  }
}

type Sent = {
  readonly name: string
  readonly verifier: ScramVerifier
  readonly nonce: string
  /** GS2 header, which the last message repeats. */
  readonly header: string
  readonly signed: string
}

/**
 * Of a user who has none: the same for a name each time, and with iterations as others have.
 * @param key of this process
 */
export function inventVerifier(name: string, key: Uint8Array, iterations = ITERATIONS): ScramVerifier {
  const part = (what: string): Buffer => createHmac('sha256', key).update(`${what}\0${name}`).digest()
  return {
    kind: 'scram-sha-256',
    iterations,
    salt: part('salt').subarray(0, SALT_BYTES),
    storedKey: part('stored'),
    serverKey: part('server'),
  }
}

/** `n,,n=user,r=nonce` (RFC 5802 §7). */
function readFirst(text: string): { readonly bare: string; readonly name: string; readonly nonce: string } {
  if (text.startsWith('p=')) throw wrong('SCRAM with channel binding, which is not offered')
  const found = /^[ny],,(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*)$/.exec(text)
  const [, bare = '', saslName = '', nonce = ''] = found ?? []
  if (!found || nonce.length > MAX_NONCE_CHARS) throw wrong('the first message of SCRAM is malformed')
  if (/=(?!2C|3D)/.test(saslName)) throw wrong('the user name of SCRAM is malformed (RFC 5802 §5.1)')
  const name = saslName.replaceAll('=2C', ',').replaceAll('=3D', '=')
  const problem = findUserNameProblem(name)
  if (problem !== undefined) throw wrong(`a user name that ${problem}`)
  return { bare, name, nonce }
}

function textOf(data: Uint8Array): string {
  if (data.length > MAX_MESSAGE_BYTES) throw wrong(`a message of SCRAM is larger than ${MAX_MESSAGE_BYTES} bytes`)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
  } catch {
    throw wrong('a message of SCRAM is no UTF-8')
  }
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function wrong(what: string): MeshError {
  return new MeshError('MESH_MQTT_BAD_CREDENTIALS', what)
}
