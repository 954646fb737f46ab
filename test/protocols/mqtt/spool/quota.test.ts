import { test } from 'node:test'
import assert from 'node:assert/strict'
import { all, message, rig } from './rig.ts'

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
