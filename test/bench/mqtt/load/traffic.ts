/**
 * A load generator that is nobody's client: MQTT 3.1.1 packets made beforehand. Prints one JSON line.
 * argv: JSON with port, qos, window, seconds, subscriber (clean | persistent | offline), payloadBytes, publishers,
 * subscribers
 */
import net from 'node:net'
import { once } from 'node:events'
import { ackPacket, connectPacket, DISCONNECT, packets, publishPacket, subscribePacket, TYPE } from '../wire.ts'

const { port, qos, window, seconds, subscriber, payloadBytes, publishers, subscribers } = JSON.parse(
  process.argv[2]!,
) as {
  port: number
  qos: 0 | 1 | 2
  window: number
  seconds: number
  subscriber: 'clean' | 'persistent' | 'offline'
  payloadBytes: number
  publishers: number
  subscribers: number
}
const SUBSCRIBE = subscribePacket('telemetry/#', qos)
/** QoS 0 has no acknowledgement: the subscriber's pace is the only measure that the broker keeps up. */
const MAX_QOS0_ON_THE_WAY = Math.max(1, Math.min(2_000, Math.floor((8 * 1024 * 1024) / payloadBytes)))
/** One message of so many is timed, from the first on: a slow disk may not take more within the time. */
const TIMED_ONE_IN = 64
/** Larger packets are not copied into one with others. */
const COPY_BYTES = 16 * 1024
const latencies: number[] = []

/** What is written in one turn of the event loop leaves as one. */
function gathered(socket: net.Socket): (bytes: Buffer) => void {
  let out: Buffer[] = []
  return (bytes) => {
    if (out.length === 0)
      setImmediate(() => {
        socket.write(out.length === 1 ? out[0]! : Buffer.concat(out))
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
async function subscribed(name: string): Promise<void> {
  const socket = await session(name, subscriber === 'clean')
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
}

/** An offline persistent session: what is published goes to its queue. */
async function leaveSessionBehind(): Promise<void> {
  const socket = await session('bench-sub-0', false)
  await new Promise<void>((done) => {
    packets(socket, (first) => {
      if (first >> 4 === TYPE.connack) socket.write(SUBSCRIBE)
      else if (first >> 4 === TYPE.suback) done()
    })
  })
  socket.end(DISCONNECT)
  await once(socket, 'close')
}

let sent = 0,
  acked = 0,
  stopped = false
const payload = Buffer.alloc(payloadBytes, 'x')

class Publisher {
  readonly #socket: net.Socket
  readonly #ready: readonly Buffer[]
  readonly #startedAt = new Float64Array(65_536)
  #nextId = 1
  #credit = 0

  /** @param ids packet ids that it takes in turn */
  constructor(socket: net.Socket, name: string, ids: number) {
    this.#socket = socket
    this.#ready = Array.from({ length: ids + 1 }, (_, packetId) =>
      publishPacket({ topic: `telemetry/${name}`, qos, packetId, payload: packetId === 0 ? Buffer.alloc(0) : payload }),
    )
  }
  get isBehind(): boolean {
    return this.#socket.writableLength > 1 << 20
  }
  drained(): Promise<unknown> {
    return once(this.#socket, 'drain')
  }
  connected(): Promise<void> {
    const release = gathered(this.#socket)
    return new Promise((connected) => {
      packets(this.#socket, (first, body) => {
        const type = first >> 4
        if (type === TYPE.connack) connected()
        else if (type === TYPE.pubrec) release(ackPacket(TYPE.pubrel, body.readUInt16BE(0)))
        else if (type === TYPE.puback || type === TYPE.pubcomp) this.#acked(body.readUInt16BE(0))
      })
    })
  }
  #acked(id: number): void {
    if (acked++ % TIMED_ONE_IN === 0) latencies.push(performance.now() - this.#startedAt[id]!)
    if (!stopped && this.#credit++ === 0)
      setImmediate(() => {
        const n = this.#credit
        this.#credit = 0
        if (!stopped) this.send(n)
      })
  }
  send(count: number): void {
    const now = performance.now()
    const out: Buffer[] = []
    for (let i = 0; i < count; i++) {
      out.push(this.#ready[this.#nextId]!)
      if (qos === 0) sentAt[sent % sentAt.length] = now
      else this.#startedAt[this.#nextId] = now
      this.#nextId = this.#nextId === this.#ready.length - 1 ? 1 : this.#nextId + 1
      sent++
    }
    if (out.length === 1) this.#socket.write(out[0]!)
    else if (payloadBytes <= COPY_BYTES) this.#socket.write(Buffer.concat(out))
    else {
      this.#socket.cork()
      for (const one of out) this.#socket.write(one)
      this.#socket.uncork()
    }
  }
}

const turn = (): Promise<void> =>
  new Promise((r) => {
    setImmediate(r)
  })

if (subscriber === 'offline') await leaveSessionBehind()
else for (let i = 0; i < subscribers; i++) await subscribed(`bench-sub-${i}`)
// As many ids as there are, but not more memory than the messages on the way take twice.
const ids = payloadBytes > 1024 || publishers > 1 ? Math.max(4, window * 2) : 65_535
const all: Publisher[] = []
for (let i = 0; i < publishers; i++) {
  const one = new Publisher(await session(`bench-pub-${i}`, true), String(i), ids)
  await one.connected()
  all.push(one)
}
const from = performance.now()
const untilMs = from + seconds * 1000
if (qos === 0) {
  const [one] = all as [Publisher]
  while (performance.now() < untilMs) {
    one.send(Math.min(window, MAX_QOS0_ON_THE_WAY))
    if (one.isBehind) await one.drained()
    while (sent - delivered > MAX_QOS0_ON_THE_WAY && performance.now() < untilMs) await turn()
    await turn()
  }
} else {
  for (const one of all) one.send(window)
  await new Promise((r) => {
    setTimeout(r, seconds * 1000)
  })
}
stopped = true
const took = (performance.now() - from) / 1000
const wanted = (): boolean =>
  (qos === 0 || acked === sent) && (subscriber === 'offline' || delivered >= sent * subscribers)
for (let i = 0; i < 500 && !wanted(); i++)
  await new Promise((r) => {
    setTimeout(r, 10)
  })
latencies.sort((a, b) => a - b)
const at = (share: number): number | null => latencies[Math.floor(share * (latencies.length - 1))] ?? null
console.log(JSON.stringify({ sent, acked, delivered, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) }))
process.exit(0)
