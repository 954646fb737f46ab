/** The two ports of the proxy: the same number over UDP and TCP. */
import type { Address, Datagrams, Listening, Network, NetStream } from '../../core/os/network.ts'
import { toPortError } from '../downstream/ports.ts'

export type PortEvents = {
  onDatagram(bytes: Buffer, from: Address, socket: Datagrams): void
  onError(err: Error): void
  onStream(accepted: NetStream): void
}

/** With port 0 the kernel picks one that is free over UDP; it may be taken over TCP. */
const FREE_PORT_TRIES = 10

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function openPorts(
  network: Network,
  at: Address,
  events: PortEvents,
): Promise<{ udp: Datagrams; tcp: Listening }> {
  for (let left = FREE_PORT_TRIES; ; left--) {
    const udp = await openUdp(network, at, events)
    try {
      return {
        udp,
        tcp: await network.listen({ host: at.host, port: udp.port }, (accepted) => {
          events.onStream(accepted)
        }),
      }
    } catch (err) {
      await udp[Symbol.asyncDispose]()
      if (at.port !== 0 || left <= 1 || (err as NodeJS.ErrnoException).code !== 'EADDRINUSE')
        throw toPortError(err as NodeJS.ErrnoException, `the DNS port ${at.host}:${udp.port} (TCP)`)
    }
  }
}

async function openUdp(network: Network, at: Address, events: PortEvents): Promise<Datagrams> {
  try {
    const socket: Datagrams = await network.bindUdp(at, {
      onDatagram: (bytes, from) => {
        events.onDatagram(bytes, from, socket)
      },
      onError: (err) => {
        events.onError(err)
      },
    })
    return socket
  } catch (err) {
    throw toPortError(err as NodeJS.ErrnoException, `the DNS port ${at.host}:${at.port} (UDP)`)
  }
}
