/**
 * An endpoint with several addresses (Envoy's additional_addresses): families by turns, the next address after 300 ms or
 * as soon as the last one has failed, and whoever connects first is taken (RFC 8305 §4 and §5).
 */
import net from 'node:net'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import type { Clock, Timer } from '../../core/os/clock.ts'
import type { Address, KeepAlive, Network, NetStream } from '../../core/os/network.ts'
import type { HappyEyeballs } from '../../model/cluster.ts'

/** Envoy's, between the lowest and the recommended value of RFC 8305 §8. */
const ATTEMPT_DELAY_MS = 300
/** Of one connection; the others are not tried. */
const MAX_ATTEMPTS = 16

type DialOptions = { readonly from?: string; readonly keepAlive?: KeepAlive; readonly order?: HappyEyeballs }

/** The first family is that of the first address, unless another is named; within a family the order stays. */
export function sortByFamily(
  addresses: readonly Address[],
  { first, count }: HappyEyeballs = { count: 1 },
): readonly Address[] {
  const isFirst = first === undefined ? net.isIPv6(addresses[0]?.host ?? '') : first === 6
  const near = addresses.filter(({ host }) => net.isIPv6(host) === isFirst)
  const far = addresses.filter(({ host }) => net.isIPv6(host) !== isFirst)
  const all: Address[] = []
  while (near.length + far.length > 0) all.push(...near.splice(0, count), ...far.splice(0, 1))
  return all
}

/** Rejects as Network.dial: with what the last address that failed said, or the signal's reason. */
export function dialFirst(
  { network, clock }: { readonly network: Network; readonly clock: Clock },
  addresses: readonly Address[],
  signal: AbortSignal,
  options: DialOptions,
): Promise<NetStream> {
  const [only, ...others] = sortByFamily(addresses, options.order).slice(0, MAX_ATTEMPTS)
  if (others.length === 0) return network.dial(only!, signal, options)
  return new Race(network, clock, { left: [only!, ...others], signal, options }).begin()
}

class Race {
  readonly #network: Network
  readonly #clock: Clock
  readonly #left: Address[]
  readonly #signal: AbortSignal
  readonly #options: DialOptions
  /** Ends the attempts that are not needed any more. */
  readonly #over = new AbortController()
  readonly #won = Promise.withResolvers<NetStream>()
  #running = 0
  #next: Timer | undefined

  constructor(
    network: Network,
    clock: Clock,
    p: { readonly left: Address[]; readonly signal: AbortSignal; readonly options: DialOptions },
  ) {
    this.#network = network
    this.#clock = clock
    this.#left = p.left
    this.#signal = p.signal
    this.#options = p.options
  }

  begin(): Promise<NetStream> {
    this.#attempt()
    return this.#won.promise
  }

  #attempt(): void {
    this.#next?.cancel()
    const to = this.#left.shift()
    if (!to || this.#over.signal.aborted) return
    this.#running++
    detach('upstream', this.#dial(to))
    if (this.#left.length > 0)
      this.#next = this.#clock.after(
        ATTEMPT_DELAY_MS,
        guard('upstream', doNothing, () => this.#attempt()),
      )
  }

  async #dial(to: Address): Promise<void> {
    try {
      const made = await this.#network.dial(to, AbortSignal.any([this.#signal, this.#over.signal]), this.#options)
      // Two may connect in the same turn.
      if (this.#over.signal.aborted) made.stream.on('error', doNothing).destroy()
      else this.#won.resolve(made)
      this.#end()
    } catch (thrown) {
      this.#running--
      if (this.#signal.aborted || (this.#running === 0 && this.#left.length === 0)) {
        this.#won.reject(thrown)
        this.#end()
      } else this.#attempt()
    }
  }
  #end(): void {
    this.#next?.cancel()
    this.#over.abort()
  }
}
