/** What an exchange remembers of a client that waits to be asked for its body. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { RetryPolicy } from '../../../../model/route.ts'
import { forwardTo, Harness, manager, OK, ORIGIN, route } from '../harness.ts'

const RETRY: RetryPolicy = {
  on: new Set(['connect-failure']),
  maxRetries: 1,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 20, capMs: 100 },
  avoidPreviousHosts: false,
  maxHostPicks: 3,
}
const settings = (): HttpConnectionManager => manager([route(forwardTo({ retry: RETRY }))])

test('a client is asked for its body once, also when its request is planned anew before it is tried again', async () => {
  await using h = new Harness()
  const client = h.connect(settings())
  h.network.refuse(ORIGIN)
  await client.send('PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n')
  client.conn.chain = { ...client.conn.chain, codec: { kind: 'http', http: settings() } }
  h.network.restore(ORIGIN)
  const origin = await h.origin()
  await h.clock.advance(100)
  await client.send('abc')
  await origin.answer(OK)
  assert.match(origin.last.received, /\r\n\r\nabc$/)
  assert.match(await client.take(), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
})
