/**
 * Connections with one request each, which say nothing more. Prints one JSON line once all are there, and stays until it
 * is ended.
 * argv: JSON with port and count
 */
import net from 'node:net'

const { port, count } = JSON.parse(process.argv[2]!) as { port: number; count: number }
const AT_ONCE = 50
const open: net.Socket[] = []
let begun = 0

function connect(): Promise<void> {
  return new Promise((ready) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true }, () => {
      socket.write('GET / HTTP/1.1\r\nhost: bench.test\r\n\r\n')
    })
    const fail = (why: string): never => {
      console.error(why)
      process.exit(1)
    }
    let bytes = 0
    socket.on('error', (err) => fail(err.message))
    socket.on('close', () => fail('a connection was closed'))
    socket.on('data', (chunk) => {
      if (bytes === 0 && !chunk.toString('latin1').startsWith('HTTP/1.1 200')) fail(chunk.toString('latin1'))
      bytes += chunk.length
      // The body is a kilobyte, behind its head.
      if (bytes > 1024) ready()
    })
    open.push(socket)
  })
}

const from = performance.now()
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (begun++ < count) await connect()
  }),
)
console.log(JSON.stringify({ connected: open.length, seconds: (performance.now() - from) / 1000 }))
