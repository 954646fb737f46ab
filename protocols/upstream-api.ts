import type { Duplex } from 'node:stream'
import type { MeshError } from '../core/errors.ts'
import type { Address, NetStream } from '../core/os/network.ts'
import type { Cluster, Endpoint, Tlv } from '../model/cluster.ts'
import type { CertificatesUsed } from '../model/identity.ts'

/** An HTTP proxy that knows CONNECT. */
export type HttpProxy = {
  readonly address: Address
  /** `user:password`; read for each connection. Throws what the system says. */
  readonly readCredentials: (() => string) | undefined
  /** Names, addresses and ranges that are connected to directly. */
  readonly noProxy: readonly string[]
}

/**
 * A fresh, exclusive connection to one endpoint, TLS done and the peer's identity checked: for TCP, MQTT, upgrades and
 * CONNECT.
 */
export type UpstreamStream = {
  readonly stream: Duplex
  readonly endpoint: Endpoint
  readonly alpn: string
  /** Left out: plain text. */
  readonly certificates?: CertificatesUsed
  /** Our end. */
  readonly local?: Address
  /** When the stream is done with; the first word counts. `failed` charges the endpoint's health. */
  release(how: 'ok' | 'failed'): void
}

/** @param made between which addresses the connection is */
export type MakeHeader = (made: Pick<NetStream, 'local' | 'remote'>) => Uint8Array
/** Of a client for whom an endpoint is connected to: what a PROXY header says. */
export type ClientConnection = {
  /** Within the process. */
  readonly id: string
  readonly remote: Address
  readonly local: Address
  /** What counts in place of `local`. */
  readonly meant?: Address | undefined
  /** Which it came with, where they are kept. */
  readonly tlvs?: readonly Tlv[] | undefined
}

export type ConnectOptions = {
  readonly signal: AbortSignal
  /**
   * What will be spoken, which decides the ALPN offered over mTLS (Istio: istio-http/1.1,istio,http/1.1 |
   * istio-h2,istio,h2 | istio).
   */
  readonly speaks: 'http1' | 'http2' | 'tcp'
  /** Whoever connects takes the preamble of `istio-peer-exchange` off, and sends ours. */
  readonly exchangesPeers?: boolean | undefined
  /** For hash balancers. */
  readonly hash?: bigint | undefined
  readonly avoid?: readonly Endpoint[] | undefined
  /** Original destination, for original-dst clusters. */
  readonly originalDst?: { readonly host: string; readonly port: number } | undefined
  /** It is to end soon, because a certificate has expired; what has not ended then is cut off. */
  readonly onEnding?: ((reason: MeshError) => void) | undefined
  /** The way leads through an HTTP proxy. */
  readonly through?: HttpProxy | undefined
  /** What the endpoint gets before anything else, TLS included: a PROXY header. */
  readonly makeHeader?: MakeHeader | undefined
  /** Left out: it is for nobody but us. */
  readonly client?: ClientConnection | undefined
  /** Of `host`, where that names none, for clusters whose hosts are those that requests name. */
  readonly forwardPort?: number | undefined
  /** The request's host, for auto_sni and for such clusters. */
  readonly host?: string | undefined
}

/** The way out, for everything that is not an HTTP exchange. */
export interface Upstreams {
  /**
   * Picks an endpoint, connects, does TLS.
   * Rejects with MESH_NO_ENDPOINT, MESH_UPSTREAM_OVERFLOW, MESH_CONNECT_FAILED, MESH_CONNECT_TIMEOUT, MESH_DNS_FAILED,
   * MESH_UPSTREAM_TLS, MESH_PEER_MISMATCH, MESH_NO_IDENTITY or the signal's reason.
   */
  connect(cluster: Cluster, options: ConnectOptions): Promise<UpstreamStream>
}
