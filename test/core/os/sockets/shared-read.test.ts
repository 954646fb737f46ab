import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import test from 'node:test'
import { Duplex } from 'node:stream'
import { readIntoSharedBuffer } from '../../../../core/os/sockets/shared-read.ts'

/** Two ends of a connection; the server's reads into the shared buffer. */
async function connect(t: test.TestContext): Promise<{ near: net.Socket; far: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const far = net.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', noDelay: true })
  const [near] = (await once(server, 'connection')) as [net.Socket]
  t.after(() => {
    far.destroy()
    near.destroy()
    server.close()
  })
  readIntoSharedBuffer(near)
  return { near, far }
}
/** What has come, once it is `bytes` long. */
function collect(socket: net.Socket, bytes: number): Promise<readonly Buffer[]> {
  const chunks: Buffer[] = []
  let length = 0
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      if (length >= bytes) resolve(chunks)
    })
  })
}

void test('this Node has what it rests on', async (t) => {
  const { near, far } = await connect(t)
  const chunks = collect(near, 1)
  far.write('x')
  const [chunk] = await chunks
  // Without it a chunk has memory of its own.
  assert.equal(chunk!.buffer.byteLength, 8 * 1024)
})

void test('chunks are not written over by what comes later, of this connection or another', async (t) => {
  const one = await connect(t)
  const other = await connect(t)
  const chunks: Buffer[] = []
  for (const [{ near, far }, text] of [
    [one, 'first'],
    [other, 'second'],
    [one, 'third'],
  ] as const) {
    const chunk = once(near, 'data')
    far.write(text)
    chunks.push(((await chunk) as [Buffer])[0])
  }
  assert.deepEqual(chunks.map(String), ['first', 'second', 'third'])
  assert.equal(chunks[0]!.buffer, chunks[2]!.buffer)
})

void test('more than the buffer holds comes whole, in order', async (t) => {
  const { near, far } = await connect(t)
  const sent = Buffer.alloc(1024 * 1024)
  for (let i = 0; i < sent.length; i++) sent[i] = (i * 31) >> 3
  const chunks = collect(near, sent.length)
  far.write(sent)
  assert.ok(Buffer.concat(await chunks).equals(sent))
})

void test('what was read before comes first; a pause holds everything back', async (t) => {
  const { near, far } = await connect(t)
  near.pause()
  near.unshift(Buffer.from('looked at, '))
  far.write('then written')
  const got: string[] = []
  near.on('data', (chunk: Buffer) => {
    got.push(chunk.toString())
    near.pause()
  })
  while (near.readableLength < 23) await new Promise((r) => setImmediate(r))
  assert.deepEqual(got, [])
  near.resume()
  while (got.length < 1) await new Promise((r) => setImmediate(r))
  assert.deepEqual(got, ['looked at, '])
  near.resume()
  while (got.length < 2) await new Promise((r) => setImmediate(r))
  assert.deepEqual(got, ['looked at, ', 'then written'])
})

void test('a socket that is paused stops reading when enough waits, and the rest comes later', async (t) => {
  const { near, far } = await connect(t)
  near.pause()
  const sent = Buffer.alloc(32 * 1024 * 1024, 'x')
  far.write(sent)
  while (near.readableLength < near.readableHighWaterMark) await new Promise((r) => setImmediate(r))
  for (let i = 0; i < 100; i++) await new Promise((r) => setImmediate(r))
  assert.ok(near.readableLength <= near.readableHighWaterMark + 64 * 1024)
  const all = collect(near, sent.length)
  near.resume()
  assert.equal(Buffer.concat(await all).length, sent.length)
})

void test('the end of what a peer sends is told, and what we write after it arrives', async (t) => {
  const { near, far } = await connect(t)
  near.resume()
  far.end('bye')
  await once(near, 'end')
  const answer = once(far, 'data')
  near.end('answer')
  assert.equal(String((await answer)[0]), 'answer')
})

void test('a peer that breaks off is noticed while nothing is read', async (t) => {
  const { near, far } = await connect(t)
  near.on('data', () => {})
  near.pause()
  const broken = once(near, 'error')
  far.resetAndDestroy()
  assert.equal(((await broken)[0] as NodeJS.ErrnoException).code, 'ECONNRESET')
})

void test('whoever gets a chunk may end the socket', async (t) => {
  const { near, far } = await connect(t)
  near.on('data', () => near.destroy())
  far.write('x')
  await once(near, 'close')
  assert.equal(near.destroyed, true)
})

void test('other streams, and sockets that are over, are left alone', async (t) => {
  const stream = new Duplex({ read() {}, write() {} })
  readIntoSharedBuffer(stream)
  assert.equal(stream.pause, Duplex.prototype.pause)
  const { near } = await connect(t)
  near.destroy()
  readIntoSharedBuffer(near)
  const closed = new net.Socket()
  readIntoSharedBuffer(closed)
  assert.equal(closed.pause, net.Socket.prototype.pause)
})
