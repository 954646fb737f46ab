/**
 * Changes of retained messages that are not durable yet. The receivers of a message are chosen when it arrives, but the
 * retained value changes only when it is durable. A client that subscribes in between is not a receiver and would find
 * the old value. So changes are numbered, and each subscription knows the last number before it. A subscription that
 * meets a pending change with a lower number waits for it; a change with a higher number is delivered live.
 */
import { TopicTree } from './topic-tree.ts'

export interface Change {
  readonly topic: string
  number: number
}
type Waiter = { readonly since: number; readonly settle: (isLive: boolean) => void }

export class RetainedChanges {
  /** Number of the last change. */
  last = 0
  /** Most topics have one: a list for each would be as large as all else of it. */
  readonly #pending = new Map<string, Change | Change[]>()
  /** Of the same topics, from the first filter that asks for them until none is on its way: many may ask. */
  #topics: TopicTree<string> | undefined
  readonly #waiters = new Map<string, Set<Waiter>>()

  /** Its receivers are being chosen now. */
  begin(change: Change): void {
    change.number = ++this.last
    const pending = this.#pending.get(change.topic)
    if (pending === undefined) {
      this.#pending.set(change.topic, change)
      this.#topics?.set(change.topic, change.topic)
    } else if (!Array.isArray(pending)) {
      if (pending !== change) this.#pending.set(change.topic, [pending, change])
    } else if (!pending.includes(change)) pending.push(change)
  }
  /** It is the topic's value, or it was given up, or is going to begin again. */
  end(change: Change, how: 'saved' | 'given-up'): void {
    const { topic, number } = change
    const pending = this.#pending.get(topic)
    const left = Array.isArray(pending) ? takeOut(pending, change) : pending === change ? 0 : undefined
    if (left === undefined) return
    if (left === 0) {
      this.#pending.delete(topic)
      if (this.#pending.size === 0) this.#topics = undefined
      else this.#topics?.delete(topic)
    }
    if (this.#waiters.size > 0) this.#settle(topic, left, how === 'saved' ? number : 0)
  }
  /** @param saved number of the change that is the topic's value now; 0 = none */
  #settle(topic: string, left: number, saved: number): void {
    const waiters = this.#waiters.get(topic)
    for (const waiter of waiters ?? []) {
      const isLive = saved > waiter.since
      if (!isLive && left > 0) continue
      waiters!.delete(waiter)
      waiter.settle(isLive)
    }
    if (waiters?.size === 0) this.#waiters.delete(topic)
  }

  get isEmpty(): boolean {
    return this.#pending.size === 0
  }
  isPending(topic: string): boolean {
    return this.#pending.has(topic)
  }
  listTopics(filter: string): readonly string[] {
    const found: string[] = []
    if (this.#pending.size === 0) return found
    if (!this.#topics) {
      this.#topics = new TopicTree()
      for (const topic of this.#pending.keys()) this.#topics.set(topic, topic)
    }
    this.#topics.visitTopics(filter, (topic) => found.push(topic))
    return found
  }
  /**
   * @param since the last number before the subscription
   * @param settle once: a later change came live, or nothing is on its way any more
   */
  wait(topic: string, since: number, settle: (isLive: boolean) => void): void {
    const waiter = { since, settle }
    const waiters = this.#waiters.get(topic)
    if (waiters) waiters.add(waiter)
    else this.#waiters.set(topic, new Set([waiter]))
  }
}

/** @returns how many are left; undefined: it is not among them */
function takeOut(pending: Change[], change: Change): number | undefined {
  const at = pending.indexOf(change)
  if (at < 0) return undefined
  pending.splice(at, 1)
  return pending.length
}
