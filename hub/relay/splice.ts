/** Two streams of relays as one: bytes both ways, each no faster than the other takes them, each with its own end. */
import { MeshError } from '../../core/errors.ts'
import type { RelayStream } from '../../core/relay/stream.ts'

export type SpliceEnd = {
  /** From the first to the second, and back. */
  readonly sent: number
  readonly received: number
  /** Why it ended; undefined: both sides had said all. */
  readonly reason: MeshError | undefined
}
export type Splice = {
  readonly ended: Promise<SpliceEnd>
  end(reason: MeshError): void
}

export type SpliceEvents = {
  /** The second has said something, for the first time. */
  readonly onAnswer: () => void
  /** What the first is told when the second was reset. */
  readonly explain: (reason: MeshError) => MeshError
}

export function spliceStreams(first: RelayStream, second: RelayStream, on: SpliceEvents): Splice {
  const { promise: ended, resolve } = Promise.withResolvers<SpliceEnd>()
  const [sent, received] = [{ bytes: 0 }, { bytes: 0 }]
  let open = 2
  let isAnswered = false
  const finish = (reason: MeshError | undefined): void => {
    if (reason) for (const stream of [first, second]) stream.reset(reason)
    resolve({ sent: sent.bytes, received: received.bytes, reason })
  }
  const carry = (from: RelayStream, to: RelayStream, count: { bytes: number }): void => {
    from.listen({
      onMessage: (message) => {
        if (from === second && !isAnswered) {
          isAnswered = true
          on.onAnswer()
        }
        count.bytes += message.length
        if (!to.send(message)) from.pause()
      },
      onEnd: () => {
        to.end()
        if (--open === 0) finish(undefined)
      },
      onReset: (reason) => finish(from === second ? on.explain(reason) : reason),
      onDrain: () => to.resume(),
    })
  }
  carry(first, second, sent)
  carry(second, first, received)
  for (const stream of [first, second])
    if (stream.isOver) finish(new MeshError('MESH_CONNECT_BROKEN', 'the other side has gone'))
  return { ended, end: finish }
}
