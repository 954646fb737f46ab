/** Carries bytes between two streams in both directions, with back-pressure and half-close, until both have ended. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../agent/core/clock.ts'
import { guarded } from '../../agent/core/guard.ts'

export type SpliceEnd = 'ended' | 'idle' | 'near-failed' | 'far-failed' | 'aborted'
export type SpliceOptions = {
  readonly clock: Clock
  /** Ends the pair when nothing has moved for so long, in either direction; undefined = never. */
  readonly idleMs: number | undefined
  readonly signal: AbortSignal
  /** Called with the size of each chunk: from `near` to `far`, and back. */
  readonly forwarded: (bytes: number) => void
  readonly returned: (bytes: number) => void
}

/** Resolves when both directions are over. Neither stream is destroyed on `ended`; both are otherwise. Never rejects. */
export function splice(near: Duplex, far: Duplex, o: SpliceOptions): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    let open = 2
    let movedAtMs = o.clock.monotonicMs()
    let over = false
    const idleMs = o.idleMs ?? 0
    const timer = idleMs > 0 ? o.clock.after(idleMs, function check() {
      const left = movedAtMs + idleMs - o.clock.monotonicMs()
      if (left > 0) timer?.refresh()
      else finish('idle')
    }) : undefined

    const finish = (how: SpliceEnd): void => {
      if (over) return
      over = true
      timer?.cancel()
      o.signal.removeEventListener('abort', onAbort)
      if (how !== 'ended') { near.destroy(); far.destroy() }
      resolve(how)
    }
    const defect = (): void => finish('aborted')
    const onAbort = guarded('tcp', defect, () => finish('aborted'))

    const carry = (from: Duplex, to: Duplex, moved: (bytes: number) => void, failed: SpliceEnd): void => {
      let ended = false
      const resume = guarded('tcp', defect, () => { from.resume() })
      from.on('data', guarded('tcp', defect, (chunk: Buffer) => {
        movedAtMs = o.clock.monotonicMs()
        moved(chunk.length)
        if (!to.write(chunk)) { from.pause(); to.once('drain', resume) }
      }))
      from.once('end', guarded('tcp', defect, () => {
        ended = true
        to.end()
        if (--open === 0) finish('ended')
      }))
      from.once('error', guarded('tcp', defect, () => finish(failed)))
      from.once('close', guarded('tcp', defect, () => { if (!ended) finish(failed) }))
    }
    carry(near, far, o.forwarded, 'near-failed')
    carry(far, near, o.returned, 'far-failed')
    o.signal.addEventListener('abort', onAbort, { once: true })
    if (o.signal.aborted) onAbort()
    else if (near.destroyed) finish('near-failed')
    else if (far.destroyed) finish('far-failed')
  })
}
