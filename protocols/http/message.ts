/**
 * What the codecs and the exchange say to each other. HTTP/1.1 and HTTP/2 implement the same four small interfaces, so
 * that routing, retries and answers are written once. Everything is a plain call in the order of the bytes; nothing
 * here returns a promise. Headers are flat arrays: lower-case names at even indexes, values (latin1) at odd ones,
 * without framing and hop-by-hop fields.
 */
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../core/errors.ts'
import type { Address } from '../../core/os/network.ts'
import type { HeaderValues } from '../../model/matcher.ts'
import type { Cluster, Endpoint } from '../../model/cluster.ts'
import type { CertificatesUsed } from '../../model/identity.ts'
import type { Metadata } from '../../model/http/metadata.ts'
import type { Span } from '../../model/http/tracing.ts'
import type { ConnectOptions, Upstreams } from '../upstream-api.ts'
import type { RequestFacts } from '../router.ts'
import type { HttpVersion } from './codec/framing.ts'
import type { OriginalNames } from './codec/header-case.ts'

type RequestHeadFields = Pick<
  RequestHead,
  'method' | 'scheme' | 'authority' | 'path' | 'headers' | 'version' | 'bodyLength' | 'upgrade' | 'expectContinue'
> & { readonly names?: OriginalNames | undefined; readonly target?: string }

/** One request as the client sent it; the exchange then changes `headers` in place. */
export class RequestHead implements RequestFacts {
  readonly method: string
  /** As the client came; a trusted x-forwarded-proto has the last word (Exchange.start). */
  scheme: 'http' | 'https'
  authority: string
  /** Origin form, normalised, with query; '*' for OPTIONS; '' for CONNECT. */
  path: string
  readonly headers: string[]
  readonly version: HttpVersion
  /** Bytes; 0 = no body; UNKNOWN_LENGTH = chunked or an HTTP/2 stream without content-length. */
  readonly bodyLength: number
  /** Lower-case value of the Upgrade header where the request asks for something (upgrade.ts); undefined = nothing. */
  readonly upgrade: string | undefined
  /** The client waits for 100 before it sends the body (RFC 9110 §10.1.1). */
  readonly expectContinue: boolean
  /** Istio's exchange headers, which `headers` do not have any more. */
  peerId: string | undefined = undefined
  peerMetadata: string | undefined = undefined
  /** What filters have found out, from the plan on. */
  metadata: Metadata | undefined = undefined
  written: Set<string> | undefined = undefined
  /** Where requests are traced. */
  span: Span | undefined = undefined
  /** Names of its fields as the client wrote them, where they are kept. */
  readonly names: OriginalNames | undefined
  /** The path as the client sent it, before it was normalised. */
  readonly target: string

  constructor(fields: RequestHeadFields) {
    this.method = fields.method
    this.scheme = fields.scheme
    this.authority = fields.authority
    this.path = fields.path
    this.headers = fields.headers
    this.version = fields.version
    this.bodyLength = fields.bodyLength
    this.upgrade = fields.upgrade
    this.expectContinue = fields.expectContinue
    this.names = fields.names
    this.target = fields.target ?? fields.path
  }

  /** With fields of its own: those here are changed on their way out. */
  copy(): RequestHead {
    const { method, scheme, authority, path, version, bodyLength, upgrade, expectContinue, names, target } = this
    const headers = [...this.headers]
    const head = { method, scheme, authority, path, headers, version, bodyLength, upgrade, expectContinue }
    const own = new RequestHead({ ...head, names, target })
    own.peerId = this.peerId
    own.peerMetadata = this.peerMetadata
    own.metadata = this.metadata
    own.span = this.span
    if (this.written) own.written = new Set(this.written)
    return own
  }

  header(name: string): string | undefined {
    const { headers } = this
    let found: string | undefined
    for (let i = 0; i < headers.length; i += 2)
      if (headers[i] === name) found = found === undefined ? headers[i + 1]! : `${found},${headers[i + 1]!}`
    return found
  }

  values(name: string): HeaderValues {
    const { headers } = this
    let found: string | string[] | undefined
    for (let i = 0; i < headers.length; i += 2) {
      if (headers[i] !== name) continue
      const value = headers[i + 1]!
      if (found === undefined) found = value
      else if (typeof found === 'string') found = [found, value]
      else found.push(value)
    }
    return found
  }
}

export type ResponseHead = {
  readonly status: number
  readonly headers: string[]
  /** The content-length field, which for HEAD and 304 is not that of a body here; UNKNOWN_LENGTH = none. */
  readonly contentLength: number
  /** Trailers may come although the length is known: from an HTTP/2 endpoint. */
  readonly maybeTrailers?: boolean
  /** Names of its fields as the endpoint wrote them, where they are kept. */
  readonly names?: OriginalNames | undefined
}

/**
 * The client's side of one exchange, implemented by the server codecs. Calls collect; `flush` puts them on the wire in
 * one write.
 */
export interface Downstream {
  /** 100, once and only where the request expects it. */
  sendContinue(): void
  /** 102, 103. Ignored towards HTTP/1.0. */
  sendInformational(head: ResponseHead): void
  /** `end`: no body follows. */
  sendHead(head: ResponseHead, end: boolean): void
  sendData(chunk: Buffer): void
  sendEnd(trailers: readonly string[] | undefined): void
  /** False: stop until Exchange.downstreamDrained. */
  flush(): boolean
  pauseRequest(): void
  resumeRequest(): void
  /** Sends the head and gives up the stream (101, CONNECT); the exchange carries its bytes from then on. */
  takeOver(head: ResponseHead): { readonly stream: Duplex; readonly rest: Buffer | undefined }
  /** Replaces the stream idle time of the listener by the route's. */
  setIdleMs(ms: number): void
  /**
   * Once, last call: everything was sent, or `error` says why the answer cannot be completed (then the stream is
   * reset).
   */
  finished(error: MeshError | undefined): void
  /** All was said, and some of it is still being made; left out: never. */
  readonly isEnding?: boolean
  /** The client takes more. @returns false: a filter in between does not; left out: true */
  drained?(): boolean
}

/**
 * One request on its way to an endpoint, implemented by the client codecs. Must not be used after it ended, failed or
 * was cancelled.
 */
export interface HttpCall {
  readonly endpoint: Endpoint
  /** Of its connection; left out: plain text. */
  readonly certificates?: CertificatesUsed | undefined
  /** Our end of it. */
  readonly local?: Address | undefined
  readonly version?: HttpVersion
  sendHead(request: UpstreamRequest, end: boolean): void
  sendData(chunk: Buffer): void
  sendEnd(trailers: readonly string[] | undefined): void
  /** False: stop until CallEvents.onCallDrained. */
  flush(): boolean
  pauseResponse(): void
  resumeResponse(): void
  /** Gives up; no further event comes. */
  cancel(): void
}

export type UpstreamRequest = {
  readonly method: string
  readonly scheme: 'http' | 'https'
  readonly authority: string
  readonly path: string
  readonly headers: readonly string[]
  /** As RequestHead.bodyLength. */
  readonly bodyLength: number
  /** Trailers may come although the length is known: an HTTP/2 client's. */
  readonly maybeTrailers: boolean
  readonly upgrade: string | undefined
  readonly names?: OriginalNames | undefined
}

/** How much of a request was written when it failed. */
export type Sent = 'nothing' | 'part' | 'all'

/**
 * What happens to one call, told to the exchange. After onCallEnd, onCallFailed, onCallMoved or onCallUpgraded nothing
 * more comes.
 */
export interface CallEvents {
  /** Address of the client that it is for. */
  readonly source?: string
  /** The endpoint that gets the call. Called before anything that may fail. */
  onCallPicked(endpoint: Endpoint): void
  /** The cluster was replaced while the call waited: nothing of it was sent, and nothing more comes. */
  onCallMoved(): void
  /** A connection is there: send the head now. `onCallFailed` may come without it. */
  onCall(call: HttpCall): void
  onCallInformational(head: ResponseHead): void
  onCallHead(head: ResponseHead, end: boolean): void
  onCallData(chunk: Buffer): void
  onCallEnd(trailers: readonly string[] | undefined): void
  /** The bytes at hand are all told: time to flush. */
  onCallPause(): void
  onCallDrained(): void
  /** 101: the endpoint's stream belongs to the exchange now. `release` exactly once. */
  onCallUpgraded(head: ResponseHead, stream: Duplex, rest: Buffer | undefined): void
  /** `reused`: the connection came from the pool and gave no response byte. */
  onCallFailed(error: MeshError, sent: Sent, reused?: boolean): void
}

export type CallOptions = Pick<ConnectOptions, 'hash' | 'avoid' | 'originalDst' | 'host' | 'client'> & {
  /** Whose request it is, as core/ip-source.ts counts clients. */
  readonly source: string
  /** What the client speaks, for clusters whose protocol is `downstream`. */
  readonly speaks: 'http1' | 'http2'
  /** Not from the pool: the last one turned out to be closed. */
  readonly fresh: boolean
  /** How often an endpoint out of `avoid` is drawn anew. */
  readonly maxHostPicks: number
  readonly triedPriorities?: TriedPriorities | undefined
  readonly wanted?: WantedHost | undefined
}

/** HOST:PORT of an endpoint; strictly: nobody else is to have the call. */
export type WantedHost = { readonly address: string; readonly isStrict: boolean }

/** Priority levels of `hosts` are left out while others can serve, looked at anew after each `every` of them. */
export type TriedPriorities = { readonly hosts: readonly Endpoint[]; readonly every: number }

/** A call that still waits for its connection. */
export interface PendingCall {
  cancel(): void
}

/** The way out for HTTP exchanges, pooled per endpoint; and for everything else (`connect`). */
export interface HttpUpstreams extends Upstreams, AsyncDisposable {
  /**
   * Picks an endpoint and a connection. `events.onCall` or `onCallFailed` may come before this returns; then undefined
   * is returned. Never throws. Codes: those of Upstreams.connect, and MESH_UPSTREAM_RESET, MESH_UPSTREAM_PROTOCOL,
   * MESH_UPSTREAM_REFUSED_STREAM.
   */
  startCall(cluster: Cluster, options: CallOptions, events: CallEvents): PendingCall | undefined
  /**
   * Asks the cluster's retry breaker or budget.
   * @returns to be disposed of when the retry is over; undefined = there may be none now
   */
  takeRetry(cluster: Cluster): Disposable | undefined
  /** For /clusters. */
  clusterStatus(): readonly ClusterStatus[]
}

export type ClusterStatus = {
  readonly name: string
  readonly activeRequests: number
  readonly pendingRequests: number
  readonly connections: number
  readonly endpoints: readonly {
    readonly address: string
    readonly port: number
    readonly priority: number
    readonly weight: number
    readonly health: Endpoint['health']
    readonly ejected: boolean
    /** Of hosts that are asked whether they are well. */
    readonly check?: CheckStatus
    readonly tunnel?: string
    readonly activeRequests: number
    readonly connections: number
  }[]
}
export type CheckStatus = {
  readonly hasFailed: boolean
  readonly isDegraded: boolean
  readonly isPending: boolean
  readonly isExcluded: boolean
  /** Discovery does not name it any more. */
  readonly isLeaving: boolean
  readonly reason: string | undefined
}
