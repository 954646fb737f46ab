/**
 * Messages that have not arrived whole. grpc-js gathers a message before anybody can see what is in it, so a device
 * with all the calls that it may have open could make the hub hold gigabytes and never send the last byte. What has
 * come of each call's message is counted here, and all calls of one device, or of the bearers of one token, share a
 * budget. Connections that have proved nothing have the port's (door.ts).
 */
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js'
import type { ServerHttp2Stream } from 'node:http2'
import { guard } from '../../core/defects/guard.ts'
import type { Metrics } from '../../core/metrics.ts'
import { Sums } from './limits/sums.ts'

/** What a piece takes beside its bytes: a message that comes in pieces of one byte is not small. */
const PIECE_COST_BYTES = 256
/** The compressed flag and the length before each message (gRPC over HTTP/2, Length-Prefixed-Message). */
const HEAD_BYTES = 5

type Connection = { holder: string | undefined; bytes: number }
export type HalfMessagesOptions = {
  readonly maxBytes: number
  /** A message of this size may always come. */
  readonly maxMessageBytes: number
  readonly metrics: Metrics
  /** A call was ended because of its budget. */
  readonly exceeded: () => void
}

export class HalfMessages {
  readonly #maxBytes: number
  readonly #exceeded: () => void
  /** By remote address and port. */
  readonly #connections = new Map<string, Connection>()
  readonly #byHolder = new Sums()

  constructor({ maxBytes, maxMessageBytes, metrics, exceeded }: HalfMessagesOptions) {
    this.#maxBytes = Math.max(maxBytes, 2 * maxMessageBytes)
    this.#exceeded = exceeded
    metrics.gaugeOf(
      'mesh_hub_half_message_bytes',
      'What the hub holds of messages that devices have not sent whole.',
      () => this.#byHolder.total,
    )
  }

  /** To be a server's option: counts every call from its head on. */
  get interceptor(): ServerInterceptor {
    return (_method, call) => {
      // Not public; test/hub/api/half-messages.test.ts finds out when it is gone.
      const { stream } = call as unknown as { readonly stream: ServerHttp2Stream }
      const refuse = (): void => {
        this.#exceeded()
        call.sendStatus({
          code: status.RESOURCE_EXHAUSTED,
          details: `MESH_CONTROL_SLOW_DOWN: what has come of unfinished messages takes more than ${this.#maxBytes} bytes (limits.maxHalfMessageBytes)`,
          metadata: null,
        })
        // The gathered bytes belong to a stream that still waits for the end of its message.
        setImmediate(
          guard(
            'hub',
            () => {
              stream.destroy()
            },
            () => {
              stream.close()
            },
          ),
        )
      }
      this.#count(stream, this.#connection(call.getPeer()), refuse)
      return new ServerInterceptingCall(call)
    }
  }

  /**
   * @param peer address and port of a connection, as gRPC names them.
   * @param holder the device or token that has proved itself over it
   */
  belongs(peer: string, holder: string): void {
    // It may have closed while somebody asked whose it is.
    const connection = this.#connections.get(peer)
    if (!connection || connection.holder !== undefined) return
    connection.holder = holder
    this.#byHolder.add(holder, connection.bytes)
  }
  /** The connection is closed; its calls end by themselves. */
  left(peer: string): void {
    this.#connections.delete(peer)
  }
  /** What one holder has of it now. */
  of(holder: string): number {
    return this.#byHolder.of(holder)
  }

  #connection(peer: string): Connection {
    const known = this.#connections.get(peer)
    if (known) return known
    const made = { holder: undefined, bytes: 0 }
    this.#connections.set(peer, made)
    return made
  }

  #count(stream: ServerHttp2Stream, connection: Connection, refuse: () => void): void {
    const message = new Gathered()
    const put = (bytes: number): void => {
      const more = bytes - message.counted
      message.counted = bytes
      connection.bytes += more
      if (connection.holder !== undefined) this.#byHolder.add(connection.holder, more)
    }
    let isOver = false
    stream.on(
      'data',
      guard(
        'hub',
        () => {
          stream.destroy()
        },
        (piece: Buffer) => {
          if (isOver) return
          put(message.take(piece))
          if (connection.holder === undefined || this.of(connection.holder) <= this.#maxBytes) return
          isOver = true
          refuse()
        },
      ),
    )
    stream.once(
      'close',
      guard(
        'hub',
        () => {
          /* over already */
        },
        () => {
          isOver = true
          put(0)
        },
      ),
    )
  }
}

/** How much has come of the message that one call is at. */
class Gathered {
  /** As it stands in the sums. */
  counted = 0
  #headLeft = HEAD_BYTES
  #size = 0
  #left = 0
  #pieces = 0

  /** @returns what is held now */
  take(piece: Buffer): number {
    this.#pieces++
    for (let at = 0; at < piece.length;) {
      if (this.#headLeft > 0) {
        // The first of the five is the flag.
        if (this.#headLeft < HEAD_BYTES) this.#size = this.#size * 256 + piece[at]!
        at++
        if (--this.#headLeft === 0) this.#begin(this.#size)
        continue
      }
      const taken = Math.min(this.#left, piece.length - at)
      at += taken
      this.#left -= taken
      if (this.#left === 0) this.#begin(0)
    }
    return this.#left === 0 ? 0 : this.#size - this.#left + this.#pieces * PIECE_COST_BYTES
  }
  /** A message of that size, or none: the next head. */
  #begin(size: number): void {
    this.#size = size
    this.#left = size
    this.#pieces = 1
    if (size === 0) this.#headLeft = HEAD_BYTES
  }
}
