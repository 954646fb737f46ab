/** The device's key and its PKCS#10 request (RFC 2986). ASN.1 by node-forge; the signature by node:crypto, because forge signs RSA only. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { createRequire } from 'node:module'
import type * as Forge from 'node-forge'

/** ECDSA P-256, PKCS#8 PEM. */
export function createKey(): string {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
const SUBJECT_ALT_NAME = '2.5.29.17'
const URI = 6

let forge: typeof Forge | undefined

/**
 * @param spiffeUri asked for as the only SAN; Istio's CA takes the name from who is authenticated and ignores it, other CAs read it
 * @returns PEM
 */
export function createCsr(keyPem: string, spiffeUri: string): string {
  // Loaded here: needed once a day.
  forge ??= createRequire(import.meta.url)('node-forge') as typeof Forge
  const { asn1 } = forge
  const { Class, Type } = asn1
  const sequence = (...of: Forge.asn1.Asn1[]): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, of)
  const set = (...of: Forge.asn1.Asn1[]): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.SET, true, of)
  const oid = (id: string): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes())
  const octets = (bytes: string): Forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes)
  const der = (of: Forge.asn1.Asn1): Buffer => Buffer.from(asn1.toDer(of).getBytes(), 'latin1')

  const key = createPrivateKey(keyPem)
  const publicKey = asn1.fromDer(createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('latin1'))
  const names = sequence(asn1.create(Class.CONTEXT_SPECIFIC, URI, false, spiffeUri))
  const extension = sequence(oid(SUBJECT_ALT_NAME), asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, '\xff'), octets(der(names).toString('latin1')))
  const attributes = asn1.create(Class.CONTEXT_SPECIFIC, 0, true, [sequence(oid(EXTENSION_REQUEST), set(sequence(extension)))])
  const version = asn1.create(Class.UNIVERSAL, Type.INTEGER, false, '\0')
  const info = sequence(version, sequence(), publicKey, attributes)
  const signature = sign('sha256', der(info), key)
  const request = sequence(info, sequence(oid(ECDSA_WITH_SHA256)), asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, `\0${signature.toString('latin1')}`))
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der(request).toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE REQUEST-----\n`
}
