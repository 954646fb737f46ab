import type { Connection } from '../../connection.ts'
import type { Connect } from '../codec/packet.ts'

/** A session's connection, as it is shown. */
export type ConnectionFacts = {
  readonly conn: Pick<Connection, 'id' | 'receivedBytes' | 'sentBytes'>
  readonly address: string
  readonly listener: string
  readonly protocol: '3.1' | '3.1.1' | '5.0'
  readonly keepAliveSec: number
  readonly isCleanStart: boolean
  /** Monotonic. */
  readonly sinceMs: number
}

export function collectConnectionFacts(conn: Connection, connect: Connect, sinceMs: number): ConnectionFacts {
  return {
    conn,
    address: conn.remote.host,
    listener: conn.listener.name,
    protocol: connect.version === 5 ? '5.0' : connect.is31 ? '3.1' : '3.1.1',
    keepAliveSec: connect.keepAliveSec,
    isCleanStart: connect.cleanStart,
    sinceMs,
  }
}
