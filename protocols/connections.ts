/** Every open connection, so that draining and the recheck after a configuration change can reach it. */
import type { MeshError } from '../agent/core/errors.ts'
import type { Address } from '../agent/core/network.ts'
import type { FilterChain, Listener } from '../agent/model/listener.ts'
import type { Connection } from './connection.ts'
import type { ChainFacts } from './filter-chain.ts'

export type Live = {
  readonly conn: Connection
  readonly facts: ChainFacts
  /** False until a codec serves it: then a drain is an end, for nothing has begun. */
  serving: boolean
  /** End after the exchange at hand. @param reason what the peer is told where the protocol has words for it; default: the agent goes */
  drain(reason?: MeshError): void
  /** End now. */
  abort(reason: Error): void
}

export class Connections {
  readonly #live = new Set<Live>()
  readonly #idle = new Set<() => void>()
  readonly #first = Promise.withResolvers<void>()
  #made = 0

  /** Resolves with the first connection that a codec serves. */
  get first(): Promise<void> { return this.#first.promise }
  get size(): number { return this.#live.size }
  *[Symbol.iterator](): Iterator<Live> { yield* this.#live }
  countOf(listener: string): number {
    let count = 0
    for (const { conn } of this.#live) if (conn.listener.name === listener) count++
    return count
  }

  open(p: { local: Address; remote: Address; originalDst: Address | undefined; startedMs: number; listener: Listener; chain: FilterChain; stream: Connection['stream']; facts: ChainFacts }): Live {
    const draining = new AbortController()
    const aborted = new AbortController()
    const conn: Connection = {
      id: (++this.#made).toString(36), local: p.local, remote: p.remote, originalDst: p.originalDst, startedMs: p.startedMs, listener: p.listener, chain: p.chain, stream: p.stream, tls: undefined,
      offered: { transport: p.facts.transport, serverName: p.facts.serverName, alpn: p.facts.alpn },
      draining: draining.signal, aborted: aborted.signal, receivedBytes: 0, sentBytes: 0, cluster: '-',
    }
    const live: Live = {
      conn, facts: p.facts, serving: false,
      drain: (reason) => { draining.abort(reason) },
      abort: (reason) => { draining.abort(reason); aborted.abort(reason); conn.stream.destroy() },
    }
    this.#live.add(live)
    return live
  }
  /** A codec serves it from now on. */
  served(live: Live): void {
    live.serving = true
    this.#first.resolve()
  }
  close(live: Live): void {
    this.#live.delete(live)
    if (this.#live.size === 0) { for (const resolve of this.#idle) resolve(); this.#idle.clear() }
  }
  /** Resolves when none is open. */
  async whenNone(): Promise<void> {
    if (this.#live.size > 0) await new Promise<void>((resolve) => { this.#idle.add(resolve) })
  }
}
