/**
 * One client with many filters with wildcards; messages that each match one of them. Prints one JSON line.
 * argv: JSON with port, filters, seconds
 */
import net from 'node:net'
import { connectPacket, packets, publishPacket, subscribePacket, TYPE } from '../wire.ts'

const { port, filters, seconds } = JSON.parse(process.argv[2]!) as { port: number; filters: number; seconds: number }
const WINDOW = 100
const payload = Buffer.alloc(256, 'x')
const connect = (id: string): net.Socket => {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.write(connectPacket({ id, clean: true }))
  return socket
}

let delivered = 0
const sub = connect('wildcards-sub')
await new Promise<void>((ready) => {
  let acked = 0
  packets(sub, (first) => {
    const type = first >> 4
    if (type === TYPE.publish) delivered++
    else if (type === TYPE.suback && ++acked === filters) ready()
    else if (type === TYPE.connack) {
      const all = Array.from({ length: filters }, (_, i) =>
        subscribePacket(i % 2 === 0 ? `plant/+/machine-${i}/#` : `plant/line-${i % 100}/+/sensor-${i}`, 0),
      )
      sub.write(Buffer.concat(all))
    }
  })
})
const ready = Array.from({ length: 60_000 }, (_, i) =>
  publishPacket({
    topic: `plant/line-${i % 100}/machine-${i % filters}/sensor-${i % filters}`,
    qos: 1,
    packetId: i + 1,
    payload,
  }),
)
const pub = connect('wildcards-pub')
let sent = 0,
  acked = 0,
  stopped = false
await new Promise<void>((connected) => {
  let credit = 0
  packets(pub, (first) => {
    if (first >> 4 === TYPE.connack) connected()
    else if (first >> 4 === TYPE.puback) {
      acked++
      if (!stopped && credit++ === 0)
        setImmediate(() => {
          if (!stopped) send(credit)
          credit = 0
        })
    }
  })
})
function send(n: number): void {
  const out: Buffer[] = []
  for (let i = 0; i < n; i++) out.push(ready[sent++ % ready.length]!)
  pub.write(Buffer.concat(out))
}
const from = performance.now()
send(WINDOW)
await new Promise((r) => {
  setTimeout(r, seconds * 1000)
})
stopped = true
const took = (performance.now() - from) / 1000
for (let i = 0; i < 500 && (acked < sent || delivered < sent); i++)
  await new Promise((r) => {
    setTimeout(r, 10)
  })
console.log(JSON.stringify({ sent, acked, delivered, seconds: took }))
process.exit(0)
