/**
 * No broker: a Node that takes connections, says yes to CONNECT and SUBSCRIBE, and keeps nothing. What its connections
 * cost is what those of any program on Node cost.
 * argv: the port
 */
import net from 'node:net'
import { packets } from '../wire.ts'

const CONNECT = 1
const CONNACK = Buffer.from([0x20, 2, 0, 0])
const SUBACK = Buffer.from([0x90, 3, 0, 1, 1])

net
  .createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    packets(socket, (first) => {
      socket.write(first >> 4 === CONNECT ? CONNACK : SUBACK)
    })
  })
  .listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 511 })
