/**
 * Bytes that wait in this process for a peer that does not take them, or for one that is not there yet: answers for
 * their clients, requests for their endpoints, what tunnels and TCP connections carry. Each has a bound of its own
 * (limits.maxBufferBytes, windows); all of them together have the memory budget. When that is used up, the source that
 * has most waiting goes first, and of it what has stood still longest. The same when a client's standing still takes
 * the last place at a cluster (max_requests) from those who do read.
 */
import { MeshError } from '../core/errors.ts'
import { MemoryBudget } from '../core/runtime/memory-budget.ts'
import type { Cell } from '../core/metrics.ts'
import { LinkedList, type Place } from '../core/runtime/linked-list.ts'
import { memoize } from '../core/memoize.ts'
import type { Cluster } from '../model/cluster.ts'
import { deriveSource } from '../core/ip-source.ts'
import type { Context } from './context.ts'

/** A socket that is paused has one piece more in hand before Node stops reading it. */
export const READ_AHEAD_BYTES = 64 * 1024

/** The connection or stream on whose behalf memory is held. */
export interface Holder {
  /** The client's address: whose doing it is. */
  readonly client: string
  /** Which cluster has a request under way for it. */
  readonly cluster?: Cluster | undefined
  /** What goes; left out: a stream. A copy goes before everything else, for nobody misses it now. */
  readonly what?: 'stream' | 'replay-copy'
  /** At once: what it holds is free when this returns, or a turn later. */
  giveUp(error: MeshError): void
}

/** What one stream, or one direction of it, has waiting. */
export class Hold {
  readonly holder: Holder
  readonly #all: Waiting
  #bytes = 0
  /** Since when nothing has left. */
  stillMs = 0
  /** Among those that wait. Set by Waiting. */
  place: Place<Hold> | undefined

  /** Only by Waiting. */
  constructor(all: Waiting, holder: Holder) {
    this.#all = all
    this.holder = holder
  }
  get bytes(): number {
    return this.#bytes
  }
  set(bytes: number): void {
    const by = bytes - this.#bytes
    if (by === 0) return
    const isNew = this.#bytes === 0
    this.#bytes = bytes
    this.#all.changed(this, by, isNew)
  }
}

export class Waiting {
  readonly #budget: MemoryBudget
  readonly #nowMs: () => number
  /** In the order in which they began to wait. */
  readonly #holds = new LinkedList<Hold>()
  readonly #madeRoom: Cell
  #bytes = 0

  constructor(ctx: Pick<Context, 'budget' | 'clock' | 'metrics'>) {
    this.#budget = ctx.budget ?? new MemoryBudget({ maxBytes: Infinity })
    this.#nowMs = () => ctx.clock.monotonicMs()
    this.#budget.onOver(
      (isEnough) => {
        this.#shed(isEnough)
      },
      () => this.#bytes,
    )
    this.#madeRoom = ctx.metrics
      .counter(
        'mesh_upstream_stalled_ended_total',
        'Exchanges whose clients took nothing, ended for others when a cluster had as many requests as it may (max_requests).',
      )
      .cell({})
    ctx.metrics.gaugeOf(
      'mesh_stream_waiting_bytes',
      'Of the memory budget: bytes of HTTP, tunnels and TCP that wait for a peer.',
      () => this.#bytes,
    )
  }

  hold(holder: Holder): Hold {
    return new Hold(this, holder)
  }

  /** After each chunk that came, from clients and endpoints alike. */
  received(bytes: number): void {
    this.#budget.garbage?.received(bytes)
  }

  /** A peer with waiting bytes should not begin more. */
  get isTight(): boolean {
    return this.#budget.isTight
  }

  /** By a Hold. */
  changed(hold: Hold, by: number, isNew: boolean): void {
    this.#bytes += by
    if (by < 0) this.#budget.give(-by)
    else this.#budget.take(by)
    if (isNew || by < 0) hold.stillMs = this.#nowMs()
    if (isNew) hold.place = this.#holds.add(hold)
    else if (hold.bytes === 0) this.#holds.delete(hold.place)
  }

  /** @returns true when an exchange that had stood still was ended, of whoever has most of them at the cluster */
  makeRoom(cluster: Cluster): boolean {
    const byClient = new Map<string, { count: number; first: Hold }>()
    let most: { count: number; first: Hold } | undefined
    for (const hold of this.#holds) {
      if (hold.holder.cluster !== cluster) continue
      const source = deriveSource(hold.holder.client)
      const known = byClient.get(source)
      if (known) known.count++
      const of = known ?? { count: 1, first: hold }
      if (!known) byClient.set(source, of)
      if (!most || of.count > most.count) most = of
    }
    if (!most) return false
    this.#madeRoom.value++
    this.#giveUp(
      most.first,
      new MeshError(
        'MESH_STREAM_STALLED',
        `cluster ${cluster.name} has as many requests as it may (max_requests), and this one's client did not take its answer`,
      ),
    )
    return true
  }

  #shed(isEnough: () => boolean): void {
    const sums = new Map<string, number>()
    const all = [...this.#holds].map((hold) => ({ hold, source: deriveSource(hold.holder.client) }))
    for (const { hold, source } of all) sums.set(source, (sums.get(source) ?? 0) + hold.bytes)
    const isCopy = ({ hold }: { hold: Hold }): number => (hold.holder.what === 'replay-copy' ? 1 : 0)
    all.sort(
      (a, b) =>
        isCopy(b) - isCopy(a) ||
        (a.source === b.source ? a.hold.stillMs - b.hold.stillMs : sums.get(b.source)! - sums.get(a.source)!),
    )
    for (const { hold } of all) {
      if (isEnough()) return
      if (hold.bytes === 0) continue
      this.#budget.countGivenUp(hold.holder.what ?? 'stream')
      this.#giveUp(
        hold,
        new MeshError(
          'MESH_STREAM_STALLED',
          'the memory budget is used up, and what waits for this peer was the most (limits.maxQueuedMemoryBytes)',
        ),
      )
    }
  }
  /** It counts no longer, whatever its owner does. */
  #giveUp(hold: Hold, error: MeshError): void {
    try {
      hold.holder.giveUp(error)
    } finally {
      hold.set(0)
    }
  }
}

/** One per context. */
export const getWaiting = memoize((ctx: Pick<Context, 'budget' | 'clock' | 'metrics'>) => new Waiting(ctx))
