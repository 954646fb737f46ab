/**
 * Room that clients share: whoever comes finds some, at the cost of whoever has most. One client that fills it with
 * names or connections that lead nowhere has all of it only as long as nobody else comes.
 */
import { deriveSource } from '../../core/ip-source.ts'
import type { Address } from '../../core/os/network.ts'
import { isLoopback } from '../../model/browser.ts'

/** Whose it is, and what it is for: where no client has more than others, one purpose may have. */
export type Claim = { readonly client: string; readonly purpose: string }
export type Share = Disposable
type Held = Share & Claim & { readonly sinceMs: number; readonly end: () => void }
/** Longest first. */
type Holdings = Map<string, Set<Held>>

export class Shares {
  readonly #max: number
  readonly #patienceMs: number
  readonly #byClient: Holdings = new Map()
  readonly #byPurpose: Holdings = new Map()
  #size = 0

  /** @param p.patienceMs who has most itself gets more only in place of what has lasted so long */
  constructor(p: { max: number; patienceMs: number }) {
    this.#max = p.max
    this.#patienceMs = p.patienceMs
  }

  get size(): number {
    return this.#size
  }

  /**
   * Until it is disposed of. `end` is called when another needs it more; it is not held any more then.
   * @returns undefined when this client has its share
   */
  take(claim: Claim, nowMs: number, end: () => void): Share | undefined {
    if (this.#size >= this.#max && !this.#makeRoom(claim, nowMs)) return undefined
    const held: Held = {
      ...claim,
      sinceMs: nowMs,
      end,
      [Symbol.dispose]: () => {
        this.#release(held)
      },
    }
    add(this.#byClient, claim.client, held)
    add(this.#byPurpose, claim.purpose, held)
    this.#size++
    return held
  }

  #makeRoom({ client, purpose }: Claim, nowMs: number): boolean {
    const [ofClients, ofPurposes] = [largest(this.#byClient), largest(this.#byPurpose)]
    const longest = first(ofClients)
    // One that would then have more than the other is as greedy itself.
    const loser =
      sizeOf(this.#byClient, client) + 1 < ofClients.size
        ? longest
        : sizeOf(this.#byPurpose, purpose) + 1 < ofPurposes.size
          ? first(ofPurposes)
          : longest && nowMs - longest.sinceMs >= this.#patienceMs
            ? longest
            : undefined
    if (!loser) return false
    this.#release(loser)
    loser.end()
    return true
  }

  #release(held: Held): void {
    if (!remove(this.#byClient, held.client, held)) return
    remove(this.#byPurpose, held.purpose, held)
    this.#size--
  }
}

const NONE: ReadonlySet<Held> = new Set()
function largest(holdings: Holdings): ReadonlySet<Held> {
  let most = NONE
  for (const all of holdings.values()) if (all.size > most.size) most = all
  return most
}
function first(all: ReadonlySet<Held>): Held | undefined {
  return all.values().next().value
}
function sizeOf(holdings: Holdings, key: string): number {
  return holdings.get(key)?.size ?? 0
}
function add(holdings: Holdings, key: string, held: Held): void {
  const all = holdings.get(key)
  if (all) all.add(held)
  else holdings.set(key, new Set([held]))
}
function remove(holdings: Holdings, key: string, held: Held): boolean {
  const all = holdings.get(key)
  if (!all?.delete(held)) return false
  if (all.size === 0) holdings.delete(key)
  return true
}

export function toClient({ host }: Address): string {
  return deriveSource(host)
}
/** The same, but for programs of this machine: they have one address together, and each a socket of its own. */
export function toAsker(from: Address): string {
  return isLoopback(from.host) ? `${from.host} ${from.port}` : toClient(from)
}
