/** A TCP relay between two sites that delays what passes, holds it, drops connections and refuses them. */
import net from 'node:net'
import { once } from 'node:events'
import type { Random } from '../../../core/os/clock.ts'
import type { Finally } from '../../conformance/programs.ts'

/** `stall`: connections stay, and nothing passes. `cut`: there are none. */
export type LinkState = 'up' | 'stall' | 'cut'

export class FlakyLink {
  readonly #target: number
  readonly #random: Random
  readonly #server: net.Server
  readonly #pairs = new Set<readonly [net.Socket, net.Socket]>()
  #state: LinkState = 'up'
  /** What waits while nothing passes. */
  #held: (() => void)[] = []
  /** Each chunk is under way for between this and twice as long, and overtakes nothing. */
  delayMs = 0
  connections = 0

  private constructor(target: number, random: Random) {
    this.#target = target
    this.#random = random
    this.#server = net.createServer((near) => this.#accept(near))
  }
  static async create(
    t: Finally,
    { target, random }: { readonly target: number; readonly random: Random },
  ): Promise<FlakyLink> {
    const link = new FlakyLink(target, random)
    link.#server.listen(0, '127.0.0.1')
    await once(link.#server, 'listening')
    t.after(() => {
      link.state = 'cut'
      link.#server.close()
    })
    return link
  }
  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }
  set state(state: LinkState) {
    this.#state = state
    if (state === 'cut') this.drop()
    if (state === 'up') for (const pass of this.#held.splice(0)) pass()
  }
  /** What is under way is lost with the connections. */
  drop(): void {
    this.#held = []
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  #accept(near: net.Socket): void {
    near.on('error', () => {})
    if (this.#state === 'cut') {
      near.resetAndDestroy()
      return
    }
    this.connections++
    const far = net.connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    const pair = [near, far] as const
    this.#pairs.add(pair)
    for (const [one, other] of [pair, [far, near] as const]) {
      one.on('error', () => {})
      one.once('close', () => {
        this.#pairs.delete(pair)
        other.destroy()
      })
      this.#carry(one, other)
    }
  }
  #carry(from: net.Socket, to: net.Socket): void {
    const under: { readonly chunk: Buffer; readonly dueMs: number }[] = []
    let timer: NodeJS.Timeout | undefined
    const pass = (): void => {
      timer = undefined
      if (this.#state === 'stall') {
        this.#held.push(pass)
        return
      }
      while (under.length > 0 && under[0]!.dueMs <= performance.now()) to.write(under.shift()!.chunk)
      if (under.length > 0) timer = setTimeout(pass, Math.max(1, under[0]!.dueMs - performance.now()))
    }
    from.on('data', (chunk: Buffer) => {
      under.push({ chunk, dueMs: performance.now() + this.delayMs * (1 + this.#random.float()) })
      timer ??= setTimeout(pass, Math.max(1, under[0]!.dueMs - performance.now()))
    })
    to.once('close', () => {
      clearTimeout(timer)
      under.length = 0
    })
  }
}
