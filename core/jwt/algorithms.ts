/**
 * Signature algorithms of JWS (RFC 7518 §3.1, RFC 8037 §3.1), each with the one kind of key that it is for: a token
 * never chooses how a key is used (RFC 8725 §3.1). HMAC and `none` are not among them, for whoever verifies could also
 * sign, or nobody has signed.
 */
import { constants, type KeyObject, verify } from 'node:crypto'

type Rsa = { readonly key: 'rsa'; readonly hash: Hash; readonly padding: 'pkcs1' | 'pss' }
type Ec = { readonly key: 'ec'; readonly hash: Hash; readonly curve: string; readonly signatureBytes: number }
type Ed = { readonly key: 'ed25519' }
type Hash = 'sha256' | 'sha384' | 'sha512'

const ALGORITHMS: Readonly<Record<string, Rsa | Ec | Ed>> = {
  RS256: { key: 'rsa', hash: 'sha256', padding: 'pkcs1' },
  RS384: { key: 'rsa', hash: 'sha384', padding: 'pkcs1' },
  RS512: { key: 'rsa', hash: 'sha512', padding: 'pkcs1' },
  PS256: { key: 'rsa', hash: 'sha256', padding: 'pss' },
  PS384: { key: 'rsa', hash: 'sha384', padding: 'pss' },
  PS512: { key: 'rsa', hash: 'sha512', padding: 'pss' },
  ES256: { key: 'ec', hash: 'sha256', curve: 'prime256v1', signatureBytes: 64 },
  ES384: { key: 'ec', hash: 'sha384', curve: 'secp384r1', signatureBytes: 96 },
  ES512: { key: 'ec', hash: 'sha512', curve: 'secp521r1', signatureBytes: 132 },
  EdDSA: { key: 'ed25519' },
  // RFC 9864 §2.2: the same, fully named.
  Ed25519: { key: 'ed25519' },
}
const CURVES = new Set(Object.values(ALGORITHMS).flatMap((of) => (of.key === 'ec' ? [of.curve] : [])))

/** Smaller ones are broken (RFC 7518 §3.3), larger ones cost a millisecond for each token that anybody sends. */
const RSA_BITS = { least: 2_048, most: 8_192 }

export function isAlgorithm(name: string): boolean {
  return Object.hasOwn(ALGORITHMS, name)
}

/** Undefined: some algorithm is for it. */
export function findKeyProblem(key: KeyObject): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'rsa') {
    const bits = details?.modulusLength ?? 0
    const fits = bits >= RSA_BITS.least && bits <= RSA_BITS.most
    return fits ? undefined : `an RSA key of ${bits} bits; ${RSA_BITS.least} to ${RSA_BITS.most} are taken`
  }
  if (type === 'ec')
    return CURVES.has(details?.namedCurve ?? '') ? undefined : `a key on the curve ${details?.namedCurve}`
  return type === 'ed25519' ? undefined : `a key of type ${type}`
}

/** Whether the algorithm is for keys of this kind. */
export function fitsKey(name: string, key: KeyObject): boolean {
  const algorithm = isAlgorithm(name) ? ALGORITHMS[name] : undefined
  if (algorithm?.key !== key.asymmetricKeyType) return false
  return algorithm?.key !== 'ec' || algorithm.curve === key.asymmetricKeyDetails?.namedCurve
}

/** @param name of an algorithm that fits the key */
export function isSignedBy(name: string, key: KeyObject, signed: Uint8Array, signature: Uint8Array): boolean {
  const algorithm = ALGORITHMS[name]
  try {
    switch (algorithm?.key) {
      case 'rsa': {
        const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST } = constants
        const how =
          algorithm.padding === 'pss'
            ? { padding: RSA_PKCS1_PSS_PADDING, saltLength: RSA_PSS_SALTLEN_DIGEST }
            : { padding: RSA_PKCS1_PADDING }
        return verify(algorithm.hash, signed, { key, ...how }, signature)
      }
      case 'ec':
        return (
          signature.length === algorithm.signatureBytes &&
          verify(algorithm.hash, signed, { key, dsaEncoding: 'ieee-p1363' }, signature)
        )
      case 'ed25519':
        return verify(null, signed, key, signature)
      case undefined:
        return false
      default:
        return algorithm satisfies never
    }
  } catch {
    // OpenSSL throws for what is no signature at all.
    return false
  }
}
