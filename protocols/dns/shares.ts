/**
 * Room that clients share: whoever comes finds some, at the cost of whoever has most. One client that fills it with names or connections that lead
 * nowhere has all of it only as long as nobody else comes.
 */
import { ipBytes } from '../../agent/model/ip.ts'

export type Share = Disposable & { readonly client: string }
type Held = Share & { readonly sinceMs: number; readonly end: () => void }

export class Shares {
  readonly #max: number
  readonly #patienceMs: number
  /** Longest first. */
  readonly #held = new Map<string, Set<Held>>()
  #size = 0

  /** @param p.patienceMs a client that has most itself gets more only in place of what has lasted so long */
  constructor(p: { max: number; patienceMs: number }) {
    this.#max = p.max
    this.#patienceMs = p.patienceMs
  }

  get size(): number { return this.#size }

  /**
   * Until it is disposed of. `end` is called when another client needs it more; it is not held any more then.
   * @returns undefined when this client has its share
   */
  take(host: string, nowMs: number, end: () => void): Share | undefined {
    const client = clientOf(host)
    if (this.#size >= this.#max && !this.#makeRoom(client, nowMs)) return undefined
    const all = this.#held.get(client) ?? new Set<Held>()
    const held: Held = { client, sinceMs: nowMs, end, [Symbol.dispose]: () => { this.#release(held) } }
    all.add(held)
    this.#held.set(client, all)
    this.#size++
    return held
  }

  #makeRoom(client: string, nowMs: number): boolean {
    const own = this.#held.get(client)?.size ?? 0
    let most: Set<Held> | undefined
    for (const all of this.#held.values()) if (!most || all.size > most.size) most = all
    const [longest] = most ?? []
    if (!most || !longest) return false
    // One that would then have more than the other is as greedy itself.
    if (own + 1 > most.size - 1 && nowMs - longest.sinceMs < this.#patienceMs) return false
    this.#release(longest)
    longest.end()
    return true
  }

  #release(held: Held): void {
    const all = this.#held.get(held.client)
    if (!all?.delete(held)) return
    this.#size--
    if (all.size === 0) this.#held.delete(held.client)
  }
}

/** An IPv4 address, or the network of 64 bits that one client has of IPv6. */
function clientOf(host: string): string {
  const bytes = ipBytes(host.replace(/%.*$/, ''))
  return bytes?.length === 16 ? Buffer.from(bytes.subarray(0, 8)).toString('hex') : bytes?.join('.') ?? host
}
