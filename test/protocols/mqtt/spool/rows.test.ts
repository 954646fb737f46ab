/**
 * The row of a session is written with the first thing that needs it; that of a retained message stays its topic's until it is gone.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Kept, StoredSubscription } from '../../../../protocols/mqtt/durability.ts'
import type { Statement } from '../../../../core/storage/storage.ts'
import { RetainedRows } from '../../../../protocols/mqtt/spool/rows.ts'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { message, rig } from './rig.ts'

const head = {
  clientId: 'c',
  address: '',
  owner: undefined,
  protocolVersion: 5,
  expirySec: 60,
  disconnectedAtMs: undefined,
  pendingWill: undefined,
} as const
const session: Kept = { clientId: 'c', toStored: () => head }
const filter = (name: string): StoredSubscription => ({
  filter: name,
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionId: undefined,
})

for (const first of ['queue', 'subscription', 'QoS 2 message'] as const) {
  test(`the first ${first} of a session brings its row along in the same transaction, and what comes behind it writes none`, async (t) => {
    const r = await rig(t)
    assert.equal(r.spool.holds('c'), false)
    const { commits } = r.storage
    const before = commits.length
    if (first === 'queue') await r.spool.createQueue('session/c', session)
    else if (first === 'subscription') await r.spool.saveSubscriptions(session, [filter('a')], [])
    else await r.spool.append(message('x', { qos: 2 }), [], { clientId: 'c', packetId: 1, session })
    assert.equal(commits.length, before + 1)
    const rows = (): number => commits.flat().filter(({ sql }) => sql.includes('INTO session ')).length
    assert.deepEqual([rows(), r.spool.holds('c')], [1, true])
    await r.spool.saveSubscriptions(session, [filter('b')], [])
    await r.spool.append(message('x', { qos: 2 }), [], { clientId: 'c', packetId: 2, session })
    assert.equal(rows(), 1)
    const next = await r.reopen()
    assert.deepEqual([next.spool.sessions.size, next.spool.holds('c'), next.spool.holds('d')], [1, true, false])
    await next.spool.deleteSession('c')
    assert.equal(next.spool.holds('c'), false)
  })
}

test('when the transaction that brought the row fails, one that was asked for meanwhile has it too', async (t) => {
  const r = await rig(t)
  r.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FAILED' }]
  r.storage.hold()
  const failed = assert.rejects(r.spool.saveSubscriptions(session, [filter('lost')], []))
  await settle()
  const kept = r.spool.saveSubscriptions(session, [filter('kept')], [])
  r.storage.resume()
  await Promise.all([failed, kept])
  const next = await r.reopen()
  assert.deepEqual(
    next.spool.sessions.get('c')?.subscriptions.map((s) => s.filter),
    ['kept'],
  )
})

test('the row of a session that begins while its predecessor is being deleted is written, however the deletion ends', async (t) => {
  for (const fault of [undefined, { when: 'after', code: 'MESH_STORAGE_FAILED' }] as const) {
    const r = await rig(t)
    await r.spool.saveSubscriptions(session, [filter('old')], [])
    r.storage.hold()
    r.storage.faults = [fault]
    const deleted = r.spool.deleteSession('c').catch(() => undefined)
    await settle()
    const begun = r.spool.saveSubscriptions(session, [filter('new')], [])
    r.storage.resume()
    await Promise.all([deleted, begun])
    assert.equal(r.spool.holds('c'), true)
    const next = await r.reopen()
    assert.deepEqual(
      next.spool.sessions.get('c')?.subscriptions.map((s) => s.filter),
      ['new'],
    )
  }
})

const to = (topic: string) => message(topic, { topic })
const idOf = ({ params }: Statement): unknown => (params as readonly unknown[])[0]
const putDurably = (rows: RetainedRows, topic: string): unknown => {
  const { id, isNew } = rows.put(topic)
  if (isNew) rows.settle(topic, 'saved')
  return id
}
const rowsOf = (statements: readonly Statement[]): unknown[] => statements.map(idOf)

test('a topic keeps its row until that is deleted for certain', () => {
  const rows = new RetainedRows()
  rows.noteRestored('old', 7)
  assert.deepEqual([putDurably(rows, 'new'), putDurably(rows, 'old'), putDurably(rows, 'new')], [8, 7, 8])

  const failed = rows.drop('old')
  assert.deepEqual(rowsOf(failed.statements), [7])
  assert.deepEqual(rowsOf(rows.drop('old').statements), [7], 'the first was not told that it is gone')

  const overtaken = rows.drop('new')
  assert.equal(putDurably(rows, 'new'), 8, 'put while it goes: in the order of the statements it is there')
  overtaken.gone()
  assert.equal(putDurably(rows, 'new'), 8)

  const done = rows.drop('new')
  done.gone()
  assert.deepEqual(rows.drop('new').statements, [])
  assert.equal(putDurably(rows, 'new'), 9)
})

test("the row of a topic that the disk refuses is the next topic's, unless another message of it is on its way", () => {
  const rows = new RetainedRows()
  assert.deepEqual([rows.put('a').isNew, rows.put('a').isNew], [true, true])
  rows.settle('a', 'refused')
  assert.equal(rows.put('b').id, 2)
  rows.settle('a', 'saved')
  assert.equal(rows.put('a').isNew, false)
  for (let i = 0; i < 10; i++) {
    assert.equal(rows.put(`refused ${i}`).id, 3)
    rows.settle(`refused ${i}`, 'refused')
    assert.deepEqual(rows.drop(`refused ${i}`).statements, [])
  }
})

test('a message whose deletion the disk refuses is deleted by the next', async (t) => {
  const r = await rig(t)
  await r.spool.saveRetained('a', to('a'))
  r.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FAILED' }]
  await assert.rejects(r.spool.saveRetained('a', undefined))
  await r.spool.saveRetained('a', message('again', { topic: 'a' }))
  await r.spool.saveRetained('a', undefined)
  const again = await r.reopen()
  assert.deepEqual([...again.spool.retained.keys()], [])
  await again.spool[Symbol.asyncDispose]()
})

test('of two rows of one topic the later counts, and the other goes', async (t) => {
  const r = await rig(t)
  for (const text of ['first', 'second', 'third']) await r.spool.saveRetained(text, to(text))
  await r.spool[Symbol.asyncDispose]()
  const file = { path: r.storage.path, profile: 'balanced', migrations: MIGRATIONS } as const
  {
    const { storage } = await r.storage.open(file)
    await storage.commit([
      { sql: "INSERT INTO retained (id, topic, message) SELECT -5, 'second', message FROM retained WHERE id = 1" },
      { sql: 'INSERT INTO retained (id, topic, message) SELECT -4, topic, message FROM retained WHERE id = 2' },
      { sql: 'INSERT INTO retained (id, topic, message) SELECT 90, topic, message FROM retained WHERE id = 3' },
    ])
    await storage[Symbol.asyncDispose]()
  }
  const again = await r.open()
  assert.deepEqual([...again.spool.retained.keys()].toSorted(), ['first', 'second', 'third'])
  await again.spool.saveRetained('fourth', to('fourth'))
  await again.spool[Symbol.asyncDispose]()
  const { storage } = await r.storage.open(file)
  const rows = await storage.query({ sql: 'SELECT id, topic FROM retained ORDER BY id' })
  assert.deepEqual(
    rows.map(({ id, topic }) => [Number(id), topic]),
    [
      [1, 'first'],
      [2, 'second'],
      [90, 'third'],
      [91, 'fourth'],
    ],
  )
  await storage[Symbol.asyncDispose]()
})
