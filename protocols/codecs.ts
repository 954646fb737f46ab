import type { Duplex } from 'node:stream'
import type { MeshError } from '../core/errors.ts'
import type { ConnectionCounter } from '../model/http/connection-limit.ts'
import type { ConnectionAuthz } from '../model/http/ext-authz.ts'
import type { HttpConnectionManager, TcpProxy } from '../model/listener.ts'
import type { MqttPolicy } from '../model/mqtt-policy.ts'
import type { Connection, Outcome } from './connection.ts'

/** Who decides where the tunnels of a connection lead, and serves what comes through them (downstream/hbone/). */
export interface TunnelHost {
  /** @param authority of the CONNECT @returns the status of a refusal, or what serves the tunnel */
  open(authority: string): number | ServeTunnel
}
/**
 * @param stream nothing has been answered yet: the first read or write says that the tunnel is open
 * @param over called before the stream is destroyed, with what went wrong
 */
export type ServeTunnel = (stream: Duplex, over: (error: MeshError | undefined) => void) => void

/**
 * What a connection is handed to once it is known who speaks what. Each serves `conn.stream` until it ends and never
 * rejects: a failure is the outcome's `error`. The stream is destroyed by serve.ts afterwards.
 */
export type Codecs = {
  /** Left out: tunnels are refused. */
  hbone?(conn: Connection, host: TunnelHost): Promise<Outcome>
  http1(conn: Connection): Promise<Outcome>
  http2(conn: Connection): Promise<Outcome>
  tcp(conn: Connection, tcp: TcpProxy): Promise<Outcome>
  mqtt(conn: Connection, mqtt: MqttPolicy, transport: 'tcp' | 'websocket'): Promise<Outcome>
  /** Before any of them, where the chain says so. Left out: such connections are refused. @returns why it is refused */
  askService?(conn: Connection, settings: ConnectionAuthz): Promise<MeshError | undefined>
  /** The same of who counts connections, before TLS. */
  askCounter?(conn: Connection, settings: ConnectionCounter): Promise<MeshError | undefined>
}

/** The chain's HTTP settings. Read once per request, because the recheck may have replaced the chain. */
export function readHttpManager(conn: Connection): HttpConnectionManager {
  const { codec } = conn.chain
  if (codec.kind !== 'http') throw new TypeError(`connection ${conn.id} is served as ${codec.kind}, not as HTTP`)
  return codec.http
}
