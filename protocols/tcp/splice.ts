/**
 * Carries bytes between two streams in both directions, with back-pressure and half-close, until both have ended and
 * all of it has left. A side that breaks off is broken off at the other, too: an end in order would say that what came
 * was all there is.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { guarded } from '../../core/defects/guard.ts'
import { reset } from '../../core/os/network.ts'
import { Outlet } from '../outlet.ts'
import type { Holder, Waiting } from '../waiting.ts'

export type SpliceEnd = 'ended' | 'idle' | 'near-failed' | 'far-failed' | 'aborted'
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
}

/**
 * Resolves when both directions are over. Neither stream is destroyed on `ended`; both are otherwise. Never rejects.
 */
export function splice(near: Duplex, far: Duplex, o: SpliceOptions): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    // Each direction is over when its bytes have left, not when they have come.
    let open = 2
    let movedAtMs = o.clock.monotonicMs()
    let over = false
    const idleMs = o.idleMs ?? 0
    const timer =
      idleMs > 0
        ? o.clock.after(idleMs, function check() {
            const left = movedAtMs + idleMs - o.clock.monotonicMs()
            if (left > 0) timer?.refresh()
            else finish('idle')
          })
        : undefined

    const finish = (how: SpliceEnd): void => {
      if (over) return
      over = true
      timer?.cancel()
      o.signal.removeEventListener('abort', onAbort)
      if (how === 'near-failed') reset(far)
      if (how === 'far-failed') reset(near)
      if (how !== 'ended') {
        near.destroy()
        far.destroy()
      }
      resolve(how)
    }
    const defect = (): void => finish('aborted')
    const onAbort = guarded('tcp', defect, () => finish('aborted'))

    const carry = (from: Duplex, to: Duplex, moved: (bytes: number) => void, failed: SpliceEnd): void => {
      const outlet = new Outlet(to, o.maxBufferBytes, o, () => {
        movedAtMs = o.clock.monotonicMs()
        from.resume()
      })
      from.on(
        'data',
        guarded('tcp', defect, (chunk: Buffer) => {
          movedAtMs = o.clock.monotonicMs()
          moved(chunk.length)
          o.waiting.received(chunk.length)
          to.write(chunk)
          if (outlet.isFull()) from.pause()
        }),
      )
      const left = guarded('tcp', defect, () => {
        if (--open === 0) finish('ended')
      })
      from.once(
        'end',
        guarded('tcp', defect, () => {
          to.end(left)
        }),
      )
      from.once(
        'error',
        guarded('tcp', defect, () => finish(failed)),
      )
      // Closed in order is what has ended both ways.
      from.once(
        'close',
        guarded('tcp', defect, () => {
          if (!from.readableEnded || !from.writableFinished) finish(failed)
        }),
      )
    }
    carry(near, far, o.forwarded, 'near-failed')
    carry(far, near, o.returned, 'far-failed')
    // A stream that was paused explicitly does not begin by itself.
    near.resume()
    far.resume()
    o.signal.addEventListener('abort', onAbort, { once: true })
    if (o.signal.aborted) onAbort()
    else if (near.destroyed) finish('near-failed')
    else if (far.destroyed) finish('far-failed')
  })
}
