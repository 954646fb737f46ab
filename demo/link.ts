/** The uplink of the demo's site: a TCP relay that can be cut, restored, and told to break chosen connections. */
import net from 'node:net'
import { once } from 'node:events'

/**
 * What to do with the next connections: refuse them at once, or cut them when the first byte of an answer would come
 * back.
 */
export type Fault = 'refuse' | 'cut-before-answer'

export class Link implements AsyncDisposable {
  readonly #target: number
  readonly #server: net.Server
  readonly #open = new Set<net.Socket>()
  #up = true
  #faults: Fault[] = []
  #swallow = false

  private constructor(target: number) {
    this.#target = target
    this.#server = net.createServer({ allowHalfOpen: true }, (near) => this.#accept(near))
  }
  static async to(target: number): Promise<Link> {
    const link = new Link(target)
    link.#server.listen(0, '127.0.0.1')
    await once(link.#server, 'listening')
    return link
  }
  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  /** Breaks every open connection and refuses new ones until `restore`. */
  cut(): void {
    this.#up = false
    for (const socket of this.#open) socket.destroy()
  }
  restore(): void {
    this.#up = true
  }
  /** Connections to come, one entry each. Cuts what is open, so that the next request needs a new connection. */
  break(...faults: Fault[]): void {
    this.#faults = [...this.#faults, ...faults]
    for (const socket of this.#open) socket.destroy()
  }
  /** From now on answers do not pass: requests arrive, and then their connections are cut. */
  swallowAnswers(on: 'on' | 'off'): void {
    this.#swallow = on === 'on'
  }

  #accept(near: net.Socket): void {
    const fault = this.#faults.shift()
    near.on('error', () => {})
    if (!this.#up || fault === 'refuse') {
      near.resetAndDestroy()
      return
    }
    const far = net.connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    const pair = [near, far]
    for (const socket of pair) {
      this.#open.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => {
        this.#open.delete(socket)
        for (const other of pair) other.destroy()
      })
    }
    near.on('data', (d) => far.write(d))
    far.on('data', (d) => {
      if (this.#swallow) {
        near.destroy()
        return
      }
      near.write(d)
    })
    near.on('end', () => far.end())
    far.on('end', () => near.end())
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
  }
}
