import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { frame } from '../../../protocols/dns/resolver/exchange.ts'
import { a, query, told } from '../../helpers/dns.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { AT, DnsSite } from './site.ts'

class Client {
  readonly stream: Duplex
  #got = Buffer.alloc(0)
  closed = false
  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('data', (chunk: Buffer) => {
      this.#got = Buffer.concat([this.#got, chunk])
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      this.closed = true
    })
    stream.on('end', () => {
      this.closed = true
    })
  }
  static async connect(site: DnsSite): Promise<Client> {
    return new Client((await site.sim.dial(AT, new AbortController().signal)).stream)
  }
  get answers(): Buffer[] {
    const all: Buffer[] = []
    for (let at = 0; at + 2 <= this.#got.length; at += 2 + this.#got.readUInt16BE(at))
      all.push(this.#got.subarray(at + 2, at + 2 + this.#got.readUInt16BE(at)))
    return all
  }
}

test('several queries on one connection, cut anywhere, are all answered', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  const client = await Client.connect(site)
  const bytes = Buffer.concat(
    [
      query('api.shop.svc.cluster.local', 'A', { id: 1 }),
      query('b.example', 'A', { id: 2 }),
      query('api.shop.svc.cluster.local', 'AAAA', { id: 3 }),
    ].map(frame),
  )
  for (const byte of bytes) {
    client.stream.write(Buffer.of(byte))
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  await settle()
  assert.deepEqual(new Set(client.answers.map((b) => b.readUInt16BE(0))), new Set([1, 2, 3]))
  assert.equal(client.closed, false)
})
test('answers come as they are ready: a slow one holds up nobody (RFC 7766 §6.2.1.1)', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream(() => undefined)
  const client = await Client.connect(site)
  client.stream.write(frame(query('slow.example', 'A', { id: 1 })))
  client.stream.write(frame(query('api.shop.svc.cluster.local', 'A', { id: 2 })))
  await settle()
  assert.deepEqual(
    client.answers.map((b) => b.readUInt16BE(0)),
    [2],
  )
  upstream.script = (name) => ({ answers: [a(name, '9.9.9.9')] })
  await site.clock.advance(2_000)
  assert.deepEqual(
    client.answers.map((b) => b.readUInt16BE(0)),
    [2, 1],
  )
})
test('a client that ends its side still gets its answers, then the connection ends', async (t) => {
  const site = await DnsSite.start(t)
  await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }))
  const client = await Client.connect(site)
  client.stream.end(frame(query('www.example.com')))
  await settle()
  await settle()
  assert.deepEqual([client.answers.map(told), client.closed], [['NOERROR, www.example.com 60 A 9.9.9.9'], true])
  assert.equal(site.metrics.total('mesh_dns_tcp_connections'), 0)
})
test('a connection without queries is closed after its idle time, one that waits for an answer is not', async (t) => {
  const site = await DnsSite.start(t, { tcpIdleMs: 1_000 })
  await site.upstream(() => undefined)
  const [idle, waiting] = [await Client.connect(site), await Client.connect(site)]
  waiting.stream.write(frame(query('www.example.com')))
  await site.clock.advance(500)
  idle.stream.write(Buffer.of(0)) // a byte is no query
  await site.clock.advance(500)
  assert.deepEqual([idle.closed, waiting.closed], [true, false])
  assert.equal(site.metrics.total('mesh_dns_refused_total', { code: 'MESH_IDLE_TIMEOUT' }), 1)
  await site.clock.advance(3_500)
  assert.deepEqual([waiting.answers.map(told), waiting.closed], [['SERVFAIL'], false])
  await site.clock.advance(1_000)
  assert.equal(waiting.closed, true)
})
for (const { name, length } of [
  { name: 'longer than a query can be', length: 4_097 },
  { name: 'shorter than a header', length: 11 },
  { name: 'of no bytes', length: 0 },
]) {
  test(`a message ${name} ends the connection`, async (t) => {
    const site = await DnsSite.start(t)
    const client = await Client.connect(site)
    client.stream.write(Buffer.of(length >> 8, length & 255))
    await settle()
    assert.equal(client.closed, true)
    assert.equal(site.metrics.total('mesh_dns_refused_total', { code: 'MESH_MALFORMED_INPUT' }), 1)
  })
}
test('more connections than allowed are closed at once and counted; a place that is left is free', async (t) => {
  const site = await DnsSite.start(t, { maxTcpConnections: 2 })
  const clients = [await Client.connect(site), await Client.connect(site), await Client.connect(site)]
  await settle()
  assert.deepEqual(
    clients.map((c) => c.closed),
    [false, false, true],
  )
  assert.equal(site.metrics.total('mesh_dns_refused_total', { code: 'MESH_LISTENER_FULL' }), 1)
  clients[0]!.stream.destroy()
  await settle()
  const next = await Client.connect(site)
  next.stream.write(frame(query('api.shop.svc.cluster.local')))
  await settle()
  assert.equal(next.answers.length, 1)
})
test('one client with all the connections gives one to another that comes', async (t) => {
  const shared = { maxTcpConnections: 2 }
  const site = await DnsSite.start(t, shared)
  const dial = async (host: string): Promise<Duplex> => {
    const { stream } = await site.sim.dial(AT, new AbortController().signal, { from: host })
    stream.on('error', () => {}).resume()
    await settle()
    return stream
  }
  const greedy = [await dial('10.0.0.1'), await dial('10.0.0.1'), await dial('10.0.0.1')]
  assert.deepEqual(
    greedy.map((s) => s.destroyed || s.readableEnded),
    [false, false, true],
  )
  const other = await dial('10.0.0.2')
  assert.deepEqual(
    [...greedy, other].map((s) => s.destroyed || s.readableEnded),
    [true, false, true, false],
  )
})
test('a client that sends and never reads is not read from any more', async (t) => {
  const site = await DnsSite.start(t)
  const { stream } = await site.sim.dial(AT, new AbortController().signal)
  stream.on('error', () => {})
  const message = frame(query('api.shop.svc.cluster.local'))
  let sent = 0
  for (; sent < 20_000 && !stream.writableNeedDrain; sent++) {
    stream.write(message)
    if (sent % 100 === 0) await settle()
  }
  const answered = site.count({ source: 'table' })
  await settle()
  assert.ok(sent < 20_000, 'the client is held up')
  assert.ok(answered < 3_000, `${answered} answers wait`)
  await site.clock.advance(10_000)
  assert.equal(site.metrics.total('mesh_dns_tcp_connections'), 0, 'and in the end cut off')
})
