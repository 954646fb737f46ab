/** Two byte streams joined, for upgrades and CONNECT: what came with the heads first, then as tcp/splice.ts does it. */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { detach, doNothing } from '../../../core/defects/guard.ts'
import type { Context } from '../../context.ts'
import { splice, type SpliceEnd } from '../../tcp/splice.ts'
import { findRefusal } from '../../tls/client.ts'
import type { Waiting } from '../../waiting.ts'

export type TunnelEnd = { readonly stream: Duplex; readonly rest: Buffer | undefined }
export type TunnelOptions = {
  readonly clock: Context['clock']
  readonly waiting: Waiting
  /** Its address. */
  readonly client: string
  readonly maxBufferBytes: number
  /** Nothing in either direction for so long ends it. */
  readonly idleMs: number
  readonly onClientBytes: (bytes: number) => void
  readonly onServerBytes: (bytes: number) => void
  /**
   * Both ends are closed. `error`: MESH_IDLE_TIMEOUT, MESH_CLIENT_GONE or MESH_UPSTREAM_RESET; undefined = both sides
   * ended in order.
   */
  readonly onEnd: (error: MeshError | undefined) => void
}

export class Tunnel {
  readonly #client: Duplex
  readonly #server: Duplex
  readonly #options: TunnelOptions
  readonly #stop = new AbortController()
  #aborted: MeshError | undefined

  constructor(client: TunnelEnd, server: TunnelEnd, options: TunnelOptions) {
    this.#client = client.stream
    this.#server = server.stream
    this.#options = options
    for (const { stream, rest } of [client, server]) {
      stream.on('error', doNothing)
      if (rest && rest.length > 0 && !stream.destroyed) stream.unshift(rest)
    }
    const spliced = splice(client.stream, server.stream, {
      clock: options.clock,
      waiting: options.waiting,
      holder: {
        client: options.client,
        giveUp: (error) => {
          this.abort(error)
        },
      },
      maxBufferBytes: options.maxBufferBytes,
      idleMs: options.idleMs,
      signal: this.#stop.signal,
      forwarded: options.onClientBytes,
      returned: options.onServerBytes,
    })
    detach(
      'exchange',
      spliced.then((how) => {
        this.#ended(how)
      }),
      (error) => {
        this.#destroy()
        options.onEnd(error)
      },
    )
  }

  abort(error: MeshError): void {
    this.#aborted ??= error
    this.#stop.abort()
  }

  #ended(how: SpliceEnd): void {
    // All of it has left by now.
    this.#server.destroy()
    this.#options.onEnd(this.#error(how))
  }

  #error(how: SpliceEnd): MeshError | undefined {
    switch (how) {
      case 'ended':
        return undefined
      case 'aborted':
        return this.#aborted ?? new MeshError('MESH_INTERNAL', 'the tunnel failed by a defect')
      case 'idle':
        return new MeshError('MESH_IDLE_TIMEOUT', `nothing moved in the tunnel for ${this.#options.idleMs} ms`)
      case 'near-failed':
        return findRefusal(this.#client) ?? new MeshError('MESH_CLIENT_GONE', 'the client broke the tunnel off')
      case 'far-failed':
        return findRefusal(this.#server) ?? new MeshError('MESH_UPSTREAM_RESET', 'the endpoint broke the tunnel off')
      default:
        return how satisfies never
    }
  }

  #destroy(): void {
    this.#client.destroy()
    this.#server.destroy()
  }
}
