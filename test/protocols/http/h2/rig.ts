/** A session of our own and whoever is at the other end of its connection, in memory: nothing here waits for time. */
import { duplexPair, type Duplex } from 'node:stream'
import { HpackDecoder } from '../../../../protocols/http/codec/hpack/decoder.ts'
import type { MeshError } from '../../../../core/errors.ts'
import type { Http2Event, SessionOptions, SessionOwner } from '../../../../protocols/http/h2/events.ts'
import { Http2Session } from '../../../../protocols/http/h2/session.ts'
import type { FieldList } from '../../../../protocols/http/codec/hpack/decoder.ts'
import type { Http2Stream, StreamOwner } from '../../../../protocols/http/h2/stream/stream.ts'
import { frame, headers, type Fields } from '../../../helpers/raw-h2.ts'
import { settle } from '../../../helpers/sim-clock.ts'

export const OPTIONS: Omit<SessionOptions, 'role' | 'socket'> = {
  maxHeaderListBytes: 16 * 1024,
  maxHeaderCount: 100,
  maxConcurrentStreams: 10,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 1024 * 1024,
  extendedConnect: true,
}
const CLIENT_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const TYPES = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
]
export const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a.test'],
]
export const POST: Fields = [[':method', 'POST'], ...GET.slice(1)]
export const OK: Fields = [[':status', '200']]

export const END = 1
const END_HEADERS = 4
export const u32 = (...words: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * words.length)
  words.forEach((word, i) => {
    bytes.writeUInt32BE(word >>> 0, 4 * i)
  })
  return bytes
}
export const data = (stream: number, body: string | Buffer, flags = 0): Buffer =>
  frame(0, flags, stream, Buffer.from(body))
export const rst = (stream: number, code: number): Buffer => frame(3, 0, stream, u32(code))
export const settings = (...pairs: readonly (readonly [id: number, value: number])[]): Buffer =>
  frame(
    4,
    0,
    0,
    Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), u32(value)]))),
  )
export const windowUpdate = (stream: number, bytes: number): Buffer => frame(8, 0, stream, u32(bytes))
export const goaway = (last: number, code: number): Buffer => frame(7, 0, 0, u32(last, code))
export const ping = (flags = 0, payload = '12345678'): Buffer => frame(6, flags, 0, Buffer.from(payload))
export { frame, headers, settle }

/** Frames in both directions by hand: the other end of a session's connection. */
export class FramePeer {
  readonly socket: Duplex
  /** One line each: `HEADERS 1 END :status=200`, `DATA 1 "text"`, `RST_STREAM 1 8`, … */
  readonly heard: string[] = []
  ended = false
  /** Of all DATA. */
  readonly payloads: Buffer[] = []
  readonly #decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 1 << 20, maxFields: 1000 })
  #rest: Buffer = Buffer.alloc(0)
  #block: Buffer = Buffer.alloc(0)
  #preface: number
  constructor(socket: Duplex, role: 'server' | 'client') {
    this.socket = socket
    this.#preface = role === 'server' ? CLIENT_PREFACE.length : 0
    socket.on('error', () => {})
    socket.on('end', () => {
      this.ended = true
    })
  }
  get dataBytes(): number {
    return this.payloads.reduce((sum, payload) => sum + payload.length, 0)
  }
  /** Until then the session's socket fills up. */
  read(): void {
    this.socket.on('data', (chunk: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, chunk])
      this.#frames()
    })
  }
  #frames(): void {
    if (this.#rest.length < this.#preface) return
    this.#rest = this.#rest.subarray(this.#preface)
    this.#preface = 0
    for (
      let size: number;
      this.#rest.length >= 9 && this.#rest.length >= (size = 9 + this.#rest.readUIntBE(0, 3));
      this.#rest = this.#rest.subarray(size)
    ) {
      const [type, flags, stream] = [this.#rest[3]!, this.#rest[4]!, this.#rest.readUInt32BE(5)]
      this.heard.push(this.#line(type, flags, stream, this.#rest.subarray(9, size)))
    }
  }
  #line(type: number, flags: number, stream: number, payload: Buffer): string {
    const ends = (flags & END) !== 0 ? ' END' : ''
    switch (type) {
      case 0:
        this.payloads.push(payload)
        return `DATA ${stream}${ends} ${payload.length > 20 ? payload.length : JSON.stringify(payload.toString())}`
      case 1:
      case 9: {
        this.#block = Buffer.concat([type === 1 ? Buffer.alloc(0) : this.#block, payload])
        if ((flags & END_HEADERS) === 0) return `${TYPES[type]} ${stream}${ends}`
        const { fields } = this.#decoder.decode(this.#block, 0, this.#block.length)
        return `${TYPES[type]} ${stream}${type === 1 ? ends : ''} ${pairsOf(fields)}`
      }
      case 4:
        return ends === '' ? 'SETTINGS' : 'SETTINGS ACK'
      case 6:
        return `PING${ends === '' ? '' : ' ACK'} ${payload.toString()}`
      case 7:
        return `GOAWAY ${payload.readUInt32BE(0) & 0x7fffffff} ${payload.readUInt32BE(4)}`
      case 3:
      case 8:
        return `${TYPES[type]} ${stream} ${payload.readUInt32BE(0)}`
      default:
        return `${TYPES[type] ?? type} ${stream}`
    }
  }
  async say(...frames: readonly Buffer[]): Promise<void> {
    if (!this.socket.destroyed && !this.socket.writableEnded) this.socket.write(Buffer.concat(frames))
    await settle()
  }
  /** What was heard since the last call, without what every connection begins with. */
  take(): string[] {
    return this.heard.splice(0).filter((line) => line !== 'SETTINGS' && line !== 'SETTINGS ACK')
  }
}

export function pairsOf(fields: readonly string[]): string {
  const pairs: string[] = []
  for (let i = 0; i < fields.length; i += 2) pairs.push(`${fields[i]}=${fields[i + 1]}`)
  return pairs.join(' ')
}

/** One line for each thing that an owner is told: of the session without a number, of a stream with its id. */
export class Told implements SessionOwner {
  readonly lines: string[] = []
  readonly costly: Http2Event[] = []
  readonly streams: Http2Stream[] = []
  session!: Http2Session
  /** Of the session; undefined = not told. */
  closed: { readonly error: MeshError | undefined } | undefined
  closes = 0
  /** What the server does with a request beside writing down. */
  serve: (stream: Http2Stream) => void = () => {}
  onData: (stream: Http2Stream, chunk: Buffer) => void = () => {}
  onEnd: (stream: Http2Stream) => void = () => {}
  onWritten: (stream: Http2Stream) => void = () => {}
  onCostly: (what: Http2Event) => void = () => {}

  take(): string[] {
    return this.lines.splice(0)
  }
  onStream(stream: Http2Stream, { fields, oversized }: FieldList, end: boolean): void {
    this.streams.push(stream)
    this.lines.push(`${stream.id} request${end ? ' END' : ''}${oversized ? ' oversized' : ''} ${pairsOf(fields)}`)
    stream.owner = this.streamOwner(() => stream)
    this.serve(stream)
  }
  onMalformed(stream: Http2Stream, _fields: readonly string[], problem: string): void {
    this.lines.push(`${stream.id} malformed: ${problem}`)
  }
  onCostlyFrame(what: Http2Event): void {
    this.costly.push(what)
    this.onCostly(what)
  }
  onGoaway(code: number): void {
    this.lines.push(`goaway ${code}`)
  }
  onSessionClose(error: MeshError | undefined): void {
    this.closes++
    this.closed = { error }
    this.lines.push(`session over${error === undefined ? '' : `: ${error.message}`}`)
  }
  streamOwner(stream: () => Http2Stream): StreamOwner {
    return {
      onInformational: (fields) => {
        this.lines.push(`${stream().id} informational ${pairsOf(fields)}`)
      },
      onHead: ({ fields, oversized }, end) => {
        this.lines.push(`${stream().id} head${end ? ' END' : ''}${oversized ? ' oversized' : ''} ${pairsOf(fields)}`)
      },
      onData: (chunk) => {
        this.lines.push(`${stream().id} data ${chunk.length > 20 ? chunk.length : JSON.stringify(chunk.toString())}`)
        this.onData(stream(), chunk)
      },
      onEnd: (trailers) => {
        const fields = trailers === undefined ? '' : ` ${pairsOf(trailers.fields)}`
        this.lines.push(`${stream().id} end${trailers?.oversized ? ' oversized' : ''}${fields}`)
        this.onEnd(stream())
      },
      onPause: () => {},
      onWritten: () => {
        this.onWritten(stream())
      },
      onStreamClose: (code, problem) => {
        this.lines.push(`${stream().id} over ${code}${problem === undefined ? '' : `: ${problem}`}`)
      },
    }
  }
  /** A client's request. */
  open(fields: Fields, end = true): Http2Stream {
    const stream: Http2Stream = this.session.open(
      this.streamOwner(() => stream),
      fields[0]![1],
    )
    this.streams.push(stream)
    stream.sendHead(fields.flat(), end)
    return stream
  }
}

export type Rig = {
  readonly told: Told
  readonly session: Http2Session
  readonly peer: FramePeer
  readonly socket: Duplex
}
export type RigOptions = Partial<SessionOptions> & {
  readonly highWaterMark?: number
  readonly reads?: boolean
  readonly first?: Buffer | null
}

/**
 * A session, begun, and its peer, which has said its preface.
 * @param o.first instead of the peer's SETTINGS; null = it has said nothing at all
 */
export async function rig(
  role: 'server' | 'client',
  { highWaterMark = 16_384, reads = true, first = settings(), ...o }: RigOptions = {},
): Promise<Rig> {
  const [socket, other] = duplexPair({ highWaterMark })
  const told = new Told()
  const peer = new FramePeer(other, role === 'server' ? 'client' : 'server')
  const session = new Http2Session({ ...OPTIONS, role, socket, ...o }, told)
  told.session = session
  if (reads) peer.read()
  session.begin()
  if (first !== null) await peer.say(...(role === 'server' ? [CLIENT_PREFACE] : []), first)
  peer.take()
  return { told, session, peer, socket }
}
