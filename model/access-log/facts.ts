/** What an access log may tell of a request or a connection that is over. Text is bytes as latin1 characters. */
import type { PeerIdentity } from '../identity.ts'
import type { Json } from '../http/metadata.ts'
import type { Workload } from './workload.ts'

export type HostPort = { readonly host: string; readonly port: number }

/**
 * Points in time of an exchange, in the names of %COMMON_DURATION%: what came from the client and went to it (DS), and
 * the same of the endpoint (US).
 */
export type TimePoint =
  | 'DS_RX_BEG'
  | 'DS_RX_END'
  | 'US_CX_BEG'
  | 'US_TX_BEG'
  | 'US_TX_END'
  | 'US_RX_BEG'
  | 'US_RX_END'
  | 'DS_TX_BEG'
  | 'DS_TX_END'

export interface LogFacts {
  readonly type: 'DownstreamEnd' | 'TcpConnectionEnd' | 'NotSet'
  /** Wall milliseconds. */
  readonly startedMs: number
  readonly endedMs: number
  /** Milliseconds after the start; undefined where it was not come to. */
  time(point: TimePoint): number | undefined

  /** First line of that name, lower case; pseudo names included. Undefined for a connection. */
  request(name: string): string | undefined
  response(name: string): string | undefined
  trailer(name: string): string | undefined
  /** Undefined for a connection, and for a request without it. */
  readonly protocol: string | undefined
  readonly upstreamProtocol: string | undefined
  /** 0 = no answer was given. */
  readonly status: number
  /** Undefined for what is no gRPC request. */
  readonly grpcStatus: number | undefined
  /** Of an answer of our own, before it is sent. */
  readonly localReplyBody?: string | undefined
  readonly codeDetails: string | undefined
  /** It asked whether this node is well (envoy.filters.http.health_check); left out: no. */
  readonly isHealthCheck?: boolean
  readonly terminationDetails: string | undefined
  /** Envoy's short names; empty in the usual case. */
  readonly flags: readonly string[]
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly attempts: number
  readonly metadata: { readonly [filter: string]: Json } | undefined

  readonly routeName: string | undefined
  readonly filterChain: string | undefined
  readonly cluster: string | undefined
  readonly upstream: HostPort | undefined
  /** Name of the endpoint where it has one. */
  readonly upstreamName: string | undefined
  readonly upstreamLocal: HostPort | undefined
  readonly upstreamPeer: PeerIdentity | undefined
  readonly upstreamFailure: string | undefined
  /** Where our certificate was shown. */
  readonly upstreamOwnUri: string | undefined

  readonly connectionId: string
  readonly local: HostPort
  /** The TCP peer. */
  readonly remote: HostPort
  /** The client as trusted hops tell it, else the TCP peer. */
  readonly client: HostPort
  readonly serverName: string | undefined
  readonly tlsVersion: string | undefined
  readonly peer: PeerIdentity | undefined
  readonly ownUri: string | undefined
  readonly traceId: string | undefined
  readonly spanId: string | undefined

  readonly direction: 'inbound' | 'outbound' | 'unspecified'
  /** What is known of the workload at the other end: the client on the way in, the server on the way out. */
  readonly peerWorkload: Workload | undefined
}
