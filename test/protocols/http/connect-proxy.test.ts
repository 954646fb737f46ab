import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import type { HttpProxy } from '../../../protocols/upstream-api.ts'
import { openTunnel } from '../../../protocols/http/connect-proxy.ts'
import { settle } from '../../helpers/sim-clock.ts'

const PROXY: HttpProxy = { address: { host: 'proxy', port: 3128 }, readCredentials: undefined, noProxy: [] }
function open(proxy = PROXY, host = 'broker.example', port = 8883) {
  const [near, far] = duplexPair()
  near.on('error', () => {})
  const stop = new AbortController()
  const done = openTunnel(near, { host, port }, { proxy, signal: stop.signal })
  done.catch(() => {})
  return { near, far, stop, done }
}
const asked = (far: Duplex): string => String(far.read())

test('CONNECT names host and port, with credentials where there are some, and what follows the head is untouched', async () => {
  const plain = open()
  await settle()
  assert.equal(asked(plain.far), 'CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\r\n')
  const { near, far, done } = open({ ...PROXY, readCredentials: () => 'me:pass:wörd\n' }, '2001:db8::1')
  await settle()
  assert.equal(
    asked(far),
    `CONNECT [2001:db8::1]:8883 HTTP/1.1\r\nHost: [2001:db8::1]:8883\r\nProxy-Authorization: Basic ${Buffer.from('me:pass:wörd').toString('base64')}\r\n\r\n`,
  )
  for (const byte of 'HTTP/1.0 200 Connection established\r\nVia: x\r\n\r') far.write(byte)
  await settle()
  far.write('\nhello')
  await done
  assert.equal(String(near.read()), 'hello')
})
for (const [answer, says] of [
  ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /status 407, it wants credentials/],
  ['HTTP/1.1 403 Forbidden\r\n\r\n', /status 403, it does not permit/],
  ['HTTP/1.1 502 \r\n\r\n', /status 502$/],
  ['SSH-2.0-x\r\n\r\n', /does not answer as HTTP does/],
  ['HTTP/2 200\r\n\r\n', /does not answer as HTTP does/],
  [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}`, /endless head/],
] as const)
  test(`no connection: ${answer.slice(0, 30).trimEnd()}`, async () => {
    const { far, done } = open({ ...PROXY, readCredentials: () => 'me:secret' })
    far.write(answer)
    await assert.rejects(done, (err: Error) => says.test(err.message) && !err.message.includes('secret'))
  })
test('a proxy that closes, and a caller that gives up', async () => {
  const closes = open()
  closes.far.end()
  await assert.rejects(closes.done, { code: 'MESH_CONNECT_FAILED' })
  const waits = open()
  waits.stop.abort(new Error('enough'))
  await assert.rejects(waits.done, { message: 'enough' })
})
