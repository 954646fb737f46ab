/**
 * The device's key and its PKCS#10 request (RFC 2986). ASN.1 by node-forge; the keys and signatures by node:crypto,
 * because forge knows RSA only.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, sign } from 'node:crypto'
import { createRequire } from 'node:module'
import type * as Forge from 'node-forge'

/** ECDSA on P-256, or RSA with so many bits. */
export type KeyKind = 'ecdsa-p256' | 'rsa-2048' | 'rsa-3072' | 'rsa-4096'

/** A new private key, PKCS#8 PEM. Not on this thread: an RSA key takes seconds on a small device. */
export function createKey(kind: KeyKind = 'ecdsa-p256'): Promise<string> {
  return new Promise((resolve, reject) => {
    const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
    const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
    const done = (err: Error | null, _publicPem: string, privatePem: string): void => {
      if (err) reject(err)
      else resolve(privatePem)
    }
    if (kind === 'ecdsa-p256')
      generateKeyPair('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }, done)
    else generateKeyPair('rsa', { modulusLength: Number(kind.slice(4)), publicKeyEncoding, privateKeyEncoding }, done)
  })
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
const SHA256_WITH_RSA = '1.2.840.113549.1.1.11'
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
const SUBJECT_ALT_NAME = '2.5.29.17'
const URI = 6

let forge: typeof Forge | undefined

/**
 * @param spiffeUri asked for as the only SAN; Istio's CA takes the name from who is authenticated and ignores it, other
 * CAs read it
 * @returns PEM
 */
export function createCsr(keyPem: string, spiffeUri: string): string {
  // Loaded here: needed once a day.
  forge ??= createRequire(import.meta.url)('node-forge') as typeof Forge
  const { asn1 } = forge
  const { Class, Type } = asn1
  const sequence = (...of: Forge.asn1.Asn1[]): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, of)
  const set = (...of: Forge.asn1.Asn1[]): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.SET, true, of)
  const oid = (id: string): Forge.asn1.Asn1 =>
    asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes())
  const octets = (bytes: string): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes)
  const der = (of: Forge.asn1.Asn1): Buffer => Buffer.from(asn1.toDer(of).getBytes(), 'latin1')

  const key = createPrivateKey(keyPem)
  const publicKey = asn1.fromDer(createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('latin1'))
  const names = sequence(asn1.create(Class.CONTEXT_SPECIFIC, URI, false, spiffeUri))
  const extension = sequence(
    oid(SUBJECT_ALT_NAME),
    asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, '\xff'),
    octets(der(names).toString('latin1')),
  )
  const attributes = asn1.create(Class.CONTEXT_SPECIFIC, 0, true, [
    sequence(oid(EXTENSION_REQUEST), set(sequence(extension))),
  ])
  const version = asn1.create(Class.UNIVERSAL, Type.INTEGER, false, '\0')
  const info = sequence(version, sequence(), publicKey, attributes)
  const signature = sign('sha256', der(info), key)
  // RFC 4055 §5: parameters are NULL for RSA, absent for ECDSA (RFC 5758 §3.2).
  const algorithm =
    key.asymmetricKeyType === 'rsa'
      ? sequence(oid(SHA256_WITH_RSA), asn1.create(Class.UNIVERSAL, Type.NULL, false, ''))
      : sequence(oid(ECDSA_WITH_SHA256))
  const request = sequence(
    info,
    algorithm,
    asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, `\0${signature.toString('latin1')}`),
  )
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der(request)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE REQUEST-----\n`
}
