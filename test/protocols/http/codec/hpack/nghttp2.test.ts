/** nghttp2 (node:http2) reads what our encoder writes, and the other way round, with tables of several sizes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { test } from 'node:test'
import { HpackDecoder } from '../../../../../protocols/http/codec/hpack/decoder.ts'
import { HpackEncoder } from '../../../../../protocols/http/codec/hpack/encoder.ts'
import { frame, portOf, PREFACE, RawH2 } from '../../../../helpers/raw-h2.ts'
import { seededRandom } from '../../../../helpers/random.ts'

const REQUESTS = 300
const HEADERS = 1
const SETTINGS = 4
const END_STREAM = 1
const END_HEADERS = 4
const ACK = 1
const LIMITS = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 }

const settings = (tableBytes: number): Buffer => {
  const payload = Buffer.alloc(6)
  payload.writeUInt16BE(1, 0)
  payload.writeUInt32BE(tableBytes, 2)
  return frame(SETTINGS, 0, 0, payload)
}

function encode(encoder: HpackEncoder, fields: readonly string[]): Buffer {
  const out = Buffer.alloc(encoder.bound(fields))
  return out.subarray(0, encoder.encode(fields, out, 0))
}

/** Some that repeat, some that do not, some that nothing may index. */
function lists(pseudo: (i: number) => string[]): string[][] {
  const random = seededRandom(7541)
  const below = (n: number): number => Math.floor(random.float() * n)
  return Array.from({ length: REQUESTS }, (_, i) => [
    ...pseudo(i),
    'user-agent',
    `client/${below(3)}`,
    'authorization',
    `Bearer ${below(5)}`,
    'x-request-id',
    String(below(1e9)),
    ...Array.from({ length: below(10) }, () => [`x-${below(8)}`, 'v'.repeat(below(200)) + below(4)]).flat(),
  ])
}
const requests = lists((i) => [
  ':method',
  'GET',
  ':scheme',
  'http',
  ':authority',
  'a.example',
  ':path',
  i % 3 === 0 ? '/' : `/p/${i}`,
])
const responses = lists((i) => [':status', String(200 + (i % 3))])

for (const tableBytes of [4096, 0, 300, 65_536]) {
  test(`nghttp2 reads the requests of our encoder, table of ${tableBytes} bytes`, async () => {
    const heard = new Map<number, string[]>()
    const server = http2.createServer({ settings: { headerTableSize: tableBytes } })
    server.on('stream', (stream: http2.ServerHttp2Stream, _headers, _flags, raw) => {
      heard.set(stream.id!, raw as unknown as string[])
      stream.respond({ ':status': 200 }, { endStream: true })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const peer = new RawH2(portOf(server))
    await peer.until((f) => f.type === SETTINGS && (f.flags & ACK) === 0)
    peer.socket.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)))
    const encoder = new HpackEncoder()
    encoder.setMaxTableBytes(tableBytes)
    for (const [i, fields] of requests.entries()) {
      const stream = 2 * i + 1
      peer.socket.write(frame(HEADERS, END_STREAM | END_HEADERS, stream, encode(encoder, fields)))
      const answer = await peer.until((f) => f.stream === stream || f.type === 7)
      assert.equal(answer?.type, HEADERS, 'GOAWAY or an end')
      assert.deepEqual(heard.get(stream), fields)
    }
    assert.ok(tableBytes === 0 || encoder.table.count > 0)
    peer.close()
    server.close()
  })

  test(`we read the requests of nghttp2, and nghttp2 our responses, table of ${tableBytes} bytes`, async () => {
    const decoder = new HpackDecoder({ ...LIMITS, maxTableBytes: tableBytes })
    const encoder = new HpackEncoder()
    const heard: string[][] = []
    const server = net.createServer((socket) => {
      let rest = Buffer.alloc(0)
      let isOpen = false
      socket.write(settings(tableBytes))
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk])
        if (!isOpen) {
          rest = rest.subarray(PREFACE.indexOf('SM\r\n\r\n') + 6)
          isOpen = true
        }
        for (; rest.length >= 9; rest = rest.subarray(9 + rest.readUIntBE(0, 3))) {
          const size = 9 + rest.readUIntBE(0, 3)
          if (rest.length < size) return
          const [type, flags, stream] = [rest[3]!, rest[4]!, rest.readUInt32BE(5)]
          if (type === SETTINGS && (flags & ACK) === 0) {
            encoder.setMaxTableBytes(tableBytes)
            socket.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)))
          }
          if (type !== HEADERS) continue
          const skipped = (flags & 0x20) === 0 ? 0 : 5 // the priority that nghttp2 may send
          heard.push(decoder.decode(rest, 9 + skipped, size).fields)
          socket.write(frame(HEADERS, END_STREAM | END_HEADERS, stream, encode(encoder, responses[(stream - 1) / 2]!)))
        }
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const client = http2.connect(`http://127.0.0.1:${portOf(server)}`, { settings: { headerTableSize: tableBytes } })
    await once(client, 'remoteSettings')
    for (const [i, fields] of requests.entries()) {
      const stream = client.request(fields as never, { endStream: true })
      const answered = once(stream, 'response')
      stream.resume()
      const [, , raw] = (await answered) as [unknown, unknown, string[]]
      assert.deepEqual(heard[i], fields)
      assert.deepEqual(raw, responses[i])
    }
    assert.ok(tableBytes === 0 || decoder.table.count > 0)
    client.destroy()
    server.close()
  })
}

test('node marks what it is told to as never-indexed, and so it leaves', async () => {
  const decoder = new HpackDecoder(LIMITS)
  const fields = await new Promise<string[]>((resolve) => {
    const server = net.createServer((socket) => {
      let all = Buffer.alloc(0)
      socket.write(frame(SETTINGS, 0, 0, Buffer.alloc(0)))
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        all = Buffer.concat([all, chunk])
        for (let at = 24; all.length >= at + 9; at += 9 + all.readUIntBE(at, 3)) {
          const end = at + 9 + all.readUIntBE(at, 3)
          if (all[at + 3] !== HEADERS || all.length < end) continue
          resolve(decoder.decode(all, at + 9 + ((all[at + 4]! & 0x20) === 0 ? 0 : 5), end).fields)
          client.destroy()
          server.close()
          return
        }
      })
    })
    let client: http2.ClientHttp2Session
    server.listen(0, '127.0.0.1', () => {
      client = http2.connect(`http://127.0.0.1:${portOf(server)}`)
      client.on('error', () => {})
      const headers = { ':path': '/', 'x-key': 'told to nobody', [http2.sensitiveHeaders]: ['x-key'] }
      client.request(headers).on('error', () => {})
    })
  })
  assert.ok(fields.includes('told to nobody'))
  const encoder = new HpackEncoder()
  for (let i = 0; i < 3; i++) assert.equal(encode(encoder, ['x-key', 'told to nobody'])[0]! & 0xf0, 0x10)
})
