/**
 * No broker: a Node that takes connections, says yes to CONNECT and SUBSCRIBE, acknowledges each PUBLISH of QoS 1 with a
 * write of its own, gives it to whoever has subscribed to anything, in one write for each turn, and keeps nothing. What
 * its connections and messages cost is what those of any program on Node cost.
 * argv: the port
 */
import net from 'node:net'
import { ackPacket, packets, TYPE } from '../wire.ts'

const CONNECT = 1
const SUBSCRIBE = 8
const CONNACK = Buffer.from([0x20, 2, 0, 0])
const SUBACK = Buffer.from([0x90, 3, 0, 1, 1])
const subscribers = new Set<net.Socket>()
let gathered: Buffer[] = []

function deliver(first: number, body: Buffer): void {
  if (gathered.length === 0) setImmediate(writeGathered)
  gathered.push(Buffer.from([first]), lengthOf(body), body)
}
function writeGathered(): void {
  const bytes = Buffer.concat(gathered)
  gathered = []
  for (const socket of subscribers) socket.write(bytes)
}
function lengthOf({ length }: Buffer): Buffer {
  return Buffer.from(length < 128 ? [length] : [(length & 127) | 128, length >> 7])
}

net
  .createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('close', () => subscribers.delete(socket))
    packets(socket, (first, body) => {
      switch (first >> 4) {
        case CONNECT:
          socket.write(CONNACK)
          return
        case SUBSCRIBE:
          subscribers.add(socket)
          socket.write(SUBACK)
          return
        case TYPE.publish:
          socket.write(ackPacket(TYPE.puback, body.readUInt16BE(2 + body.readUInt16BE(0))))
          deliver(first, body)
          return
        default: // acknowledgements, DISCONNECT
      }
    })
  })
  .listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 511 })
