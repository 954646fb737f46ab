/**
 * The way to an endpoint of an ambient mesh (HBONE): a stream of a pooled HTTP/2 connection over mutual TLS to its port
 * 15008, opened by CONNECT. It stands below the pools of the endpoint's own cluster, in the place of a TCP connection.
 */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { deriveSource } from '../../../core/ip-source.ts'
import { memoize } from '../../../core/memoize.ts'
import type { NetStream } from '../../../core/os/network.ts'
import type { Cluster, Endpoint, TunnelWay } from '../../../model/cluster.ts'
import type { CertificatesUsed } from '../../../model/identity.ts'
import type { Context } from '../../context.ts'
import { UNKNOWN_LENGTH } from '../../http/codec/framing.ts'
import type { CallEvents, HttpCall, HttpUpstreams, PendingCall, ResponseHead, Sent } from '../../http/message.ts'
import { formatBaggage } from '../../telemetry/peer.ts'
import type { ClientConnection } from '../../upstream-api.ts'
import { findTunnelCluster, isExpected } from './find-way.ts'

export type Tunnel = NetStream & { readonly certificates: CertificatesUsed }
type TunnelContext = Pick<Context, 'tables'> & Partial<Pick<Context, 'telemetry'>>
type OpenOptions = { readonly signal: AbortSignal; readonly client: ClientConnection | undefined }
type Target = Endpoint & { readonly via: TunnelWay }

/** Clusters that were replaced while a tunnel waited for one, until it gives up. */
const MAX_MOVES = 3

class HboneDialer {
  #upstreams: HttpUpstreams | undefined

  /** Whose pools the connections of tunnels are in. */
  use(upstreams: HttpUpstreams): void {
    this.#upstreams = upstreams
  }

  /**
   * Rejects with MESH_TUNNEL_REFUSED, MESH_PEER_MISMATCH, MESH_CLUSTER_BLOCKED, the codes of HttpUpstreams.startCall or
   * the signal's reason.
   * @param cluster the endpoint's own
   */
  dial(ctx: TunnelContext, cluster: Cluster, endpoint: Target, o: OpenOptions): Promise<Tunnel> {
    const upstreams = this.#upstreams
    if (!upstreams) return Promise.reject(new MeshError('MESH_CLUSTER_BLOCKED', 'nobody here opens tunnels'))
    return new Promise((resolve, reject) => {
      new Opening({ ctx, upstreams, cluster, endpoint, ...o }, resolve, reject).begin()
    })
  }
}
/** One for everybody with the same context. */
export const getHboneDialer = memoize((_ctx: object) => new HboneDialer())

type OpeningOptions = OpenOptions & {
  readonly ctx: TunnelContext
  readonly upstreams: HttpUpstreams
  readonly cluster: Cluster
  readonly endpoint: Target
}

class Opening implements CallEvents {
  readonly source: string
  readonly #o: OpeningOptions
  readonly #resolve: (tunnel: Tunnel) => void
  readonly #reject: (reason: unknown) => void
  #pending: PendingCall | undefined
  #call: HttpCall | undefined
  #moves = 0
  #isOver = false

  constructor(o: OpeningOptions, resolve: (tunnel: Tunnel) => void, reject: (reason: unknown) => void) {
    this.#o = o
    this.#resolve = resolve
    this.#reject = reject
    this.source = o.client ? deriveSource(o.client.remote.host) : ''
  }

  begin(): void {
    const { signal } = this.#o
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
    else this.#start()
  }
  #start(): void {
    const { ctx, upstreams, endpoint } = this.#o
    let cluster: Cluster
    try {
      cluster = findTunnelCluster(ctx.tables.get(), endpoint.via)
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    const options = { source: this.source, speaks: 'http2', fresh: false, maxHostPicks: 0 } as const
    this.#pending = upstreams.startCall(cluster, { ...options, originalDst: this.#peer }, this)
  }
  /** Who opens the tunnel; its port is the cluster's to say. */
  get #peer(): { readonly host: string; readonly port: number } {
    const { address, port, via } = this.#o.endpoint
    return via.waypoint ?? { host: address, port }
  }

  readonly #onAbort = guard('upstream', doNothing, () => {
    this.#pending?.cancel()
    this.#call?.cancel()
    this.#fail(this.#o.signal.reason)
  })
  #fail(reason: unknown): void {
    if (this.#end()) this.#reject(reason)
  }
  /** @returns false when it was over already */
  #end(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#o.signal.removeEventListener('abort', this.#onAbort)
    return true
  }

  /* CallEvents. */

  onCallPicked(): void {
    /* it is the only one */
  }
  onCallMoved(): void {
    if (++this.#moves <= MAX_MOVES) this.#start()
    else this.#fail(new MeshError('MESH_UPSTREAM_RESET', 'the way to tunnels was replaced again and again'))
  }
  onCall(call: HttpCall): void {
    this.#pending = undefined
    const { cluster, endpoint, ctx } = this.#o
    if (this.#isOver) {
      call.cancel()
      return
    }
    this.#call = call
    const peer = call.certificates?.peer
    if (!isExpected(peer, cluster, endpoint.via)) {
      call.cancel()
      const who = peer?.uriSans.join(', ') ?? 'somebody without a certificate'
      this.#fail(new MeshError('MESH_PEER_MISMATCH', `${this.#peer.host} opens tunnels as ${who}, who is not expected`))
      return
    }
    const { address, port } = endpoint
    const baggage = ctx.telemetry && formatBaggage(ctx.telemetry.workload)
    call.sendHead(
      {
        method: 'CONNECT',
        scheme: 'https',
        authority: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
        path: '',
        headers: baggage ? ['baggage', baggage] : [],
        bodyLength: UNKNOWN_LENGTH,
        maybeTrailers: false,
        upgrade: undefined,
      },
      IS_OPEN,
    )
    call.flush()
  }
  onCallInformational(): void {
    /* the answer follows */
  }
  /** Any answer but 2xx. */
  onCallHead({ status }: ResponseHead): void {
    this.#call?.cancel()
    this.#fail(
      new MeshError(
        'MESH_TUNNEL_REFUSED',
        `${this.#peer.host} answered ${status} to a CONNECT (${WHY[status] ?? '-'})`,
      ),
    )
  }
  onCallUpgraded(_head: ResponseHead, stream: Duplex): void {
    const call = this.#call
    if (!call?.certificates || !this.#end()) {
      stream.on('error', doNothing).destroy()
      return
    }
    const { host, port } = this.#peer
    const remote = { host, port }
    this.#resolve({ stream, local: call.local ?? { host: '', port: 0 }, remote, certificates: call.certificates })
  }
  onCallFailed(error: MeshError, _sent: Sent): void {
    this.#fail(error)
  }
  onCallData(): void {
    /* of an answer that is none */
  }
  onCallEnd(): void {
    this.#fail(new MeshError('MESH_TUNNEL_REFUSED', `${this.#peer.host} ended a CONNECT without a tunnel`))
  }
  onCallPause(): void {
    /* nothing is kept */
  }
  onCallDrained(): void {
    /* a head is all that is sent */
  }
}

/** The head of a CONNECT does not end it. */
const IS_OPEN = false

/** As ztunnel answers. */
const WHY: Readonly<Record<number, string>> = {
  400: 'it does not serve that address',
  401: 'its policies refuse us',
  403: 'its policies refuse us',
  404: 'it does not serve that address',
  503: 'it does not reach the application',
}
