/**
 * Ends a connection whose client says nothing for one and a half times its Keep Alive [MQTT-3.1.2-22]. Those that would
 * end in the same quarter of a second share a timer: a timer of Node for each takes 400 bytes.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'
import { memoize } from '../../../core/memoize.ts'

const ROUND_MS = 250

/** Who is watched. */
export interface Listened {
  /** While nothing is read, silence says nothing. */
  readonly isHeld: boolean
  close(err: MeshError): void
}

type Round = { readonly timer: Timer; readonly watched: Set<KeepAlive> }

class Rounds {
  readonly #clock: Clock
  readonly #rounds = new Map<number, Round>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns the round in which it is looked at, at `atMs` or up to ROUND_MS later */
  enter(one: KeepAlive, atMs: number): number {
    const round = Math.ceil(atMs / ROUND_MS)
    const { watched } = this.#rounds.get(round) ?? this.#open(round)
    watched.add(one)
    return round
  }
  leave(one: KeepAlive, round: number): void {
    const known = this.#rounds.get(round)
    if (!known?.watched.delete(one) || known.watched.size > 0) return
    known.timer.cancel()
    this.#rounds.delete(round)
  }

  #open(number: number): Round {
    const watched = new Set<KeepAlive>()
    const timer = this.#clock.after(Math.max(0, number * ROUND_MS - this.#clock.monotonicMs()), () => {
      this.#rounds.delete(number)
      for (const one of watched) look(one)
    })
    const round = { timer, watched }
    this.#rounds.set(number, round)
    return round
  }
}
/** A client with a defect keeps no other from its turn. */
const look = guard('mqtt', doNothing, (one: KeepAlive) => {
  one.look()
})
const getRounds = memoize((clock: Clock) => new Rounds(clock))

export class KeepAlive {
  readonly #clock: Clock
  readonly #client: Listened
  readonly #maxSilenceMs: number
  #heardMs: number
  /** Undefined: it is not watched. */
  #round: number | undefined

  /** @param keepAliveSec 0 = off */
  constructor(clock: Clock, keepAliveSec: number, client: Listened) {
    this.#clock = clock
    this.#client = client
    this.#maxSilenceMs = keepAliveSec * 1500
    this.#heardMs = clock.monotonicMs()
    if (this.#maxSilenceMs > 0) this.#watch(this.#maxSilenceMs)
  }

  noteHeard(): void {
    this.#heardMs = this.#clock.monotonicMs()
  }
  stop(): void {
    if (this.#round !== undefined) getRounds(this.#clock).leave(this, this.#round)
    this.#round = undefined
  }

  /** Its round has come. Whoever was looked at before may have ended it. */
  look(): void {
    if (this.#round === undefined) return
    const silentMs = this.#client.isHeld ? 0 : this.#clock.monotonicMs() - this.#heardMs
    const leftMs = this.#maxSilenceMs - silentMs
    this.#round = undefined
    if (leftMs > 0) this.#watch(leftMs)
    else this.#client.close(new MeshError('MESH_MQTT_KEEP_ALIVE', `nothing was heard for ${this.#maxSilenceMs} ms`))
  }

  #watch(afterMs: number): void {
    this.#round = getRounds(this.#clock).enter(this, this.#clock.monotonicMs() + afterMs)
  }
}
