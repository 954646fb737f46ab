/** One connection after the other to a proxy: a request at a time, and whether the connection goes on after it. */
import { once } from 'node:events'
import net from 'node:net'
import { bytesOf, type Request } from './requests.ts'

/** `fields` as they came, names in lower case. `isOpen`: the next request may use the connection. */
export type Answer = {
  readonly status: number
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body: string
  readonly isOpen: boolean
}

export class Client implements Disposable {
  readonly #port: number
  #socket: net.Socket | undefined
  #text = ''
  #wake = (): void => {}
  constructor(port: number) {
    this.#port = port
  }

  async ask(request: Request): Promise<Answer> {
    const socket = (this.#socket ??= await this.#connect())
    socket.write(bytesOf(request), 'latin1')
    const answer = await this.#answer(socket, request.method)
    if (!answer.isOpen) this[Symbol.dispose]()
    return answer
  }
  [Symbol.dispose](): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  async #connect(): Promise<net.Socket> {
    this.#text = ''
    const socket = net.connect(this.#port, '127.0.0.1')
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      this.#text += bytes.toString('latin1')
      this.#wake()
    })
    socket.on('close', () => {
      this.#wake()
    })
    await once(socket, 'connect')
    return socket
  }
  /** False at the connection's end. */
  async #until(there: () => boolean, socket: net.Socket): Promise<boolean> {
    while (!there()) {
      if (socket.closed) return false
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return true
  }
  async #answer(socket: net.Socket, method: string): Promise<Answer> {
    if (!(await this.#until(() => this.#text.includes('\r\n\r\n'), socket)))
      return { status: 0, fields: [], body: this.#text, isOpen: false }
    const end = this.#text.indexOf('\r\n\r\n')
    const [first = '', ...lines] = this.#text.slice(0, end).split('\r\n')
    this.#text = this.#text.slice(end + 4)
    const status = Number(first.split(' ')[1])
    const fields = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    })
    const body = method === 'HEAD' || status === 204 || status === 304 ? '' : await this.#body(new Map(fields), socket)
    const closes = fields.some(([name, value]) => name === 'connection' && value === 'close')
    return { status, fields, body, isOpen: !closes && !socket.closed }
  }
  async #body(fields: ReadonlyMap<string, string>, socket: net.Socket): Promise<string> {
    if (fields.get('transfer-encoding') === 'chunked') {
      await this.#until(() => /(?:^|\r\n)0\r\n\r\n$/.test(this.#text), socket)
      const text = this.#text.replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n/gi, '').replace(/\r\n$/, '')
      this.#text = ''
      return text
    }
    const length = Number(fields.get('content-length') ?? 0)
    await this.#until(() => this.#text.length >= length, socket)
    const text = this.#text.slice(0, length)
    this.#text = this.#text.slice(length)
    return text
  }
}
