/** An HTTP/2 endpoint that a test plays frame by frame. */
import { once } from 'node:events'
import net from 'node:net'
import { frame, portOf, type Heard } from './raw-h2.ts'

const PREFACE_BYTES = 24
const SETTINGS = 4
const PING = 6

export class EndpointConnection {
  readonly socket: net.Socket
  readonly heard: Heard[] = []
  closed = false
  #rest = Buffer.alloc(0)
  #skip = PREFACE_BYTES
  #wake: (() => void)[] = []

  constructor(socket: net.Socket, first: Buffer) {
    this.socket = socket
    socket
      .on('error', () => {})
      .on('close', () => {
        this.closed = true
        this.#news()
      })
      .on('data', (chunk: Buffer) => {
        this.#take(chunk)
      })
    socket.write(first)
  }
  write(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }
  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    if (this.#rest.length < this.#skip) return
    this.#rest = this.#rest.subarray(this.#skip)
    this.#skip = 0
    for (
      let size: number;
      this.#rest.length >= 9 && this.#rest.length >= (size = 9 + this.#rest.readUIntBE(0, 3));
      this.#rest = this.#rest.subarray(size)
    ) {
      const [type, flags, stream, payload] = [
        this.#rest[3]!,
        this.#rest[4]!,
        this.#rest.readUInt32BE(5),
        this.#rest.subarray(9, size),
      ]
      if (type === SETTINGS && flags === 0) this.socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)))
      if (type === PING && flags === 0) this.socket.write(frame(PING, 1, 0, payload))
      this.heard.push({ type, flags, stream, payload })
    }
    this.#news()
  }
  #news(): void {
    for (const wake of this.#wake.splice(0)) wake()
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
  /** The head of a request. @param nth 1 = the first */
  async request(nth: number): Promise<Heard | undefined> {
    return this.until((f) => f.type === 1 && f === this.heard.filter(({ type }) => type === 1)[nth - 1])
  }
  get whenClosed(): Promise<unknown> {
    return this.closed ? Promise.resolve() : once(this.socket, 'close')
  }
}

export class H2Endpoint implements Disposable {
  readonly connections: EndpointConnection[] = []
  readonly #server: net.Server
  #wake: (() => void)[] = []

  private constructor(server: net.Server) {
    this.#server = server
  }

  /** @param first what it says to each connection before everything else */
  static async start(first: Buffer = frame(SETTINGS, 0, 0, Buffer.alloc(0))): Promise<H2Endpoint> {
    const server = net.createServer()
    const endpoint = new H2Endpoint(server)
    server.on('connection', (socket) => {
      endpoint.connections.push(new EndpointConnection(socket, first))
      for (const wake of endpoint.#wake.splice(0)) wake()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return endpoint
  }
  get port(): number {
    return portOf(this.#server)
  }
  async connection(nth: number): Promise<EndpointConnection> {
    while (this.connections.length < nth)
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve)
      })
    return this.connections[nth - 1]!
  }
  [Symbol.dispose](): void {
    for (const { socket } of this.connections) socket.destroy()
    this.#server.close()
  }
}
