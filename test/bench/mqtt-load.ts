/**
 * A load generator that is nobody's client: fixed MQTT 3.1.1 packets, counted bytes. Prints one JSON line.
 * argv: port, qos, window, seconds, subscriber (none | clean | persistent), payloadBytes
 */
import net from 'node:net'
import { once } from 'node:events'

const [port, qos, window, seconds, subscriber, payloadBytes] = [Number(process.argv[2]), Number(process.argv[3]), Number(process.argv[4]), Number(process.argv[5]), process.argv[6], Number(process.argv[7])]
const TOPIC = 'telemetry/bench'
const text = (s: string): Buffer => Buffer.concat([Buffer.from([s.length >> 8, s.length & 255]), Buffer.from(s)])
const packet = (first: number, body: Buffer): Buffer => {
  const length: number[] = []
  for (let n = body.length; ;) { length.push((n & 127) | (n > 127 ? 128 : 0)); n >>= 7; if (n === 0) break }
  return Buffer.concat([Buffer.from([first, ...length]), body])
}
const connect = (id: string, cleanSession: boolean): Buffer => packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([4, cleanSession ? 2 : 0, 0, 60]), text(id)]))
const SUBSCRIBE = packet(0x82, Buffer.concat([Buffer.from([0, 1]), text('telemetry/#'), Buffer.from([Math.min(qos, 1)])]))

/** Calls `each` with the first byte and packet id offset of every packet in the stream. */
function packets(socket: net.Socket, each: (first: number, body: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    const all = rest.length ? Buffer.concat([rest, chunk]) : chunk
    let at = 0
    for (;;) {
      let length = 0, shift = 0, head = at + 1
      for (;;) { const b = all[head]; if (b === undefined) { head = -1; break } head++; length |= (b & 127) << shift; shift += 7; if (b < 128) break }
      if (head < 0 || head + length > all.length) break
      each(all[at]!, all.subarray(head, head + length))
      at = head + length
    }
    rest = all.subarray(at)
  })
}

async function session(id: string, clean: boolean): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.write(connect(id, clean))
  return socket
}

let delivered = 0
const subscribed = async (): Promise<net.Socket | undefined> => {
  if (subscriber === 'none') return undefined
  const socket = await session('bench-sub', subscriber === 'clean')
  let acks: Buffer[] = []
  await new Promise<void>((ready) => {
    packets(socket, (first, body) => {
      if (first === 0x20) socket.write(SUBSCRIBE)
      else if (first === 0x90) ready()
      else if (first >> 4 === 3) {
        delivered++
        if ((first >> 1 & 3) === 1) {
          const at = 2 + body.readUInt16BE(0)
          if (acks.length === 0) setImmediate(() => { socket.write(Buffer.concat(acks)); acks = [] })
          acks.push(Buffer.from([0x40, 2, body[at]!, body[at + 1]!]))
        }
      }
    })
  })
  return socket
}

/** An offline persistent session: what is published goes to its queue. */
async function leaveSessionBehind(): Promise<void> {
  const socket = await session('bench-sub', false)
  await new Promise<void>((done) => { packets(socket, (first) => { if (first === 0x20) socket.write(SUBSCRIBE); else if (first === 0x90) done() }) })
  socket.end(Buffer.from([0xe0, 0]))
  await once(socket, 'close')
}

const sub = subscriber === 'offline' ? (await leaveSessionBehind(), undefined) : await subscribed()
const pub = await session('bench-pub', true)
const payload = Buffer.alloc(payloadBytes, 'x')
const ready: Buffer[] = Array.from({ length: 65_536 }, (_, id) => packet(0x30 | qos << 1, Buffer.concat([text(TOPIC), qos ? Buffer.from([id >> 8, id & 255]) : Buffer.alloc(0), payload])))
let sent = 0, acked = 0, nextId = 1, stopped = false
const startedAt = new Float64Array(65_536)
const latencies: number[] = []
const send = (count: number): void => {
  const now = performance.now()
  const out: Buffer[] = []
  for (let i = 0; i < count; i++) { out.push(ready[nextId]!); startedAt[nextId] = now; nextId = nextId === 65_535 ? 1 : nextId + 1; sent++ }
  pub.write(Buffer.concat(out))
}
let credit = 0
await new Promise<void>((connected) => {
  packets(pub, (first, body) => {
    if (first === 0x20) connected()
    else if (first === 0x40) {
      acked++
      if (acked % 64 === 0) latencies.push(performance.now() - startedAt[body.readUInt16BE(0)]!)
      if (!stopped && credit++ === 0) setImmediate(() => { const n = credit; credit = 0; if (!stopped) send(n) })
    }
  })
})
const from = performance.now()
if (qos === 0) {
  while (performance.now() - from < seconds * 1000) {
    send(window)
    if (pub.writableLength > 1 << 20) await once(pub, 'drain')
    // QoS 0 has no acknowledgement: the subscriber's pace is the only measure that the broker keeps up.
    while (sub && sent - delivered > 20_000 && performance.now() - from < seconds * 1000) await new Promise((r) => { setImmediate(r) })
    await new Promise((r) => { setImmediate(r) })
  }
} else {
  send(window)
  await new Promise((r) => { setTimeout(r, seconds * 1000) })
}
stopped = true
const took = (performance.now() - from) / 1000
const wanted = (): boolean => (qos === 0 || acked === sent) && (!sub || delivered >= sent)
for (let i = 0; i < 200 && !wanted(); i++) await new Promise((r) => { setTimeout(r, 10) })
latencies.sort((a, b) => a - b)
const at = (share: number): number | null => latencies[Math.floor(share * (latencies.length - 1))] ?? null
console.log(JSON.stringify({ sent, acked, delivered, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) }))
process.exit(0)
