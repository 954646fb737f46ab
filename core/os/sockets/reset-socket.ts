/** The end of a connection that was cut off. */
import net from 'node:net'
import type { Duplex } from 'node:stream'

/** What was cut off must not look whole to whoever reads from the socket. */
export function resetSocket(socket: Duplex): void {
  if (socket instanceof net.Socket && !socket.destroyed && socket.remoteAddress !== undefined) socket.resetAndDestroy()
  else socket.destroy()
}
