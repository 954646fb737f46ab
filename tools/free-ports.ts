/** Free TCP ports for programs that a demo, a test or a benchmark starts on loopback. */
import net from 'node:net'

/**
 * Below the range from which the kernel takes ports for outgoing connections and for port 0, so that nobody takes one
 * before its program does.
 */
const FIRST = 20_000
const COUNT = 12_000

/** A port that somebody was given and has not opened yet, or will open again, looks free. */
const given = new Set<number>()

/** Distinct ports that were free a moment ago, and that this process was not given before. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true)
      })
    })
  })
}
