/**
 * Sets retained messages with QoS 1, 1,000 unacknowledged; then one subscriber gets them all. Prints one JSON line.
 * argv: JSON with port, count, payloadBytes
 */
import net from 'node:net'
import { connectPacket, packets, publishPacket, subscribePacket, TYPE } from '../wire.ts'

const { port, count, payloadBytes } = JSON.parse(process.argv[2]!) as {
  port: number
  count: number
  payloadBytes: number
}
const WINDOW = 1_000
const payload = Buffer.alloc(payloadBytes, 'x')
const messages = Array.from({ length: count }, (_, i) =>
  publishPacket({
    topic: `plant/line-${i % 100}/machine-${Math.floor(i / 100) % 100}/sensor-${i}`,
    qos: 1,
    packetId: (i % 60_000) + 1,
    payload,
    retain: true,
  }),
)
const connect = (id: string): net.Socket => {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.write(connectPacket({ id, clean: true }))
  return socket
}

function set(): Promise<number> {
  const socket = connect('retained-pub')
  return new Promise((resolve) => {
    let sent = 0,
      acked = 0,
      credit = 0,
      from = 0
    const send = (n: number): void => {
      const end = Math.min(count, sent + n)
      if (end > sent) socket.write(Buffer.concat(messages.slice(sent, end)))
      sent = end
    }
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) {
        from = performance.now()
        send(WINDOW)
      } else if (first >> 4 === TYPE.puback) {
        if (++acked === count) resolve(performance.now() - from)
        if (credit++ === 0)
          setImmediate(() => {
            send(credit)
            credit = 0
          })
      }
    })
  })
}

function get(): Promise<number> {
  const socket = connect('retained-sub')
  return new Promise((resolve) => {
    let got = 0,
      from = 0
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) {
        from = performance.now()
        socket.write(subscribePacket('plant/#', 0))
      } else if (first >> 4 === TYPE.publish && ++got === count) resolve(performance.now() - from)
    })
  })
}

const setMs = await set()
const getMs = await get()
console.log(JSON.stringify({ setMs, getMs }))
process.exit(0)
