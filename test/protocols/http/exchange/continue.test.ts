/** `expect: 100-continue` (RFC 9110 §10.1.1): who answers it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { Both } from '../both.ts'
import { forwardTo, Harness, manager, OK, route } from '../harness.ts'

const HEAD = 'POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n'

test('proxy_100_continue: the endpoint is asked, and its refusal comes instead of our 100', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager(undefined, { proxyContinue: true }))
  await client.send(HEAD)
  assert.equal(await client.take(), '')
  assert.match(await origin.last.take(), /\r\nexpect: 100-continue\r\n[^]*content-length: 3\r\n\r\n$/)
  await origin.answer('HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno')
  const answer = await client.take()
  assert.match(answer, /^HTTP\/1\.1 401 [^]*connection: close\r\n[^]*no$/)
  assert.equal(answer.includes('100 Continue'), false)
  // Whatever the client sends now belongs to no request.
  await client.send('abc')
  assert.equal(await origin.last.take(), '')
  assert.equal(origin.last.closed, true)
})
test('proxy_100_continue: its 100 goes on, once, and then the body', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager(undefined, { proxyContinue: true }))
  await client.send(HEAD)
  await origin.answer('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n')
  assert.equal(await client.take(), 'HTTP/1.1 100 Continue\r\n\r\n')
  await origin.last.take()
  await client.send('abc')
  assert.equal(await origin.last.take(), 'abc')
  await origin.answer(OK)
  const answer = await client.take()
  assert.match(answer, /^HTTP\/1\.1 200 OK/)
})
test('proxy_100_continue: a client that expects nothing gets no 100', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager(undefined, { proxyContinue: true }))
  await client.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc')
  assert.equal((await origin.last.take()).includes('expect'), false)
  await origin.answer('HTTP/1.1 100 Continue\r\n\r\n')
  assert.equal(await client.take(), '')
})
test('without it the 100 is ours, and the endpoint is not asked', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(HEAD)
  assert.equal(await client.take(), 'HTTP/1.1 100 Continue\r\n\r\n')
  assert.equal((await origin.last.take()).includes('expect'), false)
})
test('what is refused here gets no 100', async () => {
  await using h = new Harness()
  const client = h.connect(manager([], {}))
  await client.send(HEAD)
  assert.match(await client.take(), /^HTTP\/1\.1 404 [^]*connection: close/)
})
for (const refuses of [true, false]) {
  test(`proxy_100_continue over HTTP/2: the endpoint ${refuses ? 'refuses' : 'wants the body'}`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo())], { proxyContinue: true }), {
      onContinue: (_request, response) => {
        if (refuses) {
          response.statusCode = 401
          response.end('no')
        } else {
          response.writeContinue()
          response.end('yes')
        }
      },
    })
    const session = http2.connect(`http://127.0.0.1:${both.ports.http2}`)
    t.after(() => {
      session.destroy()
    })
    session.on('error', () => {})
    const stream = session.request({ ':method': 'POST', ':path': '/', ':authority': 'a', expect: '100-continue' })
    stream.on('error', () => {})
    let continued = 0
    stream.on('continue', () => {
      continued++
      stream.end('abc')
    })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
    assert.deepEqual([headers[':status'], continued], refuses ? [401, 0] : [200, 1])
  })
}
