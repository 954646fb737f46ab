import { TLSSocket } from 'node:tls'
import type { Connection } from '../../../connection.ts'

/** The client's own certificate as PEM; the connection itself keeps what is known of it only. */
export function readCertificate({ stream }: Pick<Connection, 'stream'>): string | undefined {
  return stream instanceof TLSSocket ? stream.getPeerX509Certificate()?.toString() : undefined
}
