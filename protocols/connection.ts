import type { Duplex } from 'node:stream'
import type { Address } from '../core/os/network.ts'
import type { MeshError } from '../core/errors.ts'
import type { Tlv } from '../model/cluster.ts'
import type { Metadata } from '../model/http/metadata.ts'
import type { PeerIdentity } from '../model/identity.ts'
import type { FilterChain, Listener } from '../model/listener.ts'
import type { Abortable } from '../core/runtime/notice.ts'
import type { UpstreamStream } from './upstream-api.ts'

/** What the TLS handshake with the client settled. */
export type DownstreamTlsFacts = {
  readonly serverName: string
  readonly alpn: string
  readonly version: string
  /** Undefined when the client showed no certificate. */
  readonly peer: PeerIdentity | undefined
  /** Whose pre-shared key the client has proved to have. */
  readonly pskIdentity?: string
}

/** What a load balancer has verified of a client. */
export type ProxiedCertificate = {
  /** Undefined: no certificate, or none that it trusts. */ readonly commonName: string | undefined
}

/** One accepted connection, from accept to end. Made by downstream/ports.ts, walked through its steps by serve.ts. */
export type Connection = {
  /** Short and unique within the process, for logs. */
  readonly id: string
  /** With transparent capture the original destination. */
  readonly local: Address
  /**
   * Where the client was going when it was redirected here; undefined when it came to this very port, which is no
   * destination beyond.
   */
  readonly originalDst: Address | undefined
  readonly remote: Address
  /** Monotonic, and by the wall clock. */
  readonly startedMs: number
  readonly startedWallMs: number
  /** Replaced by the recheck after a configuration change when the connection may go on; read it once per request. */
  listener: Listener
  chain: FilterChain
  /** Plain text towards the codec: the socket itself or the TLS stream over it. */
  stream: Duplex
  tls: DownstreamTlsFacts | undefined
  /** Where what a load balancer says of the client's certificate counts, in place of `tls`. */
  readonly proxied?: ProxiedCertificate | undefined
  /** What else its PROXY header said, where that is kept. */
  readonly tlvs?: readonly Tlv[] | undefined
  /** Where its client meant to go, as a PROXY header has it: endpoints are told that. */
  readonly meant?: Address | undefined
  /** What is known of each request on it before anybody looks (rules of the PROXY header). */
  readonly metadata?: Metadata | undefined
  /** What sniffing saw of an offered TLS hello; kept for the recheck. */
  readonly offered: {
    readonly transport: 'tls' | 'raw_buffer'
    readonly serverName: string
    readonly alpn: readonly string[]
  }
  /**
   * Aborted when the connection should end after the exchange at hand: HTTP closes after the response, MQTT sends
   * DISCONNECT.
   */
  readonly draining: Abortable
  /** Aborted when it must end now. */
  readonly aborted: Abortable
  receivedBytes: number
  sentBytes: number
  /** Name of the cluster that got the bytes, for the closing log line; '-' so far none. */
  cluster: string
  /** Of a TCP proxy, once it is connected. */
  upstream?: Pick<UpstreamStream, 'endpoint' | 'certificates' | 'local'>
}

/** How a codec ended; `error` undefined = a normal end. */
export type Outcome = { readonly error: MeshError | undefined }
export const ENDED: Outcome = { error: undefined }
