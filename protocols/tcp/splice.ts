/**
 * Carries bytes between two streams in both directions, with back-pressure and half-close, until both have ended and
 * all of it has left. A side that breaks off is broken off at the other, too: an end in order would say that what came
 * was all there is.
 */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { guard } from '../../core/defects/guard.ts'
import { reset } from '../../core/os/network.ts'
import { Outlet } from '../outlet.ts'
import type { Holder, Waiting } from '../waiting.ts'

export type SpliceEnd = 'ended' | 'idle' | 'near-failed' | 'far-failed' | 'aborted'
/** Takes something off in front of the bytes of one side. */
export type Preamble = {
  /** @returns what goes on of it; a text: nothing more of this side may */
  take(chunk: Buffer): Buffer | string
  end(): Buffer
}
export type SpliceOptions = {
  readonly clock: Clock
  /** Ends the pair when nothing has moved for so long, in either direction; undefined = never. */
  readonly idleMs: number | undefined
  readonly signal: AbortSignal
  readonly maxBufferBytes: number
  readonly waiting: Waiting
  readonly holder: Holder
  /** Called with the size of each chunk: from `near` to `far`, and back. */
  readonly forwarded: (bytes: number) => void
  readonly returned: (bytes: number) => void
  /** Of what comes from `near` and from `far`. */
  readonly nearPreamble?: Preamble | undefined
  readonly farPreamble?: Preamble | undefined
}

/**
 * Resolves when both directions are over. Neither stream is destroyed on `ended`; both are otherwise. Never rejects.
 */
export function splice(near: Duplex, far: Duplex, o: SpliceOptions): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    new Splice(near, far, o, resolve).begin()
  })
}

type Direction = {
  readonly moved: (bytes: number) => void
  readonly failed: SpliceEnd
  readonly preamble: Preamble | undefined
}

class Splice {
  readonly #near: Duplex
  readonly #far: Duplex
  readonly #o: SpliceOptions
  readonly #resolve: (how: SpliceEnd) => void
  readonly #idle: Timer | undefined
  #movedAtMs: number
  /** Directions whose bytes have not all left. */
  #directionsLeft = 2
  #isOver = false

  constructor(near: Duplex, far: Duplex, o: SpliceOptions, resolve: (how: SpliceEnd) => void) {
    this.#near = near
    this.#far = far
    this.#o = o
    this.#resolve = resolve
    this.#movedAtMs = o.clock.monotonicMs()
    const { idleMs } = o
    this.#idle = idleMs !== undefined && idleMs > 0 ? o.clock.after(idleMs, () => this.#checkIdle(idleMs)) : undefined
  }

  begin(): void {
    const near = this.#near
    const far = this.#far
    const { signal, forwarded, returned } = this.#o
    const { nearPreamble, farPreamble } = this.#o
    this.#carry(near, far, { moved: forwarded, failed: 'near-failed', preamble: nearPreamble })
    this.#carry(far, near, { moved: returned, failed: 'far-failed', preamble: farPreamble })
    // A stream that was paused explicitly does not begin by itself.
    near.resume()
    far.resume()
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
    else if (near.destroyed) this.#finish('near-failed')
    else if (far.destroyed) this.#finish('far-failed')
  }

  #carry(from: Duplex, to: Duplex, { moved, failed, preamble }: Direction): void {
    const { clock, maxBufferBytes, waiting } = this.#o
    const outlet = new Outlet(to, maxBufferBytes, this.#o, () => {
      this.#movedAtMs = clock.monotonicMs()
      from.resume()
    })
    const onData = guard('tcp', this.#defect, (chunk: Buffer) => {
      this.#movedAtMs = clock.monotonicMs()
      moved(chunk.length)
      waiting.received(chunk.length)
      const rest = preamble ? preamble.take(chunk) : chunk
      if (typeof rest === 'string') this.#finish(failed)
      else if (rest.length > 0) to.write(rest)
      if (outlet.isFull()) from.pause()
    })
    // A direction is over when its bytes have left, not when they have come.
    const onLeft = guard('tcp', this.#defect, () => {
      if (--this.#directionsLeft === 0) this.#finish('ended')
    })
    const onEnd = guard('tcp', this.#defect, () => {
      const rest = preamble?.end()
      if (rest && rest.length > 0) to.write(rest)
      to.end(onLeft)
    })
    const onError = guard('tcp', this.#defect, () => this.#finish(failed))
    // Closed in order is what has ended both ways.
    const onClose = guard('tcp', this.#defect, () => {
      if (!from.readableEnded || !from.writableFinished) this.#finish(failed)
    })
    from.on('data', onData).once('end', onEnd).once('error', onError).once('close', onClose)
  }

  #checkIdle(idleMs: number): void {
    if (this.#movedAtMs + idleMs > this.#o.clock.monotonicMs()) this.#idle?.refresh()
    else this.#finish('idle')
  }

  readonly #defect = (): void => this.#finish('aborted')
  readonly #onAbort = guard('tcp', this.#defect, () => this.#finish('aborted'))

  #finish(how: SpliceEnd): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#idle?.cancel()
    this.#o.signal.removeEventListener('abort', this.#onAbort)
    if (how === 'near-failed') reset(this.#far)
    if (how === 'far-failed') reset(this.#near)
    if (how !== 'ended') {
      this.#near.destroy()
      this.#far.destroy()
    }
    this.#resolve(how)
  }
}
