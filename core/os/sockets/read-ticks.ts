/**
 * A socket reads by itself until its buffer is full, and on when there is room. Node's streams do not know that: after
 * each chunk they ask in a tick of its own whether more should be read (maybeReadMore). It costs as much as a small
 * write of ours, and for a socket changes nothing. Rests on a field of Node that is not documented (docs/performance.md).
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'

type State = { readingMore?: boolean }

/** From now on. Other streams than Node's sockets stay as they are. */
export function leaveOutReadTicks(stream: Duplex): void {
  if (!(stream instanceof net.Socket)) return
  const state = (stream as unknown as { readonly _readableState?: State })._readableState
  // Node notes there that it is about to ask, and does not begin a second time.
  if (state?.readingMore !== undefined) state.readingMore = true
}
