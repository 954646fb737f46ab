/** The streams of the relay over a byte stream of this machine: each message with its length, 4 bytes, before it. */
import type { Duplex } from 'node:stream'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { Mux, type MuxOptions } from '../../core/relay/mux.ts'

/** A Mux gathers a quarter of it. */
const MAX_MESSAGE_BYTES = 64 * 1024
/** Of what a stream carries; a read of a socket is smaller. */
const MAX_PIECE_BYTES = 256 * 1024

export type LocalMux = { readonly mux: Mux; readonly ended: Promise<MeshError> }

/** Whatever comes that cannot be read ends it, and every stream with it. */
export function openLocalMux(socket: Duplex, o: Pick<MuxOptions, 'side' | 'maxStreams' | 'onStream'>): LocalMux {
  const { promise: ended, resolve } = Promise.withResolvers<MeshError>()
  const mux = new Mux({
    ...o,
    part: 'hub',
    maxMessageBytes: () => MAX_PIECE_BYTES,
    port: {
      get bufferedBytes() {
        return socket.writableLength
      },
      send: (message, done) => {
        const head = Buffer.alloc(4)
        head.writeUInt32BE(message.length)
        socket.write(
          Buffer.concat([head, message]),
          guard('hub', doNothing, () => done()),
        )
      },
    },
  })
  const end = (reason: MeshError): void => {
    resolve(reason)
    mux.end(reason)
    socket.destroy()
  }
  const reader = new MessageReader()
  const onData = (bytes: Buffer): void => {
    try {
      for (const message of reader.read(bytes)) mux.receive(message)
    } catch (thrown) {
      end(toMeshError(thrown))
    }
  }
  socket.on('data', guard('hub', end, onData))
  const gone = guard('hub', end, () => end(new MeshError('MESH_CONNECT_BROKEN', 'the other process has gone')))
  for (const event of ['end', 'error', 'close'] as const) socket.on(event, gone)
  return { mux, ended }
}

class MessageReader {
  #rest: Buffer = Buffer.alloc(0)

  /** Throws MESH_CONTROL_PROTOCOL. */
  read(bytes: Buffer): readonly Buffer[] {
    const messages: Buffer[] = []
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    while (this.#rest.length >= 4) {
      const length = this.#rest.readUInt32BE(0)
      if (length > MAX_MESSAGE_BYTES)
        throw new MeshError('MESH_CONTROL_PROTOCOL', `a message says that it has ${length} bytes`)
      if (this.#rest.length < 4 + length) break
      messages.push(this.#rest.subarray(4, 4 + length))
      this.#rest = this.#rest.subarray(4 + length)
    }
    return messages
  }
}
