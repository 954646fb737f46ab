/**
 * HTTP/2 frame by frame (RFC 9113 §4), for what node:http2's client does not send. Field lists go as literals (RFC 7541
 * §6.2.2), not Huffman-coded.
 */
import net from 'node:net'
import type { AddressInfo } from 'node:net'

/** Types of frames. */
export const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY] = [0, 1, 3, 4, 6, 7]
export type Fields = readonly (readonly [name: string, value: string])[]
export const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}
export const PREFACE = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))])
export const PING_ACK = frame(6, 1, 0, Buffer.from('stray!!!'))

function length(n: number): Buffer {
  if (n < 127) return Buffer.from([n])
  const bytes = [127]
  for (let left = n - 127; ; left >>>= 7) {
    if (left < 128) {
      bytes.push(left)
      return Buffer.from(bytes)
    }
    bytes.push((left & 127) | 128)
  }
}
const literal = (text: string): Buffer => {
  const bytes = Buffer.from(text, 'latin1')
  return Buffer.concat([length(bytes.length), bytes])
}
export const block = (fields: Fields): Buffer =>
  Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), literal(name), literal(value)])))
/** HEADERS with END_HEADERS, and CONTINUATION where it is long. */
export function headers(stream: number, fields: Fields, end: boolean): Buffer {
  const bytes = block(fields)
  const max = 16_384
  const parts: Buffer[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += max)
    parts.push(
      frame(
        at === 0 ? 1 : 9,
        (at === 0 && end ? 1 : 0) | (at + max >= bytes.length ? 4 : 0),
        stream,
        bytes.subarray(at, at + max),
      ),
    )
  return Buffer.concat(parts)
}

export type Heard = { readonly type: number; readonly flags: number; readonly stream: number; readonly payload: Buffer }
/** Frames that come over a connection, kept in their order. */
export class HeardFrames {
  readonly heard: Heard[] = []
  readonly socket: net.Socket
  closed = false
  #rest = Buffer.alloc(0)
  #wake: (() => void)[] = []

  /** @param onFrame before it is kept; @param skip bytes of a preface */
  constructor(socket: net.Socket, onFrame: (frame: Heard) => void, skip = 0) {
    this.socket = socket
    let toSkip = skip
    socket
      .on('error', () => {})
      .on('close', () => {
        this.closed = true
        this.#news()
      })
      .on('data', (chunk: Buffer) => {
        this.#rest = Buffer.concat([this.#rest, chunk])
        if (this.#rest.length < toSkip) return
        this.#rest = this.#rest.subarray(toSkip)
        toSkip = 0
        this.#take(onFrame)
        this.#news()
      })
  }

  /** Of the frames so far or to come the first that fits; undefined when the connection closes first. */
  async until(fits: (frame: Heard) => boolean): Promise<Heard | undefined> {
    for (;;) {
      const found = this.heard.find(fits)
      if (found || this.closed) return found
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve)
      })
    }
  }

  #take(onFrame: (frame: Heard) => void): void {
    for (
      let size: number;
      this.#rest.length >= 9 && this.#rest.length >= (size = 9 + this.#rest.readUIntBE(0, 3));
      this.#rest = this.#rest.subarray(size)
    ) {
      const one = {
        type: this.#rest[3]!,
        flags: this.#rest[4]!,
        stream: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(9, size),
      }
      onFrame(one)
      this.heard.push(one)
    }
  }
  #news(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/** A client that collects frames. Each PING is answered, as by anybody who is alive. */
export class RawH2 extends HeardFrames {
  /** @param to a port of the loopback, or a connection that is open */
  constructor(to: number | net.Socket) {
    const socket = typeof to === 'number' ? net.connect(to, '127.0.0.1') : to
    super(socket, ({ type, flags, payload }) => {
      if (type === PING && flags === 0) socket.write(frame(PING, 1, 0, Buffer.from(payload)))
    })
    socket.write(PREFACE)
  }
  close(): void {
    this.socket.destroy()
  }
}
export const portOf = (server: net.Server): number => (server.address() as AddressInfo).port

/** 31 or 32 bits. */
export const word = (n: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}
/** A SETTINGS frame with one of them. */
export const setting = (id: number, value: number): Buffer =>
  frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), word(value)]))
