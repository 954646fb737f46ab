/** What stands between a device and its hub. */
import { once } from 'node:events'
import net from 'node:net'
import type { TestContext } from 'node:test'

/**
 * Passes bytes on to a port, as long as it is not deaf.
 * @param greet a proxy: answers what comes first
 * @param oneWayMs so long each byte is on its way; opening the connection takes as long as there and back
 */
export async function passage(t: TestContext, port: number, greet?: (head: string) => string, oneWayMs = 0) {
  const later = (openedMs: number, deliver: () => void): void => {
    if (oneWayMs === 0) deliver()
    else setTimeout(deliver, oneWayMs + Math.max(0, openedMs - performance.now()))
  }
  const state = { isDeaf: false, heads: [] as string[], connections: 0, bytes: 0, flights: 0 }
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    state.connections++
    const upstream = net.connect(port, '127.0.0.1')
    const openedMs = performance.now() + 2 * oneWayMs
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    let isOpen = greet === undefined
    // Of the client: whatever it says before it has heard something is one.
    let hasHeard = true
    client.on('data', (bytes) => {
      if (state.isDeaf) return
      if (isOpen) {
        state.bytes += bytes.length
        if (hasHeard) state.flights++
        hasHeard = false
        later(openedMs, () => upstream.write(bytes))
      } else {
        state.heads.push(bytes.toString('latin1'))
        const answer = greet!(bytes.toString('latin1'))
        client.write(answer)
        isOpen = answer.includes(' 200 ')
        if (!isOpen) client.end()
      }
    })
    upstream.on('data', (bytes) => {
      state.bytes += bytes.length
      hasHeard = true
      if (!state.isDeaf) later(0, () => client.write(bytes))
    })
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => later(0, () => client.destroy()))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { state, port: (server.address() as net.AddressInfo).port }
}
