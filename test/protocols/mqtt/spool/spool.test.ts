import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { openStorageWith } from '../../../../core/storage/worker-storage.ts'
import { mqttPolicySchema } from '../../../../model/mqtt-policy.ts'
import type {
  DurableQueue,
  Kept,
  QueueEntry,
  SessionHead,
  StoredMessage,
  StoredSubscription,
} from '../../../../protocols/mqtt/durability.ts'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { openSpool, type Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const message = (text: string, over: Partial<StoredMessage> = {}): StoredMessage => ({
  topic: 't',
  payload: Buffer.from(text),
  qos: 1,
  retain: false,
  properties: Buffer.alloc(0),
  expiresAtMs: undefined,
  ...over,
})

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-spool-'))
  t.after(() => {
    fs.rmSync(dir, { recursive: true, force: true })
  })
  return dir
}
type Settings = {
  maxBytes?: number
  maxMessages?: number
  minDiskFreeBytes?: number
  whenFull?: 'refuse' | 'drop-oldest'
  profile?: 'strict' | 'balanced'
}
const open = (dir: string, settings: Settings = {}, freeBytes = 1e12, metrics = new Metrics()): Promise<Spool> =>
  openSpool({
    openStorage: openStorageWith({ bundle: undefined }),
    path: path.join(dir, 'spool.db'),
    policy: mqttPolicySchema().parse({ spool: { profile: 'balanced', ...settings } }),
    clock: new SimClock(),
    metrics,
    log: silentLog,
    freeBytes: () => freeBytes,
  })
async function all(queue: DurableQueue, after = 0): Promise<QueueEntry[]> {
  const found: QueueEntry[] = []
  for (;;) {
    const part = await queue.read(found.at(-1)?.seq ?? after, 50)
    if (part.length === 0) return found
    found.push(...part)
  }
}
const texts = (entries: readonly QueueEntry[]): string[] =>
  entries.map((e) => Buffer.from(e.message.payload).toString())

test('a message that was appended is there after opening again, with all that belongs to it', async (t) => {
  const dir = folder(t)
  const full = message('hello', {
    topic: 'a/ü',
    qos: 2,
    retain: true,
    properties: Buffer.from([3, 0, 1, 65]),
    expiresAtMs: 1_800_000_000_123,
  })
  {
    await using spool = await open(dir)
    const q = await spool.createQueue('session/one')
    await spool.append(full, [q])
    assert.deepEqual([q.firstSeq, q.lastSeq, q.depth], [1, 1, 1])
  }
  await using spool = await open(dir)
  const [entry] = await all(spool.queue('session/one')!)
  assert.deepEqual(
    {
      ...entry!.message,
      payload: Buffer.from(entry!.message.payload),
      properties: Buffer.from(entry!.message.properties),
    },
    full,
  )
  assert.equal(entry!.released, false)
})
test('one append to several queues is in all of them or in none', async (t) => {
  await using spool = await open(folder(t), { maxMessages: 3 })
  const [a, b] = [await spool.createQueue('a'), await spool.createQueue('b')]
  await spool.append(message('1'), [a, b])
  await assert.rejects(spool.append(message('2'), [a, b]), { code: 'MESH_MQTT_QUOTA' })
  assert.deepEqual([a.depth, b.depth], [1, 1])
  await spool.append(message('3'), [a])
})
test('messages that are done make room; the oldest is given up only where the policy says so', async (t) => {
  await using strict = await open(folder(t), { maxMessages: 2 })
  const q = await strict.createQueue('q')
  await strict.append(message('1'), [q])
  await strict.append(message('2'), [q])
  await assert.rejects(strict.append(message('3'), [q]), { code: 'MESH_MQTT_QUOTA' })
  q.done(1)
  await strict.append(message('3'), [q])
  assert.deepEqual(texts(await all(q)), ['2', '3'])

  await using lossy = await open(folder(t), { maxMessages: 2, whenFull: 'drop-oldest' })
  const r = await lossy.createQueue('q')
  for (const n of ['1', '2', '3']) await lossy.append(message(n), [r])
  assert.deepEqual(texts(await all(r)), ['2', '3'])
})
test('a disk that is nearly full is not filled further', async (t) => {
  await using spool = await open(folder(t), { minDiskFreeBytes: 2e7 }, 2e7 - 1)
  const q = await spool.createQueue('q')
  await assert.rejects(spool.append(message('1'), [q]), { code: 'MESH_STORAGE_FULL' })
})
test('a backlog larger than what is kept in memory comes from the disk, in order and without gaps', async (t) => {
  const dir = folder(t)
  await using spool = await open(dir)
  const q = await spool.createQueue('q')
  const payload = Buffer.alloc(2_000, 'x')
  for (let i = 0; i < 20; i++)
    await Promise.all(Array.from({ length: 50 }, () => spool.append({ ...message(''), payload }, [q])))
  assert.deepEqual(
    (await all(q)).map((e) => e.seq),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  )
  for (let seq = 1; seq <= 700; seq++) q.done(seq)
  assert.equal(q.depth, 300)
  assert.equal(spool.stats.messages, 300)
  for (let seq = 701; seq <= 1000; seq++) q.done(seq)
  assert.deepEqual([q.depth, spool.stats.messages, spool.stats.bytes], [0, 0, 0])
})
test('QoS 2: ids of the sender and PUBREC of the receiver survive; released ids may be used anew', async (t) => {
  const dir = folder(t)
  {
    await using spool = await open(dir)
    const q = await spool.createQueue('q')
    await spool.append(message('1', { qos: 2 }), [q], { clientId: 'c', packetId: 7 })
    await spool.append(message('2', { qos: 2 }), [], { clientId: 'c', packetId: 8 })
    await q.release(1)
    await spool.releaseInbound('c', 8)
  }
  await using spool = await open(dir)
  assert.deepEqual([...spool.inbound('c')], [7])
  assert.deepEqual(
    (await all(spool.queue('q')!)).map((e) => e.released),
    [true],
  )
  await spool.deleteSession('c')
  assert.equal(spool.inbound('c').size, 0)
})
test('sessions and retained messages survive, and are gone when they were deleted', async (t) => {
  const dir = folder(t)
  const session = {
    clientId: 'c',
    address: '10.0.0.1',
    owner: { kind: 'spiffe' as const, name: 'spiffe://t/ns/site/sa/press', listener: 'mqtt' },
    protocolVersion: 5 as const,
    expirySec: 60,
    disconnectedAtMs: 5,
    pendingWill: { message: message('bye'), dueAtMs: 9 },
    subscriptions: [
      {
        filter: 'a/#',
        qos: 1 as const,
        noLocal: false,
        retainAsPublished: true,
        retainHandling: 2 as const,
        subscriptionId: 3,
      },
    ],
  }
  {
    await using spool = await open(dir)
    await spool.saveSubscriptions(kept(session), session.subscriptions, [])
    await spool.saveSubscriptions(kept({ ...session, clientId: 'd' }), session.subscriptions, [])
    await spool.deleteSession('d')
    await spool.saveRetained('a', message('kept', { topic: 'a', retain: true }))
    await spool.saveRetained('b', message('gone', { topic: 'b' }))
    await spool.saveRetained('b', undefined)
  }
  await using spool = await open(dir)
  assert.deepEqual([...spool.sessions.values()], [session])
  assert.deepEqual([...spool.retained.keys()], ['a'])
  assert.equal(Buffer.from(spool.retained.get('a')!.payload).toString(), 'kept')
})
test('a file whose sessions hold their subscriptions in one row is taken over; a session that cannot be read does not stop the others', async (t) => {
  const dir = folder(t)
  const open1 = openStorageWith({ bundle: undefined })
  const one = {
    filter: 'a/#',
    qos: 1 as const,
    noLocal: true,
    retainAsPublished: false,
    retainHandling: 2 as const,
    subscriptionId: 268_435_455,
  }
  const two = {
    filter: '$share/g/ü',
    qos: 2 as const,
    noLocal: false,
    retainAsPublished: true,
    retainHandling: 0 as const,
    subscriptionId: undefined,
  }
  const body = (subscriptions: readonly unknown[]): string =>
    JSON.stringify({ clientId: 'c', protocolVersion: 5, expirySec: 60, disconnectedAtMs: 5, subscriptions })
  {
    const { storage } = await open1({
      path: path.join(dir, 'spool.db'),
      profile: 'strict',
      migrations: MIGRATIONS.slice(0, 1),
    })
    const put = (id: string, text: string) => ({
      sql: 'INSERT INTO session (client_id, body) VALUES (?, ?)',
      params: [id, text],
    })
    await storage.commit([
      put('c', body([one, two])),
      put('none', body([]).replace('"c"', '"none"')),
      put('odd', body([7, null]).replace('"c"', '"odd"')),
      put('broken', '{"clientId":'),
      {
        sql: 'INSERT INTO queue (id, name, first_seq, last_seq, done, released) VALUES (1, ?, 1, 0, ?, ?)',
        params: ['session/c', Buffer.alloc(0), Buffer.alloc(0)],
      },
    ])
    await storage[Symbol.asyncDispose]()
  }
  for (let start = 0; start < 2; start++) {
    await using spool = await open(dir)
    assert.deepEqual(new Set(spool.sessions.get('c')?.subscriptions), new Set([one, two]))
    assert.equal(spool.sessions.get('c')?.owner, undefined)
    assert.deepEqual(
      [
        spool.sessions.get('c')?.expirySec,
        spool.sessions.get('none')?.subscriptions,
        spool.sessions.get('odd')?.subscriptions,
      ],
      [60, [], []],
    )
    assert.deepEqual(
      [spool.sessions.has('broken'), spool.holds('broken')],
      [false, true],
      'its successor deletes what is left of it',
    )
    assert.ok(spool.queue('session/c'))
  }
})
test('QoS 2 ids of bridges move to names that no client id can have, and are found again', async (t) => {
  const dir = folder(t)
  const open2 = openStorageWith({ bundle: undefined })
  {
    const { storage } = await open2({
      path: path.join(dir, 'spool.db'),
      profile: 'strict',
      migrations: MIGRATIONS.slice(0, 2),
    })
    await storage.commit(
      [
        ['bridge/up/edge/up', 3],
        ['bridge/up/edge/up', 4],
        ['client', 5],
      ].map(([id, n]) => ({ sql: 'INSERT INTO inbound (client_id, packet_id) VALUES (?, ?)', params: [id!, n!] })),
    )
    await storage[Symbol.asyncDispose]()
  }
  const origin = '\0bridge/up/edge/up'
  {
    await using spool = await open(dir)
    assert.deepEqual(
      [[...spool.inbound(origin)], [...spool.inbound('bridge/up/edge/up')], [...spool.inbound('client')]],
      [[3, 4], [], [5]],
    )
    await spool.releaseInbound(origin, 3)
    await spool.append(message('1', { qos: 2 }), [], { clientId: origin, packetId: 9 })
    await spool.deleteSession('bridge/up/edge/up')
  }
  await using spool = await open(dir)
  assert.deepEqual([...spool.inbound(origin)], [4, 9])
})
function kept(head: SessionHead): Kept {
  return { clientId: head.clientId, toStored: () => head }
}
function plain(filter: string): StoredSubscription {
  return { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionId: undefined }
}
test('a subscription more writes its own row, and a session that begins after the deletion has none of its predecessor', async (t) => {
  const dir = folder(t)
  const head = {
    clientId: 'c',
    address: '',
    owner: undefined,
    protocolVersion: 5 as const,
    expirySec: 60,
    disconnectedAtMs: undefined,
    pendingWill: undefined,
  }
  {
    await using spool = await open(dir)
    await spool.saveSubscriptions(kept(head), ['a', 'b', 'c'].map(plain), [])
    await spool.saveSubscriptions(kept(head), [], ['b'])
    await spool.saveSession({ ...head, disconnectedAtMs: 7 })
  }
  {
    await using spool = await open(dir)
    assert.deepEqual(
      [spool.sessions.get('c')?.subscriptions.map((s) => s.filter), spool.sessions.get('c')?.disconnectedAtMs],
      [['a', 'c'], 7],
    )
    await Promise.all([spool.deleteSession('c'), spool.saveSession(head)])
  }
  await using spool = await open(dir)
  assert.deepEqual(spool.sessions.get('c')?.subscriptions, [])
})
test('a queue that is deleted is gone with its messages', async (t) => {
  const dir = folder(t)
  {
    await using spool = await open(dir)
    const q = await spool.createQueue('q')
    await spool.append(message('1'), [q])
    await spool.deleteQueue('q')
    assert.equal(spool.stats.messages, 0)
    assert.deepEqual(await q.read(0, 10), [])
  }
  await using spool = await open(dir)
  assert.equal(spool.queue('q'), undefined)
  assert.equal(spool.stats.messages, 0)
})

test('model: whatever is appended, done and reopened in any order, what is left is exactly what was not done, in order', async (t) => {
  type Step =
    | { kind: 'append'; count: number; to: 0 | 1 | 2 }
    | { kind: 'done'; queue: 0 | 1; nth: number }
    | { kind: 'reopen' }
    | { kind: 'release'; queue: 0 | 1; nth: number }
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        count: fc.integer({ min: 1, max: 30 }),
        to: fc.constantFrom(0 as const, 1 as const, 2 as const),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('done' as const),
        queue: fc.constantFrom(0 as const, 1 as const),
        nth: fc.nat(20),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('release' as const),
        queue: fc.constantFrom(0 as const, 1 as const),
        nth: fc.nat(20),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const dir = folder(t)
      let spool = await open(dir)
      const model: { seq: number; text: string; released: boolean }[][] = [[], []]
      const last = [0, 0]
      let made = 0
      let queues = [await spool.createQueue('0'), await spool.createQueue('1')]
      for (const s of steps) {
        if (s.kind === 'append') {
          const to = s.to === 2 ? [0, 1] : [s.to]
          await Promise.all(
            Array.from({ length: s.count }, () => {
              const text = `m${made++}`
              for (const q of to) model[q]!.push({ seq: ++last[q]!, text, released: false })
              return spool.append(
                message(text),
                to.map((q) => queues[q]!),
              )
            }),
          )
        } else if (s.kind === 'done') {
          const [gone] = model[s.queue]!.splice(s.nth, 1)
          if (gone) queues[s.queue]!.done(gone.seq)
        } else if (s.kind === 'release') {
          const entry = model[s.queue]![s.nth]
          if (entry) {
            await queues[s.queue]!.release(entry.seq)
            entry.released = true
          }
        } else {
          await spool[Symbol.asyncDispose]()
          spool = await open(dir)
          queues = [spool.queue('0')!, spool.queue('1')!]
        }
        for (const q of [0, 1] as const) {
          const found = (await all(queues[q]!)).map((e) => ({
            seq: e.seq,
            text: Buffer.from(e.message.payload).toString(),
            released: e.released,
          }))
          assert.deepEqual(found, model[q])
          assert.equal(queues[q]!.depth, model[q]!.length)
        }
        assert.equal(spool.stats.messages, model[0]!.length + model[1]!.length)
      }
      await spool[Symbol.asyncDispose]()
    }),
    { numRuns: 30 },
  )
})
