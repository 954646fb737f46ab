/** A configuration stream of the relay as the hub's ADS takes it: messages in, messages out, with back-pressure. */
import { Duplex } from 'node:stream'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { packMessage, unpackMessage } from '../../core/relay/compression.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import { decodeRequest, encodeResponse, encodeTell } from '../../proto/relay/xds.ts'
import type { RelayReply } from './conversation.ts'

export type RelayCallOptions = {
  readonly stream: RelayStream
  readonly withDictionary: boolean
  /** Of a request, unpacked. */
  readonly maxRequestBytes: number
  readonly onSent: (bytes: number) => void
}

/** Reads RelayQuestion, writes RelayReply. */
export class RelayCall extends Duplex {
  readonly #o: RelayCallOptions
  #waiting: (() => void) | undefined

  constructor(options: RelayCallOptions) {
    super({ objectMode: true, readableHighWaterMark: 16, writableHighWaterMark: 16, emitClose: true })
    this.#o = options
    options.stream.listen({
      onMessage: (message) => this.#onMessage(message),
      onEnd: () => this.push(null),
      onReset: () => this.destroy(),
      onDrain: () => {
        const go = this.#waiting
        this.#waiting = undefined
        go?.()
      },
    })
  }

  /** The device is told why. */
  fail(reason: MeshError): void {
    this.#o.stream.reset(reason)
    this.destroy()
  }

  override _read(): void {
    this.#o.stream.resume()
  }
  override _write(reply: RelayReply, _encoding: string, done: () => void): void {
    const { stream, withDictionary, onSent } = this.#o
    const message = packMessage(reply.kind === 'tell' ? encodeTell(reply.typeUrl) : encodeResponse(reply), {
      withDictionary,
    })
    onSent(message.length)
    if (stream.send(message)) done()
    else this.#waiting = done
  }
  override _final(done: () => void): void {
    this.#o.stream.end()
    done()
  }
  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.#o.stream.reset(new MeshError('MESH_DRAINING', 'the hub ends the stream'))
    done(null)
  }

  #onMessage(message: Uint8Array): void {
    const { stream, maxRequestBytes } = this.#o
    try {
      const { message: request, digest } = decodeRequest(unpackMessage(message, maxRequestBytes))
      if (!this.push(Object.assign(request, { digest }))) stream.pause()
    } catch (thrown) {
      this.fail(toMeshError(thrown))
    }
  }
}
