/**
 * How long authorization policies hold without a control plane. By default for ever: a site goes on when its link is
 * away for a year. Where a peer that was locked out centrally must not come in at an island for longer than so long,
 * inbound listeners close after that.
 */
import type { Clock, Timer } from '../core/os/clock.ts'
import type { Listener } from '../model/listener.ts'

export class AuthorizationAge implements Disposable {
  readonly #o: {
    readonly clock: Clock
    readonly maxAgeMs: number
    readonly isConnected: () => boolean
    readonly changed: () => void
  }
  #timer: Timer | undefined
  #expired = false

  /** @param options.maxAgeMs 0 = for ever. @param options.changed called when `expired` has changed */
  constructor(options: {
    readonly clock: Clock
    readonly maxAgeMs: number
    readonly isConnected: () => boolean
    readonly changed: () => void
  }) {
    this.#o = options
  }

  get expired(): boolean {
    return this.#expired
  }

  /**
   * @param contactAtMs wall milliseconds; undefined = never. What a clock that went back says of the past is not
   * believed.
   */
  restored(contactAtMs: number | undefined): void {
    const { clock, maxAgeMs } = this.#o
    if (maxAgeMs === 0) return
    const age = contactAtMs === undefined ? maxAgeMs : Math.max(0, clock.wallMs() - contactAtMs)
    if (age >= maxAgeMs) this.#set(true)
    else this.#arm(maxAgeMs - age)
  }
  /** The control plane was heard of. */
  contact(): void {
    if (this.#o.maxAgeMs === 0) return
    this.#arm(this.#o.maxAgeMs)
    this.#set(false)
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  #arm(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#o.clock.after(ms, () => {
      if (this.#o.isConnected()) this.#arm(this.#o.maxAgeMs)
      else this.#set(true)
    })
  }
  #set(expired: boolean): void {
    if (expired === this.#expired) return
    this.#expired = expired
    this.#o.changed()
  }
}

const REASON = 'no control plane has confirmed its authorization policies for longer than control.authorizationMaxAgeMs'

/**
 * The listener with all of its chains closed; the same object where it lets nobody in: not inbound, and not a
 * gateway's.
 */
export function closeInbound(listener: Listener, isGateway = false): Listener {
  if (listener.direction !== 'inbound' && !isGateway) return listener
  const closed = <C extends Listener['filterChains'][number]>(chain: C): C => ({
    ...chain,
    codec: { kind: 'blocked', reason: REASON },
  })
  return {
    ...listener,
    filterChains: listener.filterChains.map(closed),
    defaultFilterChain: listener.defaultFilterChain && closed(listener.defaultFilterChain),
  }
}
