import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { all, message, rig, texts } from './rig.ts'

for (const when of ['before', 'after'] as const) {
  test(`a commit that fails (${when} it was done) refuses all its messages, and the next one takes their numbers`, async (t) => {
    const r = await rig(t)
    const q = await r.queue()
    await r.spool.append(message('kept'), [q])
    r.storage.faults = [{ when, code: 'MESH_STORAGE_FAILED' }]
    const results = await Promise.allSettled([
      r.spool.append(message('lost 1'), [q]),
      r.spool.append(message('lost 2'), [q]),
    ])
    assert.deepEqual(
      results.map((x) => x.status),
      ['rejected', 'rejected'],
    )
    assert.deepEqual([q.lastSeq, q.depth, r.spool.stats.messages], [1, 1, 1])
    await r.spool.append(message('next'), [q])
    await r.spool[Symbol.asyncDispose]()
    const again = await r.open()
    const entries = await all(again.spool.queue('q')!)
    assert.deepEqual(
      entries.map((e) => e.seq),
      [1, 2],
    )
    assert.deepEqual(texts(entries), ['kept', 'next'])
    await again.spool[Symbol.asyncDispose]()
  })
}

test('[MQTT-4.6.0-6] what comes while a commit runs that fails is refused with it: it would stand in front of what is repeated', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  r.storage.hold()
  r.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
  const first = r.spool.append(message('1'), [q])
  await settle()
  const second = r.spool.append(message('2'), [q])
  r.storage.resume()
  await assert.rejects(first, { code: 'MESH_STORAGE_FULL' })
  await assert.rejects(second, { code: 'MESH_STORAGE_FULL' })
  assert.deepEqual([q.lastSeq, r.spool.stats.messages], [0, 0])
  await Promise.all(['1', '2'].map((text) => r.spool.append(message(text), [q])))
  assert.deepEqual(texts(await all(q)), ['1', '2'])
  await r.spool[Symbol.asyncDispose]()
})

for (const { name, before, failed, next } of [
  {
    name: 'several segments',
    before: [] as string[],
    failed: Array.from({ length: 30 }, () => 'x'.repeat(10_000)),
    next: 'next',
  },
  {
    name: 'a segment that took the place of the last one',
    before: ['kept'],
    failed: ['lost'],
    next: 'y'.repeat(4_000),
  },
]) {
  test(`what a commit of unknown outcome has left is set right by the next one: ${name}`, async (t) => {
    const r = await rig(t)
    const q = await r.queue()
    for (const text of before) await r.spool.append(message(text), [q])
    r.storage.faults = [{ when: 'after', code: 'MESH_STORAGE_FAILED' }]
    await assert.rejects(Promise.all(failed.map((text) => r.spool.append(message(text), [q]))))
    await r.spool.append(message(next), [q])
    const crashed = await r.crash()
    const entries = await all(crashed.spool.queue('q')!)
    assert.deepEqual(texts(entries), [...before, next])
    assert.deepEqual(
      entries.map((e) => e.seq),
      [...before, next].map((_, i) => i + 1),
    )
    await crashed.spool[Symbol.asyncDispose]()
  })
}

test('after a full disk, what receivers have acknowledged is freed before anything is added', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await r.spool.append(message('1'), [q])
  r.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
  q.done(1)
  await assert.rejects(r.spool.append(message('2'), [q]), { code: 'MESH_STORAGE_FULL' })
  r.storage.commits.length = 0
  await r.spool.append(message('3'), [q])
  const [first, second] = r.storage.commits.map((c) => c.map((s) => s.sql.split(' ')[0]))
  assert.deepEqual(first, ['INSERT', 'DELETE'])
  assert.equal(second!.at(-1), 'INSERT')
  await r.spool[Symbol.asyncDispose]()
})

test('a QoS 2 message that comes again before the first is durable is stored once [MQTT-4.3.3-10]', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  const inbound = { clientId: 'c', packetId: 7 }
  await Promise.all([
    r.spool.append(message('x', { qos: 2 }), [q], inbound),
    r.spool.append(message('x', { qos: 2 }), [q], inbound),
  ])
  assert.equal(q.depth, 1)
  assert.deepEqual([...r.spool.inbound('c')], [7])
  await r.spool[Symbol.asyncDispose]()
})

test('PUBREC counts only once it is durable', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await r.spool.append(message('x', { qos: 2 }), [q])
  r.storage.hold()
  const released = q.release(1)
  await settle()
  assert.deepEqual(
    (await all(q)).map((e) => e.released),
    [false],
  )
  r.storage.resume()
  await released
  assert.deepEqual(
    (await all(q)).map((e) => e.released),
    [true],
  )
  await r.spool[Symbol.asyncDispose]()
})

test('a damaged segment is given up and counted; what is before and behind it is delivered and nothing waits for it', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  const big = 'x'.repeat(4_000)
  for (const n of ['1', '2', '3']) await r.spool.append(message(n + big), [q])
  await r.spool[Symbol.asyncDispose]()
  const { storage } = await r.storage.open({ path: r.storage.path, profile: 'balanced', migrations: MIGRATIONS })
  await storage.commit([
    { sql: "UPDATE segment SET data = CAST(replace(data, '2xxx', '2xyx') AS BLOB) WHERE last_seq = 2" },
  ])
  await storage[Symbol.asyncDispose]()
  const again = await r.open()
  const found = again.spool.queue('q')!
  assert.deepEqual(
    (await all(found)).map((e) => e.seq),
    [1, 3],
  )
  assert.equal(r.metrics.total('mesh_mqtt_spool_damaged_total', { what: 'segment' }), 1)
  assert.deepEqual([found.depth, again.spool.stats.messages], [2, 2])
  found.done(1)
  assert.deepEqual([found.firstSeq, found.depth], [3, 1])
  found.done(3)
  assert.deepEqual([found.depth, found.firstSeq, again.spool.stats.bytes], [0, 4, 0])
  await again.spool[Symbol.asyncDispose]()
})

test('a queue made again under its name while the old one is being deleted is empty and lasts', async (t) => {
  const r = await rig(t)
  const q = await r.queue('session/a')
  await r.spool.append(message('old'), [q])
  const [, , made] = await Promise.all([
    r.spool.deleteSession('a'),
    r.spool.append(message('late'), [q]),
    r.spool.createQueue('session/a'),
  ])
  await r.spool.append(message('new'), [made])
  await r.spool[Symbol.asyncDispose]()
  const again = await r.open()
  assert.deepEqual(texts(await all(again.spool.queue('session/a')!)), ['new'])
  assert.equal(again.spool.stats.messages, 1)
  await again.spool[Symbol.asyncDispose]()
})

test('deleting a queue leaves its neighbours alone', async (t) => {
  const r = await rig(t)
  const queues = [await r.queue('a'), await r.queue('b'), await r.queue('c')]
  await r.spool.append(message('x'), queues)
  await r.spool.deleteQueue('b')
  await r.spool[Symbol.asyncDispose]()
  const again = await r.open()
  for (const name of ['a', 'c']) assert.deepEqual(texts(await all(again.spool.queue(name)!)), ['x'])
  await again.spool[Symbol.asyncDispose]()
})

test('closing writes the acknowledgements that came while the last commit ran; numbers go on where they were', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  for (const n of ['1', '2', '3']) await r.spool.append(message(n), [q])
  r.storage.hold()
  const last = r.spool.append(message('4'), [q])
  await settle()
  for (const seq of [1, 2, 3]) q.done(seq)
  const closing = r.spool[Symbol.asyncDispose]()
  r.storage.resume()
  await Promise.all([last, closing])
  const again = await r.open()
  const found = again.spool.queue('q')!
  assert.deepEqual([texts(await all(found)), found.depth], [['4'], 1])
  found.done(4)
  await again.spool[Symbol.asyncDispose]()
  const third = await r.open()
  assert.deepEqual([third.spool.queue('q')!.firstSeq, third.spool.queue('q')!.lastSeq], [5, 4])
  await third.spool[Symbol.asyncDispose]()
})

test('a closed spool takes nothing more', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  const last = r.spool.append(message('1'), [q])
  await r.spool[Symbol.asyncDispose]()
  await last
  await assert.rejects(r.spool.append(message('2'), [q]), { code: 'MESH_DRAINING' })
  await assert.rejects(r.spool.saveRetained('a', undefined), { code: 'MESH_DRAINING' })
})
