/** What every attack has: connections that come from an address of their own, and packets of the two protocols. */
import { once } from 'node:events'
import net from 'node:net'
import { encode, publishPacket } from '../../protocols/mqtt/codec/encode.ts'
import type { Connect, Packet } from '../../protocols/mqtt/codec/packet.ts'
import { NO_PROPERTIES } from '../../protocols/mqtt/codec/properties.ts'
import { connectPacket } from '../helpers/mqtt/peer.ts'

/** Not the well-behaved client's: shares are by source. */
const SOURCE = '127.0.0.66'

export class Attacker implements Disposable {
  readonly #open = new Set<net.Socket>()
  /** Bytes that were written to the subject. */
  sentBytes = 0

  /** Connected, or refused: an attacker does not mind. */
  async connect(port: number, from = SOURCE): Promise<net.Socket> {
    const socket = net.connect({ host: '127.0.0.1', port, localAddress: from, allowHalfOpen: true })
    socket.setMaxListeners(0)
    this.#open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#open.delete(socket))
    await Promise.race([once(socket, 'connect').catch(() => {}), once(socket, 'close').catch(() => {})])
    return socket
  }
  /** Connects, writes, and forgets what comes. */
  async say(port: number, ...bytes: readonly (Buffer | string)[]): Promise<net.Socket> {
    const socket = await this.connect(port)
    socket.resume()
    for (const one of bytes) void this.write(socket, one)
    return socket
  }
  /** Waits when the subject does not read, at most a second. */
  async write(socket: net.Socket, bytes: Buffer | string): Promise<void> {
    this.sentBytes += bytes.length
    if (socket.destroyed || socket.write(bytes)) return
    const gone = (): void => {}
    await Promise.race([
      once(socket, 'drain').catch(gone),
      once(socket, 'close').catch(gone),
      new Promise((resolve) => {
        setTimeout(resolve, 1_000)
      }),
    ])
  }
  [Symbol.dispose](): void {
    for (const socket of this.#open) socket.destroy()
  }
}

export const mqttConnect = (clientId: string, p: Partial<Omit<Connect, 'type'>> = {}): Buffer =>
  encode(connectPacket({ clientId, ...p }), p.version ?? 5)
export const mqttPublish = (
  topic: string,
  payload: Buffer,
  p: Parameters<typeof publishPacket>[0] extends infer T ? Partial<T> : never = {},
): Buffer => encode(publishPacket({ topic, payload, ...p }), 5)
export const mqttSubscribe = (packetId: number, filters: readonly string[]): Buffer =>
  encode(
    {
      type: 'subscribe',
      packetId,
      properties: NO_PROPERTIES,
      subscriptions: filters.map((filter) => ({
        filter,
        qos: 1,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0,
      })),
    } satisfies Packet,
    5,
  )
export const KEPT = { cleanStart: false, properties: { ...NO_PROPERTIES, sessionExpiryInterval: 604_800 } } as const

/** Does it over and over until the time is up. */
export async function during(ms: number, work: (n: number) => Promise<unknown>): Promise<void> {
  for (let n = 0, byMs = performance.now() + ms; performance.now() < byMs; n++) await work(n)
}
export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
