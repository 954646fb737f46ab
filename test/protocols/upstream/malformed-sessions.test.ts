import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { duplexPair } from 'node:stream'
import { checkEndpoint, keepForGood, keptSessions, MAX_KEPT, MAX_OF_ONE, nativeHalf } from '../../../protocols/upstream/malformed-sessions.ts'
import type { Endpoint } from '../../../agent/model/cluster.ts'

const endpoint = (port: number): Endpoint => ({ address: '192.0.2.1', port }) as Endpoint

test('the native half of a session is where this Node keeps it', async () => {
  const [stream] = duplexPair()
  const session = http2.connect('http://endpoint', { createConnection: () => stream })
  session.on('error', () => {})
  await once(session, 'connect')
  assert.equal(nativeHalf(session)?.constructor.name, 'Http2Session')
  session.destroy()
})

test('an endpoint has so many, then it is asked nothing over HTTP/2; others go on until all are used up', () => {
  for (let i = 0; i < MAX_OF_ONE; i++) { checkEndpoint(endpoint(1)); keepForGood({}, endpoint(1)) }
  assert.throws(() => checkEndpoint(endpoint(1)), /192\.0\.2\.1:1 has broken HTTP\/2 on 64 connections/)
  const once = {}
  keepForGood(once, endpoint(2))
  keepForGood(once, endpoint(2))
  assert.equal(keptSessions(), MAX_OF_ONE + 1, 'a session counts once')
  checkEndpoint(endpoint(2))
  for (let port = 10; keptSessions() < MAX_KEPT; port++) keepForGood({}, endpoint(port))
  assert.throws(() => checkEndpoint(endpoint(2)), /on 1 connections/)
  checkEndpoint(endpoint(3))
})
