/**
 * Certificates and revocation lists of every kind that a peer might send, good and bad; the hub's own code makes good
 * ones only.
 */
import { generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto'
import * as der from '../../hub/ca/der.ts'
import { encodeCaName, hashKeyId } from '../../hub/ca/x509.ts'

export type Made = {
  readonly pem: string
  readonly keyPem: string
  readonly certificate: X509Certificate
  readonly key: KeyObject
  readonly name: der.Der
  readonly serial: Buffer
}
export type Wish = {
  readonly issuer?: Made
  readonly name?: string
  readonly ca?: 'ca' | 'no-ca' | 'nothing-said'
  readonly pathLength?: number
  readonly uses?: readonly ('client' | 'server')[]
  /** First octet of keyUsage. */
  readonly keyUsage?: number
  readonly uri?: string
  readonly extensions?: readonly der.Der[]
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
  readonly keys?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }
  /** Another key than the issuer's. */
  readonly signedBy?: KeyObject
  readonly digest?: 'sha1' | 'sha256'
}

const HOUR_MS = 3_600_000
const USES = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' }
const ALGORITHM = {
  ec: { sha256: '1.2.840.10045.4.3.2', sha1: '1.2.840.10045.4.1' },
  rsa: { sha256: '1.2.840.113549.1.1.11', sha1: '1.2.840.113549.1.1.5' },
}

export const extension = (id: string, weight: 'critical' | 'plain', value: der.Der): der.Der =>
  der.sequence(der.oid(id), ...(weight === 'critical' ? [der.boolean('true')] : []), der.octets(der.encode(value)))
const algorithm = (key: KeyObject, digest: 'sha1' | 'sha256'): der.Der =>
  der.sequence(der.oid(ALGORITHM[key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec'][digest]))

export const ecKeys = (): NonNullable<Wish['keys']> => generateKeyPairSync('ec', { namedCurve: 'prime256v1' })

export function certificate(w: Wish): Made {
  const { privateKey, publicKey } = w.keys ?? ecKeys()
  const name = w.name === undefined ? der.sequence() : encodeCaName('test', w.name)
  const signer = w.signedBy ?? w.issuer?.key ?? privateKey
  const serial = randomBytes(16)
  serial[0] = 0x40
  const now = Math.floor(Date.now() / 1_000) * 1_000
  const all = [
    ...(w.ca === 'nothing-said'
      ? []
      : [
          extension(
            '2.5.29.19',
            'critical',
            w.ca === 'ca'
              ? der.sequence(
                  der.boolean('true'),
                  ...(w.pathLength === undefined ? [] : [der.integer(Uint8Array.of(w.pathLength))]),
                )
              : der.sequence(),
          ),
        ]),
    ...(w.keyUsage === undefined ? [] : [extension('2.5.29.15', 'critical', der.bits(Uint8Array.of(w.keyUsage)))]),
    extension('2.5.29.14', 'plain', der.octets(hashKeyId(publicKey))),
    ...(w.issuer
      ? [extension('2.5.29.35', 'plain', der.sequence(der.implicit(0, hashKeyId(w.issuer.certificate.publicKey))))]
      : []),
    ...(w.uses ? [extension('2.5.29.37', 'plain', der.sequence(...w.uses.map((u) => der.oid(USES[u]))))] : []),
    ...(w.uri === undefined
      ? []
      : [extension('2.5.29.17', 'critical', der.sequence(der.implicit(6, Buffer.from(w.uri))))]),
    ...(w.extensions ?? []),
  ]
  const tbs = der.sequence(
    der.explicit(0, der.integer(Uint8Array.of(2))),
    der.integer(serial),
    algorithm(signer, w.digest ?? 'sha256'),
    w.issuer?.name ?? name,
    der.sequence(der.time(w.notBeforeMs ?? now - HOUR_MS), der.time(w.notAfterMs ?? now + HOUR_MS)),
    name,
    der.decode(publicKey.export({ type: 'spki', format: 'der' })),
    der.explicit(3, der.sequence(...all)),
  )
  const signature = sign(w.digest ?? 'sha256', der.encode(tbs), signer)
  const pem = der.toPem(
    'CERTIFICATE',
    der.encode(der.sequence(tbs, algorithm(signer, w.digest ?? 'sha256'), der.bits(signature))),
  )
  return {
    pem,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    certificate: new X509Certificate(pem),
    key: privateKey,
    name,
    serial,
  }
}

export type CrlWish = {
  readonly issuer: Made
  readonly revoked: readonly Made[]
  readonly thisUpdateMs?: number
  readonly nextUpdateMs?: number
  readonly signedBy?: KeyObject
  readonly extensions?: readonly der.Der[]
}

export function crl({
  issuer,
  revoked,
  thisUpdateMs = Date.now() - HOUR_MS,
  nextUpdateMs = Date.now() + HOUR_MS,
  signedBy = issuer.key,
  extensions = [],
}: CrlWish): string {
  const tbs = der.sequence(
    der.integer(Uint8Array.of(1)),
    algorithm(issuer.key, 'sha256'),
    issuer.name,
    der.time(thisUpdateMs),
    der.time(nextUpdateMs),
    ...(revoked.length === 0
      ? []
      : [der.sequence(...revoked.map((r) => der.sequence(der.integer(r.serial), der.time(thisUpdateMs))))]),
    der.explicit(0, der.sequence(extension('2.5.29.20', 'plain', der.integer(Uint8Array.of(1))), ...extensions)),
  )
  return der.toPem(
    'X509 CRL',
    der.encode(der.sequence(tbs, algorithm(issuer.key, 'sha256'), der.bits(sign('sha256', der.encode(tbs), signedBy)))),
  )
}
