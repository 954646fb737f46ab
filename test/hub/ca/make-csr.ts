/** Certificate requests for tests, made with the same ASN.1 words but none of the code that reads them. */
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import * as der from '../../../hub/ca/der.ts'

export type CsrOptions = {
  readonly keys?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }
  readonly signedBy?: KeyObject
  readonly commonName?: string
  readonly uri?: string
  readonly algorithm?: string
  readonly hash?: string
}

export function makeCsr(o: CsrOptions = {}): { csrPem: string; keyPem: string; csrDer: Buffer } {
  const keys = o.keys ?? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const name =
    o.commonName === undefined
      ? der.sequence()
      : der.sequence(der.setOf(der.sequence(der.oid('2.5.4.3'), der.utf8(o.commonName))))
  const altNames = der.octets(der.encode(der.sequence(der.implicit(6, Buffer.from(o.uri ?? '')))))
  const attributes =
    o.uri === undefined
      ? der.explicit(0) // extensionRequest, PKCS#9
      : der.explicit(
          0,
          der.sequence(
            der.oid('1.2.840.113549.1.9.14'),
            der.setOf(der.sequence(der.sequence(der.oid('2.5.29.17'), altNames))),
          ),
        )
  const info = der.sequence(
    der.integer(Uint8Array.of(0)),
    name,
    der.decode(keys.publicKey.export({ type: 'spki', format: 'der' })),
    attributes,
  )
  const algorithm =
    o.algorithm ?? (keys.publicKey.asymmetricKeyType === 'rsa' ? '1.2.840.113549.1.1.11' : '1.2.840.10045.4.3.2')
  const signature = sign(o.hash ?? 'sha256', der.encode(info), o.signedBy ?? keys.privateKey)
  const csrDer = der.encode(der.sequence(info, der.sequence(der.oid(algorithm)), der.bits(signature)))
  return {
    csrDer,
    csrPem: der.toPem('CERTIFICATE REQUEST', csrDer),
    keyPem: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}
