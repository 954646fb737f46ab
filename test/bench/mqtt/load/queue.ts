/**
 * Leaves a session behind, publishes to it, or has its queue delivered. Prints one JSON line.
 * argv: JSON with port, count, payloadBytes, do (leave | publish | drain), seconds (drain: at most)
 */
import net from 'node:net'
import { once } from 'node:events'
import { ackPacket, connectPacket, DISCONNECT, packets, publishPacket, subscribePacket, TYPE } from '../wire.ts'

const options = JSON.parse(process.argv[2]!) as {
  port: number
  count: number
  payloadBytes: number
  do: 'leave' | 'publish' | 'drain'
  seconds?: number
}
const { port, count, payloadBytes } = options
const WINDOW = 1_000
const connect = (id: string, clean: boolean): net.Socket => {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.write(connectPacket({ id, clean }))
  return socket
}

async function leave(): Promise<object> {
  const socket = connect('queue-sub', false)
  await new Promise<void>((done) => {
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) socket.write(subscribePacket('telemetry/#', 1))
      else if (first >> 4 === TYPE.suback) done()
    })
  })
  socket.end(DISCONNECT)
  await once(socket, 'close')
  return {}
}

async function publish(): Promise<object> {
  const payload = Buffer.alloc(payloadBytes, 'x')
  const ready = Array.from({ length: 60_000 }, (_, i) =>
    publishPacket({ topic: 'telemetry/queue', qos: 1, packetId: i + 1, payload }),
  )
  const socket = connect('queue-pub', true)
  const from = performance.now()
  await new Promise<void>((done) => {
    let sent = 0,
      acked = 0,
      credit = 0
    const send = (n: number): void => {
      const out: Buffer[] = []
      for (let i = 0; i < n && sent < count; i++) out.push(ready[sent++ % ready.length]!)
      if (out.length > 0) socket.write(Buffer.concat(out))
    }
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) send(WINDOW)
      else if (first >> 4 === TYPE.puback) {
        if (++acked === count) done()
        if (credit++ === 0)
          setImmediate(() => {
            send(credit)
            credit = 0
          })
      }
    })
  })
  return { seconds: (performance.now() - from) / 1000 }
}

async function drain(): Promise<object> {
  const socket = connect('queue-sub', false)
  const from = performance.now()
  let got = 0,
    firstMs = from,
    lastMs = from
  await new Promise<void>((done) => {
    let acks: Buffer[] = []
    packets(socket, (first, body) => {
      if (first >> 4 !== TYPE.publish) return
      if (got++ === 0) firstMs = performance.now()
      if (got === count) lastMs = performance.now()
      if (((first >> 1) & 3) > 0) {
        if (acks.length === 0)
          setImmediate(() => {
            socket.write(Buffer.concat(acks))
            acks = []
            if (got >= count) done()
          })
        acks.push(ackPacket(TYPE.puback, body.readUInt16BE(2 + body.readUInt16BE(0))))
      }
    })
    setTimeout(done, (options.seconds ?? 100) * 1000)
  })
  if (got < count) lastMs = performance.now()
  // The last acknowledgements leave.
  await new Promise((r) => {
    setTimeout(r, 100)
  })
  return { got, seconds: (lastMs - from) / 1000, sinceFirst: (lastMs - firstMs) / 1000 }
}

console.log(JSON.stringify(await { leave, publish, drain }[options.do]()))
process.exit(0)
