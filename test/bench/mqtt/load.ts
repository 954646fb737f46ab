/**
 * A load generator that is nobody's client: MQTT 3.1.1 packets made beforehand. Prints one JSON line.
 * argv: port, qos, window, seconds, subscriber (none | clean | persistent), payloadBytes
 */
import net from 'node:net'
import { once } from 'node:events'
import { ackPacket, connectPacket, DISCONNECT, packets, publishPacket, subscribePacket, TYPE } from './wire.ts'

const [port, qos, window, seconds, subscriber, payloadBytes] = [
  Number(process.argv[2]),
  Number(process.argv[3]),
  Number(process.argv[4]),
  Number(process.argv[5]),
  process.argv[6],
  Number(process.argv[7]),
]
const TOPIC = 'telemetry/bench'
const SUBSCRIBE = subscribePacket('telemetry/#', qos)
/** QoS 0 has no acknowledgement: the subscriber's pace is the only measure that the broker keeps up. */
const MAX_QOS0_ON_THE_WAY = 2_000
/** One message of so many is timed. */
const TIMED_ONE_IN = 64
const latencies: number[] = []

/** What is written in one turn of the event loop leaves as one. */
function gathered(socket: net.Socket): (bytes: Buffer) => void {
  let out: Buffer[] = []
  return (bytes) => {
    if (out.length === 0)
      setImmediate(() => {
        socket.write(Buffer.concat(out))
        out = []
      })
    out.push(bytes)
  }
}

async function session(id: string, clean: boolean): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.write(connectPacket({ id, clean }))
  return socket
}

/** QoS 0: when which message was written, by its number. */
const sentAt = new Float64Array(1 << 15)
let delivered = 0
async function subscribed(): Promise<net.Socket> {
  const socket = await session('bench-sub', subscriber === 'clean')
  const answer = gathered(socket)
  await new Promise<void>((ready) => {
    packets(socket, (first, body) => {
      const type = first >> 4
      if (type === TYPE.connack) socket.write(SUBSCRIBE)
      else if (type === TYPE.suback) ready()
      else if (type === TYPE.pubrel) answer(ackPacket(TYPE.pubcomp, body.readUInt16BE(0)))
      else if (type === TYPE.publish) {
        if (qos === 0 && delivered % TIMED_ONE_IN === 0)
          latencies.push(performance.now() - sentAt[delivered % sentAt.length]!)
        delivered++
        const its = (first >> 1) & 3
        if (its > 0)
          answer(ackPacket(its === 1 ? TYPE.puback : TYPE.pubrec, body.readUInt16BE(2 + body.readUInt16BE(0))))
      }
    })
  })
  return socket
}

/** An offline persistent session: what is published goes to its queue. */
async function leaveSessionBehind(): Promise<void> {
  const socket = await session('bench-sub', false)
  await new Promise<void>((done) => {
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) socket.write(SUBSCRIBE)
      else if (first >> 4 === TYPE.suback) done()
    })
  })
  socket.end(DISCONNECT)
  await once(socket, 'close')
}

const sub = subscriber === 'offline' ? (await leaveSessionBehind(), undefined) : await subscribed()
const pub = await session('bench-pub', true)
const payload = Buffer.alloc(payloadBytes, 'x')
const ready: Buffer[] = Array.from({ length: 65_536 }, (_, packetId) =>
  publishPacket({ topic: TOPIC, qos, packetId, payload }),
)
let sent = 0,
  acked = 0,
  nextId = 1,
  stopped = false
const startedAt = new Float64Array(65_536)
const send = (count: number): void => {
  const now = performance.now()
  const out: Buffer[] = []
  for (let i = 0; i < count; i++) {
    out.push(ready[nextId]!)
    if (qos === 0) sentAt[sent % sentAt.length] = now
    else startedAt[nextId] = now
    nextId = nextId === 65_535 ? 1 : nextId + 1
    sent++
  }
  pub.write(Buffer.concat(out))
}
let credit = 0
const release = gathered(pub)
await new Promise<void>((connected) => {
  packets(pub, (first, body) => {
    const type = first >> 4
    if (type === TYPE.connack) connected()
    else if (type === TYPE.pubrec) release(ackPacket(TYPE.pubrel, body.readUInt16BE(0)))
    else if (type === TYPE.puback || type === TYPE.pubcomp) {
      acked++
      if (acked % TIMED_ONE_IN === 0) latencies.push(performance.now() - startedAt[body.readUInt16BE(0)]!)
      if (!stopped && credit++ === 0)
        setImmediate(() => {
          const n = credit
          credit = 0
          if (!stopped) send(n)
        })
    }
  })
})
const from = performance.now()
if (qos === 0) {
  while (performance.now() - from < seconds * 1000) {
    send(window)
    if (pub.writableLength > 1 << 20) await once(pub, 'drain')
    while (sub && sent - delivered > MAX_QOS0_ON_THE_WAY && performance.now() - from < seconds * 1000)
      await new Promise((r) => {
        setImmediate(r)
      })
    await new Promise((r) => {
      setImmediate(r)
    })
  }
} else {
  send(window)
  await new Promise((r) => {
    setTimeout(r, seconds * 1000)
  })
}
stopped = true
const took = (performance.now() - from) / 1000
const wanted = (): boolean => (qos === 0 || acked === sent) && (!sub || delivered >= sent)
for (let i = 0; i < 200 && !wanted(); i++)
  await new Promise((r) => {
    setTimeout(r, 10)
  })
latencies.sort((a, b) => a - b)
const at = (share: number): number | null => latencies[Math.floor(share * (latencies.length - 1))] ?? null
console.log(JSON.stringify({ sent, acked, delivered, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) }))
process.exit(0)
