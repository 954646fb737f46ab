import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type { DurableQueue, StoredMessage, WhenFull } from '../../../../protocols/mqtt/durability.ts'
import { all, message, rig, texts, type Rig } from './rig.ts'

test('whenQueueFull refuse: one session that is away refuses at its limit; what goes up is not limited by it', async (t) => {
  const r = await rig(t, { limits: { maxQueuedMessages: 2, whenQueueFull: 'refuse' } })
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

test('a session at its limit loses its oldest, counted, with a gap; the others get everything', async (t) => {
  // Above three kibibytes each has a segment of its own, which is what goes at once.
  for (const limits of [{ maxQueuedMessages: 2 }, { maxQueuedBytes: 9_000 }]) {
    const r = await rig(t, { limits })
    const [dead, up, live] = [await r.queue('session/dead'), await r.queue('up/cloud/x'), await r.queue('session/live')]
    for (const n of ['1', '2', '3', '4']) {
      await r.clock.advance(1_000)
      await r.spool.append(message(n.padEnd(4_000)), [dead, up, live])
      live.done(live.lastSeq)
    }
    const trimmed = async (queue: DurableQueue): Promise<string[]> => texts(await all(queue)).map((text) => text.trim())
    assert.deepEqual([await trimmed(dead), live.lastSeq], [['3', '4'], 4])
    assert.deepEqual(await trimmed(up), ['1', '2', '3', '4'])
    const now = r.clock.wallMs()
    assert.deepEqual(dead.gap, { messages: 2, bytes: 8_064, fromMs: now - 1_000, toMs: now })
    assert.deepEqual([up.gap, live.gap], [undefined, undefined])
    assert.equal(r.metrics.total('mesh_mqtt_spool_dropped_total', { reason: 'queue' }), 2)
    assert.equal(r.metrics.total('mesh_mqtt_spool_refused_total'), 0)
    await r.clock.advance(1_000)
    const again = await r.reopen()
    assert.deepEqual(again.spool.queue('session/dead')!.gap, {
      messages: 2,
      bytes: 8_064,
      fromMs: now - 1_000,
      toMs: now,
    })
    const told = again.spool.queue('session/dead')!
    told.clearGap(told.gap!)
    const cleared = await again.reopen()
    assert.equal(cleared.spool.queue('session/dead')!.gap, undefined)
    await cleared.spool[Symbol.asyncDispose]()
  }
})

test('a message larger than a session may hold is not for that session, and no reason to refuse it to others', async (t) => {
  const r = await rig(t, { limits: { maxQueuedBytes: 40 } })
  const [dead, live] = [await r.queue('session/dead'), await r.queue('up/cloud/x')]
  await r.spool.append(message('x'.repeat(100)), [dead, live])
  assert.deepEqual([dead.depth, dead.gap?.messages, live.depth], [0, 1, 1])
  await r.spool.append(message('x'.repeat(100)), [dead])
  assert.deepEqual([dead.depth, dead.gap?.messages], [0, 2])
  await r.spool[Symbol.asyncDispose]()
})

test('a full spool: the session with the most makes room, and what goes up loses nothing', async (t) => {
  const r = await rig(t, { spool: { maxMessages: 6 } })
  const [dead, small, up] = [await r.queue('session/dead'), await r.queue('session/small'), await r.queue('up/cloud/x')]
  for (const n of ['1', '2', '3']) await r.spool.append(message(n), [dead])
  await r.spool.append(message('s'), [small])
  for (const n of ['1', '2', '3', '4']) await r.spool.append(message(n), [up])
  assert.deepEqual([texts(await all(dead)), small.depth, up.depth], [['3'], 1, 4])
  assert.equal(r.metrics.total('mesh_mqtt_spool_dropped_total', { reason: 'spool' }), 2)
  for (const n of ['5', '6']) await r.spool.append(message(n), [up])
  assert.equal(up.depth, 6)
  await assert.rejects(r.spool.append(message('7'), [up]), { code: 'MESH_MQTT_QUOTA' })
  await r.spool.append(message('8'), [small])
  assert.deepEqual([small.depth, small.gap?.messages], [0, 2], 'nothing is left that it could give up')
  await r.spool[Symbol.asyncDispose]()
})

test('a route may give up its oldest where the spool refuses, and refuse where the spool gives up', async (t) => {
  for (const [whenFull, spool, want] of [
    ['drop-oldest', 'refuse', ['2', '3']],
    ['refuse', 'drop-oldest', ['1', '2']],
    [undefined, 'drop-oldest', ['2', '3']],
    [undefined, 'refuse', ['1', '2']],
  ] as const) {
    const r = await rig(t, { spool: { maxMessages: 2, whenFull: spool } })
    const up = await r.queue('up/cloud/x')
    up.whenFull = whenFull
    for (const n of ['1', '2', '3']) await r.spool.append(message(n), [up]).catch(() => undefined)
    assert.deepEqual(texts(await all(up)), want)
    await r.spool[Symbol.asyncDispose]()
  }
})

test('a disk that others fill is no reason to give up what was acknowledged: it is refused, also for sessions', async (t) => {
  let free = 1e9
  const r = await rig(t, { freeBytes: () => free })
  const session = await r.queue('session/a')
  await r.spool.append(message('1'), [session])
  free = 0
  await r.clock.advance(1_000)
  await assert.rejects(r.spool.append(message('2'), [session]), { code: 'MESH_STORAGE_FULL' })
  assert.deepEqual([session.depth, session.gap], [1, undefined])
  await r.spool[Symbol.asyncDispose]()
})

const LIMITS = { maxMessages: 2, maxBytes: Infinity }
for (const { whenFull, limits, taken, left, gap } of [
  { whenFull: 'refuse', limits: LIMITS, taken: [true, true, false, false], left: ['1', '2'], gap: undefined },
  { whenFull: 'drop-oldest', limits: LIMITS, taken: [true, true, true, true], left: ['3', '4'], gap: 2 },
  { whenFull: 'drop-newest', limits: LIMITS, taken: [true, true, true, true], left: ['1', '2'], gap: 2 },
  { whenFull: 'drop-lowest-priority', limits: LIMITS, taken: [true, true, true, true], left: ['3', '4'], gap: 2 },
  {
    whenFull: 'drop-newest',
    limits: { maxMessages: Infinity, maxBytes: 9_000 },
    taken: [true, true, true, true],
    left: ['1', '2'],
    gap: 2,
  },
] as const)
  test(`a route with bounds of its own, ${JSON.stringify(limits)}: ${whenFull}`, async (t) => {
    const r = await rig(t)
    const [bounded, other] = [await r.queue('up/cloud/x'), await r.queue('up/cloud/y')]
    Object.assign(bounded, { whenFull, limits })
    const went: boolean[] = []
    for (const n of ['1', '2', '3', '4'])
      went.push(
        await r.spool.append(message(n.padEnd(4_000)), [bounded, other]).then(
          () => true,
          (err: { code: string }) => err.code !== 'MESH_MQTT_QUOTA',
        ),
      )
    assert.deepEqual(went, taken)
    assert.deepEqual(
      texts(await all(bounded)).map((text) => text.trim()),
      left,
    )
    assert.equal(
      other.depth,
      taken.filter((one) => one).length,
      'what one refuses nobody gets, what it drops the others get',
    )
    assert.equal(bounded.gap?.messages, gap)
    assert.equal(r.metrics.total('mesh_mqtt_spool_dropped_total', { reason: 'queue' }), gap ?? 0)
    await r.spool[Symbol.asyncDispose]()
  })

test('drop-lowest-priority: in a full spool the lowest gives way to a higher one, never a higher one to it', async (t) => {
  const r = await rig(t, { spool: { maxMessages: 3 } })
  const [low, high, strict] = [await r.queue('up/low'), await r.queue('up/high'), await r.queue('up/strict')]
  Object.assign(low, { whenFull: 'drop-lowest-priority', priority: 1 })
  Object.assign(high, { whenFull: 'drop-lowest-priority', priority: 5 })
  await r.spool.append(message('l1'), [low])
  await r.spool.append(message('h1'), [high])
  await r.spool.append(message('s1'), [strict])
  await r.spool.append(message('h2'), [high])
  assert.deepEqual([texts(await all(low)), texts(await all(high))], [[], ['h1', 'h2']])
  await r.spool.append(message('l2'), [low])
  assert.deepEqual([low.depth, texts(await all(high)), low.gap?.messages], [0, ['h1', 'h2'], 2])
  await r.spool.append(message('h3'), [high])
  assert.deepEqual(texts(await all(high)), ['h2', 'h3'])
  await assert.rejects(r.spool.append(message('s2'), [strict]), { code: 'MESH_MQTT_QUOTA' })
  assert.deepEqual(texts(await all(strict)), ['s1'])
  await r.spool[Symbol.asyncDispose]()
})

test('queues of one user have a bound together: the one that gets something makes room, others lose nothing', async (t) => {
  for (const whenQueueFull of ['drop-oldest', 'refuse'] as const) {
    const r = await rig(t, { limits: { whenQueueFull } })
    const queues = await Promise.all(['session/a', 'session/b', 'session/c'].map((name) => r.queue(name)))
    const [a, b, other] = queues as [DurableQueue, DurableQueue, DurableQueue]
    const share = { bytes: 0, maxBytes: 13_000 }
    a.share = b.share = share
    const big = (n: string): StoredMessage => message(n.padEnd(4_000))
    for (const n of ['1', '2']) await r.spool.append(big(n), [a, other])
    await r.spool.append(big('3'), [b, other])
    assert.equal(share.bytes, a.bytes + b.bytes)
    const next = r.spool.append(big('4'), [a, b, other])
    if (whenQueueFull === 'refuse') {
      await assert.rejects(next, { code: 'MESH_MQTT_QUOTA' })
      assert.equal(r.metrics.total('mesh_mqtt_spool_refused_total', { reason: 'share' }), 1)
      assert.deepEqual([a.depth, b.depth, other.depth], [2, 1, 3])
    } else {
      await next
      assert.deepEqual([a.gap?.messages, other.gap, other.depth], [1, undefined, 4])
      assert.ok(r.metrics.total('mesh_mqtt_spool_dropped_total', { reason: 'share' }) >= 1)
      assert.ok(share.bytes <= share.maxBytes + 8_200, 'what is on its way to the disk is not counted yet')
    }
    await r.spool[Symbol.asyncDispose]()
  }
})
test('what queues of one user hold together goes down with what is done, deleted and counted elsewhere', async (t) => {
  const r = await rig(t)
  const [a, b] = [await r.queue('session/a'), await r.queue('session/b')]
  const [one, other] = [
    { bytes: 0, maxBytes: Infinity },
    { bytes: 0, maxBytes: Infinity },
  ]
  await r.spool.append(message('1'.padEnd(4_000)), [a, b])
  a.share = b.share = one
  assert.equal(one.bytes, a.bytes + b.bytes)
  b.share = other
  assert.deepEqual([one.bytes, other.bytes], [a.bytes, b.bytes])
  a.done(a.lastSeq)
  assert.equal(one.bytes, 0)
  await r.spool.deleteQueue('session/b')
  assert.equal(other.bytes, 0)
  await r.spool[Symbol.asyncDispose]()
})

for (const { whenFull, taken, backlog, live } of [
  { whenFull: 'refuse', taken: 3, backlog: ['1', '2'], live: ['3'] },
  { whenFull: 'drop-oldest', taken: 6, backlog: [], live: ['4', '5', '6'] },
  { whenFull: 'drop-newest', taken: 6, backlog: ['1', '2'], live: ['3'] },
  { whenFull: 'drop-lowest-priority', taken: 6, backlog: [], live: ['4', '5', '6'] },
] as const)
  test(`two queues of one route have its bounds together, and the first gives up its messages first: ${whenFull}`, async (t) => {
    const r = await rig(t)
    const queues = await Promise.all(['up/backlog', 'up/live'].map((name) => r.queue(name)))
    const limits = { maxMessages: 3, maxBytes: Infinity }
    for (const queue of queues) Object.assign(queue, { whenFull, limits, group: queues })
    let count = 0
    for (const n of ['1', '2', '3', '4', '5', '6'])
      await r.spool.append(message(n), [queues[Number(n) < 3 ? 0 : 1]!]).then(
        () => count++,
        () => 0,
      )
    assert.equal(count, taken)
    assert.deepEqual(await Promise.all(queues.map(async (queue) => texts(await all(queue)))), [backlog, live])
    const gaps = queues.reduce((sum, { gap }) => sum + (gap?.messages ?? 0), 0)
    assert.equal(gaps, whenFull === 'refuse' ? 0 : 3)
    assert.equal(r.metrics.total('mesh_mqtt_spool_dropped_total', { reason: 'queue' }), gaps)
    await r.spool[Symbol.asyncDispose]()
  })
test('a full spool: of two queues of one route with drop-oldest the first makes room for the second', async (t) => {
  const r = await rig(t, { spool: { maxMessages: 2 } })
  const queues = await Promise.all(['up/backlog', 'up/live'].map((name) => r.queue(name)))
  for (const queue of queues) Object.assign(queue, { whenFull: 'drop-oldest', group: queues })
  for (const n of ['1', '2']) await r.spool.append(message(n), [queues[0]!])
  await r.spool.append(message('3'), [queues[1]!])
  assert.deepEqual(await Promise.all(queues.map(async (queue) => texts(await all(queue)))), [['2'], ['3']])
  await r.spool[Symbol.asyncDispose]()
})

for (const whenFull of ['refuse', 'drop-newest'] as const)
  test(`what comes in one turn is held against the bounds of a route, too: ${whenFull}`, async (t) => {
    const r = await rig(t)
    const queue = await r.queue('up/cloud/x')
    Object.assign(queue, { whenFull, limits: { maxMessages: 3, maxBytes: Infinity } })
    const numbers = Array.from({ length: 20 }, (_, i) => String(i))
    const went = await Promise.allSettled(numbers.map((n) => r.spool.append(message(n), [queue])))
    assert.deepEqual(texts(await all(queue)), ['0', '1', '2'])
    assert.equal(went.filter(({ status }) => status === 'rejected').length, whenFull === 'refuse' ? 17 : 0)
    assert.deepEqual(queue.drops, whenFull === 'refuse' ? {} : { queue: 17 })
    for (const entry of await all(queue)) queue.done(entry.seq)
    await Promise.allSettled(numbers.map((n) => r.spool.append(message(n.padEnd(2_000)), [queue])))
    assert.equal(queue.depth, 3, 'what went through counts no more')
    Object.assign(queue, { limits: { maxMessages: 100, maxBytes: 3 * 2_100 + queue.bytes } })
    await Promise.allSettled(numbers.map((n) => r.spool.append(message(n.padEnd(2_000)), [queue])))
    assert.equal(queue.depth, 6, 'bytes, too')
    await r.spool[Symbol.asyncDispose]()
  })

/* A floor for free disk space that a route, each client or a user has besides that of the spool. */
const FLOOR = 100_000_000
const UNBOUNDED = { maxMessages: Infinity, maxBytes: Infinity }
/** Each has a segment of its own, which is what goes at once. */
const put = (r: Rig, text: string, to: readonly DurableQueue[]): Promise<void> =>
  r.spool.append(message(text.padEnd(4_000)), to)
const read = async (queue: DurableQueue): Promise<string[]> => texts(await all(queue)).map((text) => text.trim())
const quiet = async (r: Rig): Promise<void> => {
  while (r.storage.busy > 0) await new Promise(setImmediate)
}

async function low(t: TestContext, limits: object = {}) {
  const disk = { free: FLOOR * 2 }
  const r = await rig(t, { limits, freeBytes: () => disk.free })
  t.after(() => r.spool[Symbol.asyncDispose]())
  return {
    r,
    setFree: async (bytes: number): Promise<void> => {
      disk.free = bytes
      await r.clock.advance(1_000)
    },
  }
}

for (const [whenFull, kept, isRefused] of [
  ['refuse', ['1', '2'], true],
  [undefined, ['1', '2'], true],
  ['drop-oldest', ['2', '3'], false],
  ['drop-newest', ['1', '2'], false],
  ['drop-lowest-priority', ['2', '3'], false],
] as const satisfies readonly (readonly [WhenFull | undefined, readonly string[], boolean])[])
  test(`below its floor the queue of a route does not grow: ${whenFull ?? 'as the spool, which refuses'}`, async (t) => {
    const { r, setFree } = await low(t)
    const [route, other] = [await r.queue('up/cloud/a'), await r.queue('up/cloud/b')]
    Object.assign(route, { whenFull, limits: { ...UNBOUNDED, minDiskFreeBytes: FLOOR } })
    for (const text of ['1', '2']) await put(r, text, [route, other])
    await setFree(FLOOR - 1)
    if (isRefused) await assert.rejects(put(r, '3', [route]), { code: 'MESH_STORAGE_FULL', message: /mqtt\.routes/ })
    else await put(r, '3', [route])
    await put(r, '3', [other])
    assert.deepEqual(await read(route), kept)
    assert.deepEqual(await read(other), ['1', '2', '3'], 'a route without a floor goes on')
    assert.deepEqual(route.drops, isRefused ? {} : { disk: 1 })
    assert.equal(r.metrics.total('mesh_mqtt_spool_dropped_total', { reason: 'disk' }), isRefused ? 0 : 1)
    assert.equal(r.metrics.total('mesh_mqtt_spool_refused_total', { reason: 'disk' }), isRefused ? 1 : 0)
    await setFree(FLOOR)
    await put(r, '4', [route])
    assert.deepEqual(await read(route), [...kept, '4'])
  })

test('a client has the floor of its user, else that of all clients; what goes up has neither', async (t) => {
  const { r, setFree } = await low(t, { minDiskFreeBytes: FLOOR })
  const [plain, poor, rich] = [await r.queue('session/a'), await r.queue('session/b'), await r.queue('session/c')]
  const up = await r.queue('up/cloud/x')
  poor.share = { bytes: 0, maxBytes: Infinity, minDiskFreeBytes: FLOOR * 1.5 }
  rich.share = { bytes: 0, maxBytes: Infinity, minDiskFreeBytes: 1 }
  const queues = [plain, poor, rich, up]
  for (const text of ['1', '2']) await put(r, text, queues)
  await setFree(FLOOR * 1.2)
  await put(r, '3', queues)
  await setFree(FLOOR - 1)
  await put(r, '4', queues)
  assert.deepEqual(await Promise.all(queues.map(read)), [
    ['2', '3', '4'],
    ['3', '4'],
    ['1', '2', '3', '4'],
    ['1', '2', '3', '4'],
  ])
  assert.deepEqual(
    queues.map(({ drops }) => drops.disk ?? 0),
    [1, 2, 0, 0],
  )
})

test('room that is free in the file is used also below the floor', async (t) => {
  const { r, setFree } = await low(t)
  const route = await r.queue('up/cloud/a')
  route.limits = { ...UNBOUNDED, minDiskFreeBytes: FLOOR }
  for (let i = 0; i < 40; i++) await put(r, `${i}`, [route])
  for (let seq = 1; seq <= 40; seq++) route.done(seq)
  await r.clock.advance(1_000)
  await quiet(r)
  await setFree(FLOOR - 1)
  // The first finds that the disk is low, the second asks the file.
  for (const text of ['a', 'b']) {
    await assert.rejects(put(r, text, [route]), { code: 'MESH_STORAGE_FULL' })
    await r.clock.advance(1_000)
    await quiet(r)
  }
  await put(r, 'c', [route])
  assert.equal((await read(route)).at(-1), 'c')
})

test('QoS 0 takes the room that is left: it pushes nothing out of a session, and refuses nothing to others', async (t) => {
  const qos0 = (text: string): StoredMessage => ({ ...message(text), qos: 0 })
  for (const limits of [
    { maxQueuedMessages: 2, whenQueueFull: 'refuse' },
    { maxQueuedMessages: 2, whenQueueFull: 'drop-oldest' },
  ] as const) {
    const r = await rig(t, { limits })
    const [full, live, up] = [await r.queue('session/full'), await r.queue('session/live'), await r.queue('up/cloud/x')]
    for (const n of ['1', '2']) await r.spool.append(message(n), [full])
    await r.spool.append(qos0('3'), [full, live, up])
    assert.deepEqual([texts(await all(full)), live.depth, up.depth], [['1', '2'], 1, 1])
    assert.deepEqual([full.drops, full.gap], [{ queue: 1 }, undefined])
    await r.spool[Symbol.asyncDispose]()
  }
  const r = await rig(t, { spool: { maxMessages: 2 } })
  const [one, other] = [await r.queue('session/one'), await r.queue('session/other')]
  for (const n of ['1', '2']) await r.spool.append(message(n), [one])
  await r.spool.append(qos0('3'), [other])
  assert.deepEqual([texts(await all(one)), other.depth, other.drops], [['1', '2'], 0, { spool: 1 }])
  await r.spool[Symbol.asyncDispose]()
})
