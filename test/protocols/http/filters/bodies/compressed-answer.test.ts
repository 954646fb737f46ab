/** Compressed bodies on the wire: clients that read slowly or leave, requests, early answers. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import zlib from 'node:zlib'
import { randomBytes } from 'node:crypto'
import type { HttpFilter } from '../../../../../model/listener.ts'
import { Both, type Codec } from '../../both.ts'
import { manager, route } from '../../harness.ts'
import { compressorOf, GZIP } from './compressors.ts'

const UP = { enabled: true, minBytes: 1, types: new Set(['text/html']) }
const filters: readonly HttpFilter[] = [
  { kind: 'compressor', name: 'c', compressor: compressorOf(GZIP, { request: UP }) },
]
const LARGE = randomBytes(750_000).toString('base64').repeat(20)
const ACCEPT = [['accept-encoding', 'gzip']] as const
const CODECS: readonly Codec[] = ['http1', 'http2']

const joinChunks = (text: string): string => {
  let out = ''
  for (let at = 0; ;) {
    const end = text.indexOf('\r\n', at)
    const length = parseInt(text.slice(at, end), 16)
    if (!(length > 0)) return out
    out += text.slice(end + 2, end + 2 + length)
    at = end + 4 + length
  }
}
const waits = (both: Both): number => both.metrics.total('mesh_stream_waiting_bytes')

test('a client that stops reading stops the endpoint, and gets all of it when it goes on', async (t) => {
  let taken = 0
  const both = await Both.start(t, manager(undefined, { filters }), {
    answer: (_, response) => {
      response.setHeader('content-type', 'text/html')
      const more = (): void => {
        while (taken < LARGE.length) {
          const piece = LARGE.slice(taken, (taken += 16_384))
          if (!response.write(piece)) {
            response.once('drain', more)
            return
          }
        }
        response.end()
      }
      more()
    },
  })
  const socket = net.connect({ port: both.ports.http1, host: '127.0.0.1' })
  socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\naccept-encoding: gzip\r\n\r\n')
  socket.pause()
  let before = -1
  // It stands still: what sockets and zlib hold is far less than the body.
  while (taken !== before || taken === 0) {
    before = taken
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  assert.ok(taken < LARGE.length, `${taken} bytes were taken`)
  const chunks: Buffer[] = []
  socket.on('data', (bytes: Buffer) => chunks.push(bytes))
  socket.resume()
  await once(socket, 'close')
  const text = Buffer.concat(chunks).toString('latin1')
  const body = Buffer.from(joinChunks(text.slice(text.indexOf('\r\n\r\n') + 4)), 'latin1')
  assert.ok(zlib.gunzipSync(body).toString() === LARGE)
  assert.equal(waits(both), 0)
})

test('a client that leaves in the middle leaves nothing behind', async (t) => {
  const both = await Both.start(t, manager(undefined, { filters }), {
    answer: (_, response) => {
      response.setHeader('content-type', 'text/html')
      response.write(LARGE)
    },
  })
  const socket = net.connect({ port: both.ports.http1, host: '127.0.0.1' })
  socket.write('GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n')
  await once(socket, 'data')
  assert.ok(waits(both) > 0)
  socket.destroy()
  while (waits(both) > 0) await new Promise((resolve) => setImmediate(resolve))
})

for (const codec of CODECS) {
  test(`a request is compressed on its way over ${codec}`, async (t) => {
    const both = await Both.start(t, manager(undefined, { filters }))
    const fields = [['content-type', 'text/html']] as const
    const { saw, status } = await both.ask(codec, { method: 'POST', body: 'a'.repeat(500), fields })
    assert.equal(status, 200)
    assert.equal(saw!.headers['content-encoding'], 'gzip')
    assert.equal(zlib.gunzipSync(Buffer.from(saw!.body, 'latin1')).toString(), 'a'.repeat(500))
    assert.equal(waits(both), 0)
  })
  test(`an answer of meshlet's own is compressed like others over ${codec}`, async (t) => {
    const direct = route({ kind: 'direct', status: 200, body: 'b'.repeat(100) })
    const compressor = compressorOf(GZIP)
    const all = { ...compressor, response: { ...compressor.response, types: new Set(['text/plain']) } }
    const both = await Both.start(
      t,
      manager([direct], { filters: [{ kind: 'compressor', name: 'c', compressor: all }] }),
    )
    const { headers, body } = await both.ask(codec, { fields: ACCEPT })
    assert.equal(headers['content-encoding'], 'gzip')
    const bytes = Buffer.from(codec === 'http1' ? joinChunks(body) : body, 'latin1')
    assert.equal(zlib.gunzipSync(bytes).toString(), 'b'.repeat(100))
  })
  test(`the buffer filter makes a length of chunks, and refuses what is too long, over ${codec}`, async (t) => {
    const both = await Both.start(t, manager(undefined, { filters: [{ kind: 'buffer', name: 'b', maxBytes: 10 }] }))
    assert.equal((await both.ask(codec, { method: 'POST', body: '0123456789' })).saw!.headers['content-length'], '10')
    const refused = await both.ask(codec, { method: 'POST', body: '0123456789a' })
    assert.equal(refused.status, 413)
    assert.equal(refused.saw, undefined)
    assert.equal(refused.headers['x-meshlet-error'], 'MESH_REQUEST_TOO_LARGE')
    assert.equal(waits(both), 0)
  })
}
