/**
 * Clients that connect, subscribe to a topic of their own, and say nothing more. Prints one JSON line once all are
 * there, and stays until it is ended.
 * argv: JSON with port, count, and roots for TLS (a file)
 */
import fs from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { connectPacket, packets, subscribePacket, TYPE } from '../wire.ts'

const { port, count, roots } = JSON.parse(process.argv[2]!) as { port: number; count: number; roots?: string }
const AT_ONCE = 50
const secureContext = roots === undefined ? undefined : tls.createSecureContext({ ca: fs.readFileSync(roots) })
let begun = 0
const open: net.Socket[] = []
const fail = (why: string) => (): never => {
  console.error(why)
  process.exit(1)
}

function connect(i: number): Promise<void> {
  return new Promise((ready) => {
    const hello = (): void => {
      socket.write(connectPacket({ id: `idle-${i}`, clean: true }))
    }
    const to = { port, host: '127.0.0.1', noDelay: true }
    const socket = secureContext
      ? tls.connect({ ...to, secureContext, servername: 'proxy.test' }, hello)
      : net.connect(to, hello)
    socket.on('error', (err) => fail(err.message)())
    socket.on('close', fail('a connection was closed'))
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) socket.write(subscribePacket(`devices/idle-${i}/commands`, 1))
      else if (first >> 4 === TYPE.suback) ready()
    })
    open.push(socket)
  })
}

const from = performance.now()
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (begun < count) await connect(begun++)
  }),
)
console.log(JSON.stringify({ connected: open.length, seconds: (performance.now() - from) / 1000 }))
