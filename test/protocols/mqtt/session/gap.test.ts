import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

test('who comes back to a session that lost messages is told once, and so is whoever watches', async () => {
  const t = new TestBroker()
  const [watch, c] = [t.open(), t.open()]
  await watch.connect({ clientId: 'watch' })
  await watch.subscribe('$SYS/broker/gap/#')
  await c.connect({ clientId: 'line/1', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  await c.subscribe('$SYS/broker/gap/line%2F1', { qos: 1 })
  c.stream.destroy()
  await watch.seen()
  const fromMs = t.clock.wallMs()
  t.durability.queue('session/line/1')!.gap = { messages: 3, bytes: 300, fromMs, toMs: fromMs + 1_000 }
  const again = t.open()
  assert.equal((await again.connect({ clientId: 'line/1', ...KEEP })).sessionPresent, true)
  const told = await again.take('publish')
  assert.equal(told.topic, '$SYS/broker/gap/line%2F1')
  assert.deepEqual(JSON.parse(Buffer.from(told.payload).toString()), {
    clientId: 'line/1',
    messages: 3,
    bytes: 300,
    from: new Date(fromMs).toISOString(),
    to: new Date(fromMs + 1_000).toISOString(),
  })
  assert.equal((await watch.seen()).length, 1)
  again.ack('puback', told.packetId)
  again.stream.destroy()
  const third = t.open()
  await third.connect({ clientId: 'line/1', ...KEEP })
  assert.deepEqual([await third.seen(), await watch.seen()], [[], []])
})
