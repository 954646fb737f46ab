/** Revocation lists (RFC 5280 §5) by the hub's root: what agents know revoked certificates by, also without a link. */
import { sign } from 'node:crypto'
import * as der from './der.ts'
import type { Root } from './root.ts'

const ECDSA_SHA256 = '1.2.840.10045.4.3.2'

/** Good as long as the root: a hub that is away must not make its list void. @param serials lower-case hex */
export function signCrl(root: Root, p: { readonly serials: readonly string[]; readonly thisUpdateMs: number }): string {
  const algorithm = der.sequence(der.oid(ECDSA_SHA256))
  const revoked = p.serials.map((serial) =>
    der.sequence(der.integer(Buffer.from(serial, 'hex')), der.time(p.thisUpdateMs)),
  )
  const tbs = der.sequence(
    der.integer(Uint8Array.of(1)), // v2
    algorithm,
    root.issuer.name,
    der.time(p.thisUpdateMs),
    der.time(root.notAfterMs),
    ...(revoked.length === 0 ? [] : [der.sequence(...revoked)]),
  )
  const signature = sign('sha256', der.encode(tbs), { key: root.issuer.key, dsaEncoding: 'der' })
  return der.toPem('X509 CRL', der.encode(der.sequence(tbs, algorithm, der.bits(signature))))
}
