/**
 * Rebirth Requests to local Edge Nodes (Sparkplug 3.0 §5.11, `Node Control/Rebirth`), so many at a time and so often
 * that what they answer does not bury the link. A request that comes too early waits; it is not lost.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { MAX_NODES } from './edge-nodes.ts'

/** Ten in a second, of all Edge Nodes together. */
const SPACING_MS = 100

/**
 * `gap`: a full queue gave up messages. `sequence`: a sequence number is missing. `host`: the Primary Host Application
 * went, or came. `replay`: what had waited was sent, and current values are to follow.
 */
export type RebirthReason = 'gap' | 'sequence' | 'host' | 'replay'

type Parts = {
  readonly clock: Clock
  send(node: string, reason: RebirthReason): void
}
type Wanted = { readonly reason: RebirthReason; readonly intervalMs: number }

export class Rebirths {
  readonly #p: Parts
  readonly #wanted = new Map<string, Wanted>()
  /** Monotonic milliseconds of the last request. */
  readonly #askedMs = new Map<string, number>()
  #freeMs = -Infinity
  #timer: Timer | undefined
  /** Those that were not asked because too many wait. */
  leftOut = 0

  constructor(p: Parts) {
    this.#p = p
  }
  /** @returns monotonic milliseconds */
  lastAskedMs(node: string): number {
    return this.#askedMs.get(node) ?? -Infinity
  }
  want(node: string, reason: RebirthReason, intervalMs: number): void {
    if (this.#wanted.has(node)) return
    if (this.#wanted.size >= MAX_NODES) {
      this.leftOut++
      return
    }
    this.#wanted.set(node, { reason, intervalMs })
    this.#timer?.cancel()
    this.#schedule()
  }
  /** Nobody is asked any more. */
  stop(): void {
    this.#timer?.cancel()
    this.#wanted.clear()
  }

  #dueMs(node: string, { intervalMs }: Wanted): number {
    return Math.max(this.#freeMs, this.lastAskedMs(node) + intervalMs)
  }
  #schedule(): void {
    let nextMs = Infinity
    for (const [node, wanted] of this.#wanted) nextMs = Math.min(nextMs, this.#dueMs(node, wanted))
    if (nextMs === Infinity) return
    const { clock } = this.#p
    this.#timer = clock.after(Math.max(0, nextMs - clock.monotonicMs()), () => this.#askNext())
  }
  #askNext(): void {
    const nowMs = this.#p.clock.monotonicMs()
    for (const [node, wanted] of this.#wanted) {
      if (this.#dueMs(node, wanted) > nowMs) continue
      this.#wanted.delete(node)
      this.#remember(node, nowMs)
      this.#freeMs = nowMs + SPACING_MS
      this.#p.send(node, wanted.reason)
      break
    }
    this.#schedule()
  }
  #remember(node: string, nowMs: number): void {
    this.#askedMs.delete(node)
    if (this.#askedMs.size >= MAX_NODES) this.#askedMs.delete(this.#askedMs.keys().next().value!)
    this.#askedMs.set(node, nowMs)
  }
}
