/** Revocation lists (RFC 5280 §5) by the hub's root: what agents know revoked certificates by, also without a link. */
import { sign } from 'node:crypto'
import * as der from './der.ts'
import type { Root } from './root.ts'

const ECDSA_SHA256 = '1.2.840.10045.4.3.2'

/** Good as long as the root: a hub that is away must not make its list void. @param serials lower-case hex */
export function signCrl(root: Root, p: { readonly serials: readonly string[]; readonly thisUpdateMs: number }): string {
  const algorithm = der.encode(der.sequence(der.oid(ECDSA_SHA256)))
  const revokedAt = der.encode(der.time(p.thisUpdateMs))
  const revoked = p.serials.map((serial) => {
    const number = Buffer.from(serial, 'hex')
    return encodeSequence([Buffer.of(0x02, number.length), number, revokedAt])
  })
  const tbs = encodeSequence([
    der.encode(der.integer(Uint8Array.of(1))), // v2
    algorithm,
    der.encode(root.issuer.name),
    der.encode(der.time(p.thisUpdateMs)),
    der.encode(der.time(root.notAfterMs)),
    ...(revoked.length === 0 ? [] : [encodeSequence(revoked)]),
  ])
  const signature = sign('sha256', tbs, { key: root.issuer.key, dsaEncoding: 'der' })
  return der.toPem('X509 CRL', encodeSequence([tbs, algorithm, der.encode(der.bits(signature))]))
}

/** SEQUENCE of what is encoded already: forge takes 40 µs for a small one, and lists have many. */
function encodeSequence(encoded: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(encoded)
  if (content.length < 0x80) return Buffer.concat([Buffer.of(0x30, content.length), content])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  const digits = length.subarray(length.findIndex((byte) => byte !== 0))
  return Buffer.concat([Buffer.of(0x30, 0x80 + digits.length), digits, content])
}
