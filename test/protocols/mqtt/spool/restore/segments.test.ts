import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MIGRATIONS } from '../../../../../protocols/mqtt/spool/schema.ts'
import { all, message, rig, texts } from '../rig.ts'

/** Of four segments of one message each, with numbers 1 to 4. */
const AT = (seq: number): string => `id = (1 << 44) | ${seq}`
const OTHERWISE: Readonly<Record<string, { readonly sql: string; readonly lost: number }>> = {
  'a segment that is missing': { sql: `DELETE FROM segment WHERE ${AT(2)}`, lost: 1 },
  'the last is missing, and the queue knows of it': {
    sql: `DELETE FROM segment WHERE ${AT(4)}`,
    lost: 1,
  },
  'a segment that says to end later': { sql: `UPDATE segment SET last_seq = 3 WHERE ${AT(2)}`, lost: 1 },
  'a segment that says to end before it begins': { sql: `UPDATE segment SET last_seq = 0 WHERE ${AT(2)}`, lost: 1 },
  'an end that is no number': { sql: `UPDATE segment SET last_seq = 'x' WHERE ${AT(2)}`, lost: 1 },
  'the last says to end much later': { sql: `UPDATE segment SET last_seq = 1 << 40 WHERE ${AT(4)}`, lost: 1 },
  'the last ends where no number is': { sql: `UPDATE segment SET last_seq = 'x' WHERE ${AT(4)}`, lost: 1 },
  'the first says to begin earlier': { sql: `UPDATE segment SET id = (1 << 44) | 0 WHERE ${AT(1)}`, lost: 1 },
  'a segment of another queue': { sql: `UPDATE segment SET id = (9 << 44) | 2 WHERE ${AT(2)}`, lost: 1 },
  'bytes that several queues share are not there': {
    sql: `UPDATE segment SET shared_id = 7, data = x'' WHERE ${AT(2)}`,
    lost: 1,
  },
  'the queue begins elsewhere than it says': { sql: 'UPDATE queue SET first_seq = 3', lost: 0 },
}
for (const [what, { sql, lost }] of Object.entries(OTHERWISE))
  test(`at the start it is told what is lost, and the rest is there: ${what}`, async (t) => {
    const r = await rig(t)
    const q = await r.queue()
    for (const n of ['1', '2', '3', '4']) await r.spool.append(message(n.repeat(4_000)), [q])
    await q.startSending()
    await r.spool[Symbol.asyncDispose]()
    const { storage } = await r.storage.open({ path: r.storage.path, profile: 'balanced', migrations: MIGRATIONS })
    await storage.commit([{ sql }])
    await storage[Symbol.asyncDispose]()
    const again = await r.open()
    const queue = again.spool.queue('q')!
    assert.equal(r.metrics.total('mesh_mqtt_spool_lost_messages_total'), lost)
    assert.equal(queue.depth, 4 - lost)
    assert.equal(texts(await all(queue)).length, 4 - lost)
    assert.equal(r.metrics.total('mesh_mqtt_spool_lost_messages_total'), lost, 'nothing more when it is read')
    await again.spool[Symbol.asyncDispose]()
  })

test('a segment in the middle that says to have the shared bytes of another: lost and told, not the messages of another queue', async (t) => {
  const r = await rig(t)
  const [a, b, c] = [await r.queue('a'), await r.queue('b'), await r.queue('c')]
  for (const n of ['1', '2', '3']) await r.spool.append(message(n.repeat(9_000)), [a, b])
  await r.spool.append(message('x'.repeat(9_000)), [b, c])
  await r.spool[Symbol.asyncDispose]()
  const { storage } = await r.storage.open({ path: r.storage.path, profile: 'balanced', migrations: MIGRATIONS })
  const others = `SELECT shared_id FROM segment WHERE id = (3 << 44) | 1`
  await storage.commit([{ sql: `UPDATE segment SET shared_id = (${others}) WHERE ${AT(2)}` }])
  await storage[Symbol.asyncDispose]()
  const again = await r.open()
  const firsts = async (name: string): Promise<string> =>
    texts(await all(again.spool.queue(name)!))
      .map((text) => text[0])
      .join('')
  assert.deepEqual([await firsts('a'), await firsts('b'), await firsts('c')], ['13', '123x', 'x'])
  assert.equal(r.metrics.total('mesh_mqtt_spool_lost_messages_total'), 1)
  await again.spool[Symbol.asyncDispose]()
})
