import { test } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import { openStorageWith } from '../../../../core/storage/worker-storage.ts'
import type { Kept, SessionHead, StoredSubscription } from '../../../../protocols/mqtt/durability.ts'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { all, message, openOnThread as open, rig, texts } from './rig.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

test('a message that was appended is there after opening again, with all that belongs to it', async (t) => {
  const dir = temporaryFolder(t)
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
  await using spool = await open(temporaryFolder(t), { maxMessages: 3 })
  const [a, b] = [await spool.createQueue('a'), await spool.createQueue('b')]
  await spool.append(message('1'), [a, b])
  await assert.rejects(spool.append(message('2'), [a, b]), { code: 'MESH_MQTT_QUOTA' })
  assert.deepEqual([a.depth, b.depth], [1, 1])
  await spool.append(message('3'), [a])
})
test('messages that are done make room; the oldest is given up only where the policy says so', async (t) => {
  await using strict = await open(temporaryFolder(t), { maxMessages: 2 })
  const q = await strict.createQueue('q')
  await strict.append(message('1'), [q])
  await strict.append(message('2'), [q])
  await assert.rejects(strict.append(message('3'), [q]), { code: 'MESH_MQTT_QUOTA' })
  q.done(1)
  await strict.append(message('3'), [q])
  assert.deepEqual(texts(await all(q)), ['2', '3'])

  await using lossy = await open(temporaryFolder(t), { maxMessages: 2, whenFull: 'drop-oldest' })
  const r = await lossy.createQueue('q')
  for (const n of ['1', '2', '3']) await lossy.append(message(n), [r])
  assert.deepEqual(texts(await all(r)), ['2', '3'])
})
test('a disk that is nearly full is not filled further', async (t) => {
  await using spool = await open(temporaryFolder(t), { minDiskFreeBytes: 2e7 }, 2e7 - 1)
  const q = await spool.createQueue('q')
  await assert.rejects(spool.append(message('1'), [q]), { code: 'MESH_STORAGE_FULL' })
})
test('a backlog larger than what is kept in memory comes from the disk, in order and without gaps', async (t) => {
  const dir = temporaryFolder(t)
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
  const dir = temporaryFolder(t)
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
  const dir = temporaryFolder(t)
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
const SUBSCRIPTIONS = [
  { filter: 'a/#', qos: 1, noLocal: true, retainAsPublished: false, retainHandling: 2, subscriptionId: 268_435_455 },
  {
    filter: '$share/g/ü',
    qos: 2,
    noLocal: false,
    retainAsPublished: true,
    retainHandling: 0,
    subscriptionId: undefined,
  },
] as const
/** A file of the first version: sessions hold their subscriptions in one row, and not all rows can be read. */
async function writeFirstVersion(file: string): Promise<void> {
  const { storage } = await openStorageWith({ bundle: undefined })({
    path: file,
    profile: 'strict',
    migrations: MIGRATIONS.slice(0, 1),
  })
  const body = (subscriptions: readonly unknown[]): string =>
    JSON.stringify({ clientId: 'c', protocolVersion: 5, expirySec: 60, disconnectedAtMs: 5, subscriptions })
  const put = (id: string, text: string) => ({
    sql: 'INSERT INTO session (client_id, body) VALUES (?, ?)',
    params: [id, text],
  })
  await storage.commit([
    put('c', body(SUBSCRIPTIONS)),
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
test('a file whose sessions hold their subscriptions in one row is taken over; a session that cannot be read does not stop the others', async (t) => {
  const dir = temporaryFolder(t)
  await writeFirstVersion(path.join(dir, 'spool.db'))
  for (let start = 0; start < 2; start++) {
    await using spool = await open(dir)
    assert.deepEqual(new Set(spool.sessions.get('c')?.subscriptions), new Set(SUBSCRIPTIONS))
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
  const dir = temporaryFolder(t)
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
  const dir = temporaryFolder(t)
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
  const dir = temporaryFolder(t)
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

test('what goes to the device is told by profile and made a day of', async (t) => {
  const r = await rig(t)
  const queue = await r.queue()
  await r.spool.append(message('x'.repeat(100_000)), [queue])
  await r.clock.advance(3_600_000)
  const { writtenBytes, writtenPerDay } = r.spool.stats
  assert.deepEqual(writtenPerDay, writtenBytes === undefined ? undefined : { bytes: writtenBytes * 24, overSec: 3_600 })
  const [total, perDay] = [
    r.metrics.total('mesh_mqtt_spool_written_bytes_total', { profile: 'balanced' }),
    r.metrics.total('mesh_mqtt_spool_written_bytes_per_day'),
  ]
  assert.deepEqual([total, perDay], writtenBytes === undefined ? [0, -1] : [writtenBytes, writtenBytes * 24])
  await r.spool[Symbol.asyncDispose]()
})
