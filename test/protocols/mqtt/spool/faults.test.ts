import { test } from 'node:test'
import assert from 'node:assert/strict'
import { valuesOf } from '../../../../core/storage/storage.ts'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { all, message, Rig, rig, texts } from './rig.ts'

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
test('everything of one turn, and everything that comes while a commit runs, is one transaction', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  r.storage.commits.length = 0
  const first = Array.from({ length: 100 }, (_, i) => r.spool.append(message(`${i}`), [q]))
  await Promise.all(first)
  assert.equal(r.storage.commits.length, 1)
  r.storage.hold()
  const running = r.spool.append(message('a'), [q])
  await settle()
  const waiting = [
    r.spool.append(message('b'), [q], { clientId: 'c', packetId: 1 }),
    r.spool.saveRetained('t', message('r')),
  ]
  await settle()
  waiting.push(r.spool.append(message('c'), [q]))
  r.storage.resume()
  await Promise.all([running, ...waiting])
  assert.equal(r.storage.commits.length, 3)
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
test('acknowledgements are on the disk a quarter of a second later, without any other commit', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await Promise.all(['1', '2', '3'].map((n) => r.spool.append(message(n), [q])))
  q.done(2)
  q.done(1)
  await r.clock.advance(250)
  for (let i = 0; i < 100 && r.storage.commits.length < 3; i++) await settle()
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  const image = `${r.storage.path}.image`
  r.storage.crashImage(image)
  const crashed = await new Rig(image).open()
  assert.deepEqual(texts(await all(crashed.spool.queue('q')!)), ['3'])
  await Promise.all([crashed.spool[Symbol.asyncDispose](), r.spool[Symbol.asyncDispose]()])
})
test('a slow trickle does not become a row per message', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  for (let i = 0; i < 100; i++) await r.spool.append(message(`message ${i}`), [q])
  const firsts = new Set(
    r.storage.commits.flatMap((c) =>
      c.filter((s) => s.sql.includes('INTO segment')).map((s) => valuesOf(s.params!)[1]),
    ),
  )
  assert.ok(firsts.size <= 2, `${firsts.size} rows`)
  await r.spool[Symbol.asyncDispose]()
  const again = await r.open()
  assert.deepEqual(
    texts(await all(again.spool.queue('q')!)),
    Array.from({ length: 100 }, (_, i) => `message ${i}`),
  )
  await again.spool[Symbol.asyncDispose]()
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
test('rows that cannot be understood do not stop the start', async (t) => {
  const r = await rig(t)
  await r.spool.saveRetained('a', message('a', { topic: 'a' }))
  await r.spool.saveRetained('b', message('b', { topic: 'b' }))
  await r.spool[Symbol.asyncDispose]()
  const { storage } = await r.storage.open({ path: r.storage.path, profile: 'balanced', migrations: MIGRATIONS })
  await storage.commit([
    { sql: "UPDATE retained SET message = x'00112233445566' WHERE topic = 'a'" },
    { sql: "INSERT INTO session VALUES ('c', '{')" },
    { sql: "INSERT INTO session VALUES ('d', 'null')" },
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
test('one session that is away cannot fill the spool for the others; what goes up is not limited by it', async (t) => {
  const r = await rig(t, { limits: { maxQueuedMessages: 2 } })
  const [session, up] = [await r.queue('session/a'), await r.queue('up/cloud/x')]
  for (const n of ['1', '2']) await r.spool.append(message(n), [session, up])
  await assert.rejects(r.spool.append(message('3'), [session, up]), { code: 'MESH_MQTT_QUOTA' })
  await r.spool.append(message('3'), [up])
  assert.deepEqual([session.depth, up.depth], [2, 3])
  assert.equal(r.metrics.total('mesh_mqtt_spool_refused_total', { reason: 'queue' }), 1)
  await r.spool[Symbol.asyncDispose]()
})
test('the disk is looked at once a second and once a megabyte; where the oldest may go, a low disk takes new for old', async (t) => {
  let free = 0
  let looks = 0
  const r = await rig(t, {
    freeBytes: () => {
      looks++
      return free
    },
  })
  const q = await r.queue()
  await assert.rejects(r.spool.append(message('1'), [q]), { code: 'MESH_STORAGE_FULL' })
  await assert.rejects(r.spool.append(message('1'), [q]), { code: 'MESH_STORAGE_FULL' })
  assert.equal(looks, 1)
  free = 1e9
  await r.clock.advance(1_000)
  await r.spool.append(message('1'), [q])
  await r.spool.append(message('x'.repeat(1024 * 1024)), [q])
  free = 0
  await assert.rejects(r.spool.append(message('2'), [q]), { code: 'MESH_STORAGE_FULL' })
  assert.equal(looks, 3)
  await assert.rejects(r.spool.saveRetained('t', message('2')), { code: 'MESH_STORAGE_FULL' })
  await r.spool.saveRetained('t', undefined)
  await r.spool[Symbol.asyncDispose]()

  free = 1e9
  const lossy = await rig(t, { spool: { whenFull: 'drop-oldest' }, freeBytes: () => free })
  const l = await lossy.queue()
  const big = 'x'.repeat(4_000)
  for (const n of ['1', '2']) await lossy.spool.append(message(n + big), [l])
  free = 0
  await lossy.clock.advance(1_000)
  await lossy.spool.append(message(`3${big}`), [l])
  assert.deepEqual(
    (await all(l)).map((e) => e.seq),
    [2, 3],
  )
  await lossy.spool[Symbol.asyncDispose]()
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
test('a large batch becomes several segments, so that a backlog is read in pieces', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  r.storage.commits.length = 0
  await Promise.all(Array.from({ length: 40 }, () => r.spool.append(message('x'.repeat(10_000)), [q])))
  assert.equal(r.storage.commits.length, 1)
  assert.deepEqual(
    r.storage.commits[0]!.map((s) => valuesOf(s.params!).slice(1, 3)),
    [
      [1, 14],
      [15, 28],
      [29, 40],
    ],
  )
  await r.spool[Symbol.asyncDispose]()
})
test('a message that several routes bring to one queue is in it once', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await r.spool.append(message('x'), [q, q])
  assert.equal(q.depth, 1)
  await r.spool[Symbol.asyncDispose]()
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
test('a closed spool takes nothing more', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  const last = r.spool.append(message('1'), [q])
  await r.spool[Symbol.asyncDispose]()
  await last
  await assert.rejects(r.spool.append(message('2'), [q]), { code: 'MESH_DRAINING' })
  await assert.rejects(r.spool.saveRetained('a', undefined), { code: 'MESH_DRAINING' })
})
