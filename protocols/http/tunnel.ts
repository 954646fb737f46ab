/**
 * Two byte streams joined: what one says the other gets, with back-pressure and half-close. For upgrades and CONNECT.
 * Nothing is buffered beyond the high-water mark of each stream.
 */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../agent/core/errors.ts'
import { guarded, nothing } from '../../agent/core/guard.ts'
import type { Context } from '../context.ts'
import { refusalOf } from '../tls/client.ts'
import type { Deadline, Deadlines } from './deadlines.ts'

export type TunnelEnd = { readonly stream: Duplex; readonly rest: Buffer | undefined }
export type TunnelOptions = {
  readonly deadlines: Deadlines
  readonly clock: Context['clock']
  /** Nothing in either direction for so long ends it. */
  readonly idleMs: number
  readonly onClientBytes: (bytes: number) => void
  readonly onServerBytes: (bytes: number) => void
  /** Both ends are closed. `error`: MESH_IDLE_TIMEOUT, MESH_CLIENT_GONE or MESH_UPSTREAM_RESET; undefined = both sides ended in order. */
  readonly onEnd: (error: MeshError | undefined) => void
}

export class Tunnel implements Deadline {
  dueMs = Infinity
  readonly #client: Duplex
  readonly #server: Duplex
  readonly #options: TunnelOptions
  #ended = 0
  #over = false

  constructor(client: TunnelEnd, server: TunnelEnd, options: TunnelOptions) {
    this.#client = client.stream
    this.#server = server.stream
    this.#options = options
    options.deadlines.add(this)
    this.#touch()
    this.#join(client, server.stream, options.onClientBytes, 'MESH_CLIENT_GONE', 'the client broke the tunnel off')
    this.#join(server, client.stream, options.onServerBytes, 'MESH_UPSTREAM_RESET', 'the endpoint broke the tunnel off')
  }

  onDue(): void { this.#end(new MeshError('MESH_IDLE_TIMEOUT', `nothing moved in the tunnel for ${this.#options.idleMs} ms`)) }

  abort(error: MeshError): void { this.#end(error) }
  readonly broken = (error: MeshError): void => this.#end(error)

  #join(from: TunnelEnd, to: Duplex, count: (bytes: number) => void, goneCode: 'MESH_CLIENT_GONE' | 'MESH_UPSTREAM_RESET', gone: string): void {
    const { stream } = from
    const pass = guarded('exchange', this.broken, (chunk: Buffer) => {
      this.#touch()
      count(chunk.length)
      if (!to.write(chunk)) stream.pause()
    })
    stream.on('data', pass)
    to.on('drain', guarded('exchange', this.broken, () => { stream.resume() }))
    stream.on('end', guarded('exchange', this.broken, () => {
      to.end()
      if (++this.#ended === 2) this.#end(undefined)
    }))
    stream.on('error', nothing)
    stream.on('close', guarded('exchange', this.broken, () => this.#end(stream.readableEnded ? undefined : refusalOf(stream) ?? new MeshError(goneCode, gone))))
    if (from.rest && from.rest.length > 0) pass(from.rest)
    if (stream.destroyed) this.#end(new MeshError(goneCode, gone))
    else stream.resume()
  }

  #touch(): void {
    const { deadlines, clock, idleMs } = this.#options
    deadlines.arm(this, clock.monotonicMs() + idleMs)
  }

  #end(error: MeshError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#options.deadlines.delete(this)
    for (const stream of [this.#client, this.#server]) {
      // What was written in an orderly end still has to leave.
      if (error) stream.destroy()
      else stream.end(() => stream.destroy())
    }
    this.#options.onEnd(error)
  }
}
