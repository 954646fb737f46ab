/**
 * Messages that upstream brokers refused, kept until an operator lists, deletes or requeues them. Each session with an
 * upstream broker has one such queue, `aside/<cluster>/<client id>`.
 */
import type { Durability, DurableQueue, QueueEntry } from './durability.ts'

const ASIDE = 'aside/'
const READ_AT_ONCE = 64

export type SetAsideQueue = { readonly session: string; readonly messages: number; readonly bytes: number }
/** Messages by their numbers; undefined: all. */
export type Chosen = ReadonlySet<number> | undefined

export class SetAside {
  readonly #durability: Durability

  constructor(durability: Durability) {
    this.#durability = durability
  }

  list(): readonly SetAsideQueue[] {
    return this.#durability.queueNames(ASIDE).flatMap((name) => {
      const queue = this.#durability.queue(name)
      if (!queue || queue.depth === 0) return []
      return [{ session: name.slice(ASIDE.length), messages: queue.depth, bytes: queue.bytes }]
    })
  }
  /** Undefined: nothing was ever set aside of such a session. */
  async show(session: string, afterSeq: number, max: number): Promise<readonly QueueEntry[] | undefined> {
    return await this.#queue(session)?.read(afterSeq, max)
  }
  /** @returns how many are gone */
  async purge(session: string, chosen: Chosen): Promise<number | undefined> {
    const queue = this.#queue(session)
    return queue && (await this.#each(queue, chosen, () => Promise.resolve()))
  }
  /**
   * To the end of what waits for the upstream broker. One that it still does not take is set aside again.
   * @returns how many went; `no route`: nothing goes up in that session any more. Rejects as `append` does; what went
   * before is not set aside any more
   */
  async requeue(session: string, chosen: Chosen): Promise<number | 'no route' | undefined> {
    const queue = this.#queue(session)
    if (!queue) return undefined
    const up = this.#upQueue(session)
    if (!up) return 'no route'
    return await this.#each(queue, chosen, ({ message }) => this.#durability.append(message, [up]))
  }

  #queue(session: string): DurableQueue | undefined {
    return this.#durability.queue(ASIDE + session)
  }
  /** With several, as of priorities (bridge/lanes.ts), the first: all lead to the same broker. */
  #upQueue(session: string): DurableQueue | undefined {
    const [lane] = this.#durability.queueNames(`up/${session}\0`)
    return this.#durability.queue(`up/${session}`) ?? (lane === undefined ? undefined : this.#durability.queue(lane))
  }
  async #each(queue: DurableQueue, chosen: Chosen, act: (entry: QueueEntry) => Promise<void>): Promise<number> {
    // What is set aside again meanwhile is not taken once more.
    const upTo = queue.lastSeq
    let count = 0
    for (let cursor = 0; ;) {
      const entries = await queue.read(cursor, READ_AT_ONCE)
      for (const entry of entries) {
        if (entry.seq > upTo) return count
        cursor = entry.seq
        if (chosen && !chosen.has(entry.seq)) continue
        await act(entry)
        queue.done(entry.seq)
        count++
      }
      if (entries.length === 0) return count
    }
  }
}
