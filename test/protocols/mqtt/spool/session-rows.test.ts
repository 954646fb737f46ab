/** The row of a session is written with the first thing that needs it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Kept, StoredSubscription } from '../../../../protocols/mqtt/durability.ts'
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
