/** A client that asks and does not take the answers costs what limits.maxBufferBytes says, however much it asks for. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Codec } from '../../../../model/listener.ts'
import { SocketOrigin, SocketRig } from '../../downstream/socket-rig.ts'
import { GET, Harness, manager, OK, route } from '../harness.ts'

const REQUESTS = 2_000
const BODY = 'x'.repeat(100_000)
const direct: Codec = { kind: 'http', http: manager([route({ kind: 'direct', status: 200, body: BODY })]) }
const forwarded: Codec = { kind: 'http', http: manager() }

for (const { name, codec } of [
  { name: 'our own', codec: direct },
  { name: "an endpoint's", codec: forwarded },
]) {
  test(`pipelined requests whose answers are not read, ${name}: the next is read when the last answer has left`, async () => {
    let asked = 0
    using origin = await SocketOrigin.listen((s) => {
      s.on('data', (d: Buffer) => {
        const n = d.toString('latin1').split('\r\n\r\n').length - 1
        asked += n
        for (let i = 0; i < n; i++) s.write(`HTTP/1.1 200 OK\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`)
      })
    })
    await using rig = await SocketRig.open({ codec }, { clusters: [origin.cluster()] })
    const served = (): number => rig.metrics.total('mesh_http_requests_total')
    const client = await rig.dial()
    client.pause()
    client.write(GET.repeat(REQUESTS))
    let before = -1
    await rig.until(
      'nothing moves any more',
      () => {
        const now = served() + asked
        const same = now === before
        before = now
        return same && now > 0
      },
      10,
    )
    for (let i = 0; i < 50; i++) await rig.clock.advance(10)
    // What the kernel takes for both ends of a loopback connection is some megabytes.
    assert.ok(served() < 300, `${served()} of ${REQUESTS} were answered`)
    let got = 0
    client.on('data', (d: Buffer) => {
      got += d.length
    })
    client.resume()
    await rig.until('all have come', () => got > REQUESTS * BODY.length && served() >= REQUESTS)
    assert.equal(served(), REQUESTS)
  })
}
/** So many of them fill the client's side of the simulated connection; the last one waits on ours. */
const SMALL = 10_000
const FILLING = 7
async function stuck(h: Harness): Promise<ReturnType<Harness['connect']>> {
  const client = h.connect(manager([route({ kind: 'direct', status: 200, body: 'x'.repeat(SMALL) })]))
  client.stream.pause()
  for (let i = 0; i < FILLING; i++) await client.send(GET)
  assert.equal(client.conn.stream.writableLength > SMALL, true)
  return client
}
const served = (h: Harness): number => h.metrics.total('mesh_http_requests_total')
const waiting = (h: Harness): number => h.metrics.total('mesh_stream_waiting_bytes')

test('a small answer that its client does not take: a moment later it counts against the memory budget, the next request waits', async () => {
  await using h = new Harness()
  const client = await stuck(h)
  assert.equal(waiting(h), 0)
  await h.clock.advance(100)
  assert.ok(waiting(h) > SMALL, `${waiting(h)} bytes are counted`)
  await client.send(GET)
  assert.equal(served(h), FILLING)
  client.stream.resume()
  await h.clock.advance(10)
  assert.equal(served(h), FILLING + 1)
  assert.equal((await client.take()).split('200 OK').length - 1, FILLING + 1)
  assert.equal(waiting(h), 0)
})
test('a small answer that its client does not take, and the next request at once: it waits all the same', async () => {
  await using h = new Harness()
  const client = await stuck(h)
  await client.send(GET.repeat(3))
  assert.equal(served(h), FILLING)
  client.stream.resume()
  await h.clock.advance(10)
  assert.equal((await client.take()).split('200 OK').length - 1, FILLING + 3)
})
test('a client that ends its side before it has taken the last answer gets it whole', async () => {
  await using h = new Harness()
  const client = await stuck(h)
  client.stream.end()
  await h.clock.advance(10)
  client.stream.resume()
  await h.clock.advance(10)
  const got = await client.take()
  assert.equal(got.split('200 OK').length - 1, FILLING)
  assert.ok(got.endsWith('x'.repeat(SMALL)))
  assert.equal((await client.outcome).error, undefined)
})
test('the idle time of a connection is what the configuration says, also after an answer that left late', async () => {
  await using h = new Harness()
  const client = h.connect(
    manager([route({ kind: 'direct', status: 200, body: 'x'.repeat(SMALL) })], { connectionIdleMs: 5_000 }),
  )
  client.stream.pause()
  for (let i = 0; i < FILLING; i++) await client.send(GET)
  client.stream.resume()
  await h.clock.advance(4_900)
  assert.equal(client.closed, false)
  await h.clock.advance(300)
  assert.equal(client.closed, true)
})
for (const maxBufferBytes of [8 * 1024, 64 * 1024, 512 * 1024]) {
  test(`maxBufferBytes ${maxBufferBytes}: so much of an answer waits for its client, so much of a request for its endpoint`, async () => {
    await using h = new Harness(undefined, { maxBufferBytes })
    const origin = await h.origin()
    const client = h.connect()
    client.stream.pause()
    await client.send(GET)
    origin.last.stream.write('HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n')
    for (let i = 0; i < 1_000; i++) origin.last.stream.write(Buffer.alloc(4_000))
    for (let i = 0; i < 400; i++) await h.clock.advance(0)
    // The client's side of the simulated connection holds 64 KiB and a chunk.
    const { sentBytes } = client.conn
    assert.ok(sentBytes >= maxBufferBytes && sentBytes <= maxBufferBytes + 72 * 1024, `${sentBytes}`)
    const upload = h.connect()
    await upload.send('PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n')
    const { stream } = origin.last
    stream.pause()
    let taken = 0
    const more = (): void => {
      while (taken < 1_000 && upload.stream.writableLength < 4_000) {
        upload.stream.write(Buffer.alloc(4_000))
        taken++
      }
    }
    for (let i = 0; i < 400; i++) {
      more()
      await h.clock.advance(0)
    }
    assert.ok(taken * 4_000 < maxBufferBytes + 512 * 1024, `${taken * 4_000} bytes were taken`)
    stream.resume()
    for (let i = 0; i < 400 && taken < 1_000; i++) {
      more()
      await h.clock.advance(0)
    }
    await origin.last.send(OK)
    assert.match(await upload.take(), /200 OK/)
  })
}
