/**
 * The tunnel that a request asks for (an upgrade, or CONNECT), from the request to its last byte. It outlives the
 * answer that opened it, so policies are asked again whenever the tables change.
 */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { detach, guard } from '../../../core/defects/guard.ts'
import type { Endpoint } from '../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Downstream, RequestHead, ResponseHead } from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import { refuseInClear, openConnectTunnel, findRefusal } from './connect-tunnel.ts'
import type { ForwardPlan } from './planning/plan.ts'
import type { ExchangeRecord } from './record.ts'
import type { RequestOrigin } from './request-origin.ts'
import { Tunnel } from './tunnel.ts'

/** The exchange, as its tunnel sees it. */
export interface TunnelOwner {
  readonly source: string
  readonly client: RequestOrigin
  readonly http: HttpConnectionManager
  readonly down: Downstream
  readonly record: ExchangeRecord
  readonly remoteIp: string
  /** CONNECT has its connection: `open` comes next. */
  onConnected(endpoint: Endpoint, far: FarEnd): void
  onTunnelEnd(error: MeshError | undefined): void
  /** The connection failed, or a callback did. */
  abort(error: MeshError): void
}

/** The endpoint's side of a tunnel. `release`: once, when it is over. */
export type FarEnd = {
  readonly stream: Duplex
  readonly rest: Buffer | undefined
  readonly release: (failed: boolean) => void
}

type State =
  | { readonly kind: 'requested' }
  | { readonly kind: 'connecting'; readonly stop: AbortController }
  | { readonly kind: 'open'; readonly tunnel: Tunnel; readonly watch: Disposable }
  | { readonly kind: 'over' }

export class RequestedTunnel {
  readonly #rt: HttpRuntime
  readonly #owner: TunnelOwner
  /** As it came. The head itself is edited on its way out. */
  readonly #asked: RequestHead
  readonly #request: Pick<RequestHead, 'metadata'>
  #state: State = { kind: 'requested' }

  constructor(rt: HttpRuntime, owner: TunnelOwner, request: RequestHead) {
    this.#rt = rt
    this.#owner = owner
    this.#asked = request.copy()
    this.#request = request
  }

  /** For CONNECT; an upgrade uses the connection of its attempt. */
  connect(plan: ForwardPlan): void {
    const owner = this.#owner
    const stop = new AbortController()
    this.#state = { kind: 'connecting', stop }
    detach(
      'exchange',
      openConnectTunnel(this.#rt, plan, owner.client.conn, stop.signal).then(
        (up) => {
          if (this.#state.kind === 'connecting') {
            const { stream, endpoint } = up
            const release = (failed: boolean): void => up.release(failed ? 'failed' : 'ok')
            owner.onConnected(endpoint, { stream, rest: undefined, release })
            return
          }
          up.release('ok')
          up.stream.destroy()
        },
        (error: unknown) => {
          if (this.#state.kind === 'connecting')
            owner.abort(
              error instanceof MeshError
                ? error
                : new MeshError('MESH_INTERNAL', 'the tunnel could not be opened', { cause: error }),
            )
        },
      ),
      (error) => owner.abort(error),
    )
  }

  /** Why policies would refuse the tunnel now. */
  refusal(plan: ForwardPlan): MeshError | undefined {
    const { client, remoteIp, record } = this.#owner
    const { ctx } = this.#rt
    // What filters have found out that are asked once, as what its token says.
    this.#asked.metadata = this.#request.metadata
    return (
      findRefusal(this.#asked, client, remoteIp, ctx) ?? refuseInClear(plan.cluster, record.endpoint, ctx.tables.get())
    )
  }

  /** Sends `head` to the client and joins the two streams. */
  open(head: ResponseHead, far: FarEnd, plan: ForwardPlan): void {
    const owner = this.#owner
    const { ctx, waiting } = this.#rt
    const { record, client } = owner
    const { conn } = client
    const near = owner.down.takeOver(head)
    if (this.#state.kind === 'over') {
      near.stream.destroy()
      far.stream.destroy()
      far.release(false)
      return
    }
    const tunnel = new Tunnel(near, far, {
      clock: ctx.clock,
      waiting,
      client: owner.source,
      maxBufferBytes: ctx.limits.maxBufferBytes,
      idleMs: this.#idleMs(plan),
      onClientBytes: (bytes) => {
        record.receivedBytes += bytes
        conn.receivedBytes += bytes
      },
      onServerBytes: (bytes) => {
        record.sentBytes += bytes
        conn.sentBytes += bytes
      },
      onEnd: (error) => {
        far.release(error?.code === 'MESH_UPSTREAM_RESET')
        owner.onTunnelEnd(error)
      },
    })
    const watch = ctx.tables.watch(
      guard(
        'exchange',
        (error) => owner.abort(error),
        () => {
          const refusal = this.refusal(plan)
          if (refusal) this.abort(refusal)
        },
      ),
    )
    this.#state = { kind: 'open', tunnel, watch }
  }

  /** What an explicit proxy carries is opaque, and may be silent for as long as a TCP connection. */
  #idleMs({ action }: ForwardPlan): number {
    const { idleMs } = this.#rt.ctx.limits
    return action.idleMs ?? (this.#asked.method === 'CONNECT' ? idleMs : (this.#owner.http.streamIdleMs ?? idleMs))
  }

  /** Cuts the tunnel off; onTunnelEnd follows. */
  abort(error: MeshError): void {
    if (this.#state.kind === 'open') this.#state.tunnel.abort(error)
    else this.#owner.onTunnelEnd(error)
  }

  /** The exchange is over. */
  end(): void {
    const state = this.#state
    this.#state = { kind: 'over' }
    if (state.kind === 'connecting') state.stop.abort(new MeshError('MESH_CLIENT_GONE', 'the client left'))
    else if (state.kind === 'open') state.watch[Symbol.dispose]()
  }
}
