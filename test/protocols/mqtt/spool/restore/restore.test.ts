import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MIGRATIONS } from '../../../../../protocols/mqtt/spool/schema.ts'
import { all, message, rig, texts } from '../rig.ts'

test('rows that cannot be understood do not stop the start', async (t) => {
  const r = await rig(t)
  await r.spool.saveRetained('a', message('a', { topic: 'a' }))
  await r.spool.saveRetained('b', message('b', { topic: 'b' }))
  await r.spool[Symbol.asyncDispose]()
  const { storage } = await r.storage.open({ path: r.storage.path, profile: 'balanced', migrations: MIGRATIONS })
  await storage.commit([
    { sql: "UPDATE retained SET message = x'00112233445566' WHERE topic = 'a'" },
    { sql: "INSERT INTO session (client_id, body) VALUES ('c', '{')" },
    { sql: "INSERT INTO session (client_id, body) VALUES ('d', 'null')" },
    { sql: "INSERT INTO segment (id, last_seq, data) VALUES ((77 << 44) | 1, 1, x'00')" },
  ])
  await storage[Symbol.asyncDispose]()
  const again = await r.open()
  assert.deepEqual([[...again.spool.retained.keys()], again.spool.sessions.size], [['b'], 0])
  assert.deepEqual(
    [
      r.metrics.total('mesh_mqtt_spool_damaged_total', { what: 'session' }),
      r.metrics.total('mesh_mqtt_spool_damaged_total', { what: 'retained' }),
    ],
    [2, 1],
  )
  await again.spool[Symbol.asyncDispose]()
})

test('what is done in the middle is not counted after opening again', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await Promise.all(['1', '2', '3', '4'].map((n) => r.spool.append(message(n), [q])))
  q.done(3)
  await r.spool[Symbol.asyncDispose]()
  const again = await r.open()
  assert.deepEqual([again.spool.queue('q')!.depth, again.spool.stats.messages], [3, 3])
  assert.deepEqual(texts(await all(again.spool.queue('q')!)), ['1', '2', '4'])
  await again.spool[Symbol.asyncDispose]()
})
