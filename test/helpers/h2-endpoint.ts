/** An HTTP/2 endpoint that a test plays frame by frame. */
import { once } from 'node:events'
import net from 'node:net'
import { frame, HeardFrames, PING, portOf, SETTINGS, type Heard } from './raw-h2.ts'

const PREFACE_BYTES = 24

export class EndpointConnection extends HeardFrames {
  constructor(socket: net.Socket, first: Buffer) {
    const answer = ({ type, flags, payload }: Heard): void => {
      if (flags !== 0) return
      if (type === SETTINGS) socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)))
      if (type === PING) socket.write(frame(PING, 1, 0, payload))
    }
    super(socket, answer, PREFACE_BYTES)
    socket.write(first)
  }
  write(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
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
