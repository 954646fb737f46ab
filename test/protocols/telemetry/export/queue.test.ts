import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { MAX_WAITING_ITEMS } from '../../../../protocols/telemetry/export/queue.ts'
import { BUSY, Rig, TAKEN, ZIPKIN, type Answer } from './collectors.ts'

test('items go together after a while', async () => {
  const r = new Rig()
  r.send('a', 'b')
  await r.pass(4_999)
  assert.equal(r.posts.length, 0)
  await r.pass(1)
  assert.deepEqual([r.names(0), r.sent], [['a', 'b'], 2])
  const { authority, path, headers, speaks } = r.posts[0]!
  assert.deepEqual(
    [authority, path, headers, speaks],
    ['z.test', '/api/v2/spans', ['content-type', 'application/json'], 'http1'],
  )
})

test('many go at once, and never two requests at a time', async () => {
  const r = new Rig()
  const { promise, resolve: done } = Promise.withResolvers<Answer>()
  r.answer = () => promise
  r.send(...Array.from({ length: 600 }, (_, i) => i))
  await settle()
  assert.deepEqual([r.posts.length, r.names(0).length], [1, 256])
  done(TAKEN)
  await r.pass(5_000)
  assert.equal(r.names(1)[0], '256')
  assert.equal(r.sent, 600)
})

test('a collector may want them sooner, and in smaller requests', async () => {
  const r = new Rig()
  const wants = { ...ZIPKIN, flushMs: 1_000, batchBytes: 10 }
  r.exporter.send(wants, 'logs', Buffer.from('"1"'))
  await r.pass(1_000)
  assert.deepEqual(r.names(0), ['1'])
  for (const text of ['"2"', '"3"', '"4"', '"5"']) r.exporter.send(wants, 'logs', Buffer.from(text))
  await settle()
  assert.deepEqual(r.names(1), ['2', '3', '4', '5'])
  assert.equal(r.metrics.total('mesh_access_log_entries_sent_total'), 5)
})

test('what is not taken is offered again in its order, after growing pauses', async () => {
  const r = new Rig()
  r.answer = () => BUSY
  r.send('a')
  await r.pass(5_000)
  r.send('b')
  await r.pass(9_999)
  assert.equal(r.posts.length, 1)
  await r.pass(1)
  assert.deepEqual(r.names(1), ['a'])
  r.answer = () => TAKEN
  await r.pass(20_000)
  await r.pass(5_000)
  assert.deepEqual([r.names(2), r.names(3), r.sent, r.dropped('full')], [['a'], ['b'], 2, 0])
})

test('a collector that never answers is left after its time, and what comes meanwhile is bounded', async () => {
  const r = new Rig()
  r.answer = () => new Promise(() => {})
  r.send(...Array.from({ length: 256 + MAX_WAITING_ITEMS + 10 }, (_, i) => i))
  await settle()
  assert.deepEqual([r.posts.length, r.dropped('full')], [1, 10])
})

test('without room the oldest go, and are counted', async () => {
  const r = new Rig()
  r.answer = () => Promise.reject(new Error('down'))
  r.send(...Array.from({ length: 256 }, (_, i) => i))
  await settle()
  r.send(...Array.from({ length: MAX_WAITING_ITEMS + 10 }, (_, i) => 256 + i))
  assert.equal(r.dropped('full'), 10)
  r.answer = () => TAKEN
  await r.pass(60_000)
  assert.deepEqual([r.names(1)[0], r.names(2)[0]], ['0', '266'])
})

test('items are bounded in bytes, too', async () => {
  const r = new Rig()
  r.answer = () => new Promise(() => {})
  r.exporter.send(ZIPKIN, 'spans', Buffer.alloc(512 * 1024 + 1))
  assert.equal(r.dropped('full'), 1)
  for (let i = 0; i < 100; i++) r.exporter.send(ZIPKIN, 'spans', Buffer.alloc(100 * 1024))
  await settle()
  assert.ok(r.dropped('full') > 60, String(r.dropped('full')))
})
