/** The end of a connection whose last words, GOAWAY or RST_STREAM, are on their way. */
import type { Duplex } from 'node:stream'
import { guard, doNothing, type Part } from '../../../core/defects/guard.ts'
import type { Clock } from '../../../core/os/clock.ts'

/** What has been said last has so long to leave. */
const LINGER_MS = 1000

/**
 * Calls `then` when all of it has left, nothing of it can leave any more, or it has had its time; more than once,
 * perhaps.
 */
export function callWhenSent(stream: Duplex, clock: Pick<Clock, 'after'>, part: Part, then: () => void): void {
  if (stream.destroyed || stream.writableFinished) {
    then()
    return
  }
  const over = guard(part, doNothing, () => {
    timer.cancel()
    then()
  })
  const timer = clock.after(LINGER_MS, over)
  stream.once('finish', over).once('close', over)
}
