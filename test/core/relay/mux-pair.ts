/** A device and its hub on one relay connection in memory. */
import type { RelayStream } from '../../../core/relay/stream.ts'
import { Mux } from '../../../core/relay/mux.ts'

export type MuxPairOptions = {
  readonly maxMessageBytes: number
  readonly maxStreams: number
  /** Of either side. */
  readonly onStream: (stream: RelayStream, head: Uint8Array) => void
  /** `now`: a message has come when `send` returns; default: in a turn of its own. */
  readonly delivers?: 'now' | 'later'
}

export function makeMuxPair({ maxMessageBytes, maxStreams, onStream, delivers = 'later' }: MuxPairOptions) {
  const make = (side: 'agent' | 'hub', other: () => Mux): Mux =>
    new Mux({
      side,
      part: 'hub',
      port: {
        bufferedBytes: 0,
        send: (message, done) => {
          const bytes = Uint8Array.from(message)
          const deliver = (): void => {
            other().receive(bytes)
            done()
          }
          if (delivers === 'now') deliver()
          else setImmediate(deliver)
        },
      },
      maxMessageBytes: () => maxMessageBytes,
      maxStreams,
      onStream,
    })
  const agent: Mux = make('agent', () => hub)
  const hub: Mux = make('hub', () => agent)
  return { agent, hub }
}
