/**
 * Limits connections that have not sent their CONNECT. They are anonymous and cost a peer nothing. Above the limit the
 * oldest connection of the address with the most is closed, so one address cannot keep the others out. A client that
 * sends CONNECT at once gets in.
 */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { guard } from '../../../core/defects/guard.ts'

type End = (err: MeshError) => void

export class Doorstep {
  readonly #byHost = new Map<string, Set<End>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /**
   * @param end of the connection, when another needs its place
   * @returns to be disposed of when CONNECT has come or the connection is over
   */
  enter(host: string, max: number, end: End): Disposable {
    while (this.#size >= max) this.#makeRoom(max)
    const of = this.#byHost.get(host) ?? new Set<End>()
    this.#byHost.set(host, of.add(end))
    this.#size++
    return { [Symbol.dispose]: () => this.#leave(host, end) }
  }

  #makeRoom(max: number): void {
    let most: [host: string, ends: Set<End>] | undefined
    for (const entry of this.#byHost) if (!most || entry[1].size > most[1].size) most = entry
    const oldest = most?.[1].values().next().value
    if (!most || !oldest) return
    this.#leave(most[0], oldest)
    oldest(
      new MeshError(
        'MESH_LISTENER_FULL',
        `${max} connections wait with their CONNECT (mqtt.limits.maxPendingConnects), and this one waits the longest of its address`,
      ),
    )
  }
  #leave(host: string, end: End): void {
    const of = this.#byHost.get(host)
    if (!of?.delete(end)) return
    this.#size--
    if (of.size === 0) this.#byHost.delete(host)
  }
}

/** A connection's place in the broker; given back at its end. */
export type Seat = Disposable & {
  /** CONNECT has come. */
  noteConnect(): void
}

/** Bytes of frames and what they hold: ws gathers a frame before anybody sees what is in it. */
export function limitUntilConnect(raw: Duplex, maxConnectBytes: number, refuse: (err: MeshError) => void): Disposable {
  let bytes = 0
  const count = (chunk: Buffer): void => {
    bytes += chunk.length
    if (bytes > maxConnectBytes * 2)
      refuse(
        new MeshError('MESH_MQTT_PACKET_TOO_LARGE', `${bytes} bytes came and no CONNECT (mqtt.limits.maxConnectBytes)`),
      )
  }
  const heard = guard('websocket', refuse, count)
  raw.on('data', heard)
  return {
    [Symbol.dispose]: () => {
      raw.removeListener('data', heard)
    },
  }
}
