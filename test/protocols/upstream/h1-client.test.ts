/** Connections to an endpoint that are used again: what an endpoint does with them while nothing is asked. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../helpers/sim-clock.ts'
import type { CallEvents, HttpCall } from '../../../protocols/http/message.ts'
import { GET, Harness, OK, ORIGIN } from '../http/harness.ts'

const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc'

test('a pooled connection that the endpoint had closed is replaced by a fresh one, once and without a policy', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  await client.take()
  const [first] = origin.connections
  client.stream.write(GET, 'latin1')
  // The close crosses the request: it was written to a connection that is gone.
  const cross = async (): Promise<void> => {
    for (;;) {
      if (first!.received.endsWith('\r\n\r\n') && first!.received.indexOf('GET', 4) > 0) break
      await new Promise((r) => {
        setImmediate(r)
      })
    }
    first!.stream.destroy()
  }
  await cross()
  await settle()
  assert.equal(origin.connections.length, 2)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
})

test('a POST on a stale pooled connection is not sent again', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  await client.take()
  await client.send(POST)
  h.network.cut(ORIGIN)
  assert.match(await client.take(), /^HTTP\/1\.1 503 [^]*MESH_UPSTREAM_RESET/)
  assert.equal(origin.connections.length, 1)
})

test('a pooled connection on which unasked bytes came is not used again', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK + OK)
  assert.equal((await client.take()).split('200 OK').length, 2)
  await client.send(GET)
  assert.equal(origin.connections.length, 2)
})

test('an answer that an endpoint sends ahead, while the connection is idle, never reaches the next request', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  await client.take()
  await origin.answer(OK.replace('hi', 'XX'))
  assert.equal(origin.last.closed, true)
  await client.send(GET)
  assert.equal(origin.connections.length, 2)
  assert.equal(await client.take(), '')
  await origin.answer(OK)
  assert.match(await client.take(), /hi$/)
})

test('an answer that comes before its request has left: the connection is not used again', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n')
  const first = origin.last
  first.stream.pause()
  client.stream.write(Buffer.alloc(200_000, 'x'))
  await settle()
  first.stream.write(OK, 'latin1')
  await settle()
  assert.match(await client.take(), /200 OK/)
  await client.send(GET)
  assert.equal(origin.connections.length, 2)
  assert.equal(first.closed, true)
})

for (const status of [408, 413, 414, 431])
  test(`${status}: what the endpoint left of the request unread it answers to nobody`, async () => {
    await using h = new Harness()
    const origin = await h.origin()
    const client = h.connect()
    await client.send(POST)
    await origin.answer(`HTTP/1.1 ${status} Early\r\ncontent-length: 2\r\n\r\nno`)
    assert.match(await client.take(), new RegExp(`^HTTP/1\\.1 ${status} `))
    await client.send(GET)
    // It took "abc" for a request, and answers that now.
    origin.connections[0]!.stream.write(OK.replace('hi', 'XX'), 'latin1')
    await settle()
    assert.equal(await client.take(), '')
    await origin.answer(OK)
    assert.match(await client.take(), /hi$/)
    assert.equal(origin.connections.length, 2)
  })

test('an answer to a request that was read, whatever it says, leaves the connection for the next', async () => {
  for (const status of [200, 400, 404, 500]) {
    await using h = new Harness()
    const origin = await h.origin()
    const client = h.connect()
    await client.send(POST)
    await origin.answer(`HTTP/1.1 ${status} Said\r\ncontent-length: 2\r\n\r\nno`)
    await client.send(GET)
    assert.equal(origin.connections.length, 1)
  }
})

test('a call that is given up while the endpoint is still to answer, at a 103, gives its connection back', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  let call: HttpCall | undefined
  const events = {
    onCallPicked: () => {},
    onCall: (made: HttpCall) => {
      call = made
      const head = { method: 'GET', scheme: 'http', authority: 'a', path: '/', bodyLength: 0 } as const
      made.sendHead({ ...head, headers: [], maybeTrailers: false, upgrade: undefined }, true)
      made.sendEnd(undefined)
      made.flush()
    },
    onCallInformational: () => call!.cancel(),
  } as Partial<CallEvents> as CallEvents
  h.upstreams.startCall(
    h.tables.get().cluster('origin')!,
    { source: '10.0.0.9', speaks: 'http1', fresh: false, maxHostPicks: 1 },
    events,
  )
  await settle()
  await origin.answer('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n')
  assert.equal(origin.last.closed, true)
  assert.deepEqual(
    h.upstreams.clusterStatus().map((c) => [c.activeRequests, c.pendingRequests, c.connections]),
    [[0, 0, 0]],
  )
})
