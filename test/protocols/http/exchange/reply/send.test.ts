/** Answers of meshlet's own on the wire, in the words of the listener: of requests, and of what is none. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import type { LocalReplyConfig } from '../../../../../model/http/local-reply.ts'
import { Both } from '../../both.ts'
import { manager, route } from '../../harness.ts'

const JSON_FORMAT: LocalReplyConfig = {
  mappers: [
    {
      filter: { kind: 'status', is: 'eq', value: 404 },
      status: 410,
      headers: { remove: [], add: [{ name: 'x-a', value: '%RESPONSE_CODE% %REQ(x-q)%', how: 'append' }] },
    },
  ],
  format: {
    format: {
      kind: 'json',
      omitEmpty: false,
      value: { kind: 'struct', fields: [['code', { kind: 'text', parts: [{ name: 'RESPONSE_CODE' }] }]] },
    },
    contentType: 'application/json',
  },
}
const nowhere = route({ kind: 'direct', status: 404, body: 'nothing' })

for (const codec of ['http1', 'http2'] as const)
  test(`status, text, type and fields of the listener over ${codec}`, async (t) => {
    const both = await Both.start(t, manager([nowhere], { localReply: JSON_FORMAT }))
    const { status, body, headers } = await both.ask(codec, { fields: [['x-q', 'q']] })
    assert.deepEqual(
      [status, body.trim(), headers['content-type'], headers['x-a']],
      [410, '{"code":410}', 'application/json', '404 q'],
    )
  })

test('a gRPC caller is told the new text and what the new status means', async (t) => {
  const both = await Both.start(t, manager([nowhere], { localReply: JSON_FORMAT }))
  const fields = [['content-type', 'application/grpc']] as const
  const { status, headers } = await both.ask('http2', { method: 'POST', body: 'x', fields })
  assert.deepEqual([status, headers['grpc-message'], headers['grpc-status']], [200, '{"code":410}', '2'])
})

test('what is no request is answered in these words, too', async (t) => {
  const both = await Both.start(t, manager([nowhere], { localReply: JSON_FORMAT }))
  const socket = net.connect(both.ports.http1, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1')
  })
  socket.write('GET / HTTP/1.1\r\nno field\r\n\r\n')
  await once(socket, 'close')
  assert.match(text, /^HTTP\/1\.1 400 [^]*content-type: application\/json\r\n[^]*\{"code":400\}\n$/)
})
