/**
 * What TLS tickets of the relay are sealed with (RFC 5077 §4): the same at every hub of one CA and after each start, so
 * that devices which come back after a restart, or to another hub, spare the certificates. A ticket opens nothing: who
 * comes with one proves itself like everybody. Whoever has the CA's key could be the hub anyway.
 */
import { hkdfSync } from 'node:crypto'
import type { Ca } from '../ca/ca.ts'

/** Name, HMAC and AES key, as node:tls takes them. */
const BYTES = 48
/** The most that TLS permits (RFC 8446 §4.6.1). */
export const TICKET_SEC = 7 * 86_400
/** Sessions of another context are none of ours. It stands in every ticket, so it is short. */
export const SESSION_CONTEXT = 'r'

export function deriveTicketKeys({ root }: Pick<Ca, 'root'>): Buffer {
  const secret = root.issuer.key.export({ type: 'pkcs8', format: 'der' })
  return Buffer.from(hkdfSync('sha256', secret, '', 'meshlet relay tickets', BYTES))
}
