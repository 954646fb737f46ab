/**
 * node:http2 ends a connection on which a PING ACK comes that it did not ask for. RFC 9113 §6.7 does not, nor does Envoy, and load balancers and clients with timers
 * of their own send them. What node says of it is what it says of a broken protocol, after which nghttp2 has sent GOAWAY and reads nothing more: a PING tells which it was.
 */
import type { Http2Session } from 'node:http2'
import type { Clock } from '../../agent/core/clock.ts'
import { guarded, nothing } from '../../agent/core/guard.ts'

/** NGHTTP2_ERR_PROTO. */
const PROTOCOL_ERROR = -505
const ANSWER_MS = 1000
/** Of one connection; each costs a PING of ours. */
const MAX_STRAY = 1000

export function tolerateStrayPongs(session: Pick<Http2Session, 'destroy' | 'ping' | 'once'>, clock: Pick<Clock, 'after'>): void {
  const destroy = session.destroy.bind(session)
  let left = MAX_STRAY
  let asking = false
  session.destroy = (error, code) => {
    if ((error as { errno?: unknown } | undefined)?.errno !== PROTOCOL_ERROR || left === 0) { destroy(error, code); return }
    // A further one may be the answer that the first stray one has taken for its own.
    if (asking) return
    left--
    asking = true
    const late = clock.after(ANSWER_MS, guarded('http2', nothing, () => { destroy(error, code) }))
    session.once('close', guarded('http2', nothing, () => { late.cancel() }))
    session.ping(guarded('http2', nothing, (failed: Error | null) => {
      late.cancel()
      asking = false
      if (failed) destroy(error, code)
    }))
  }
}
