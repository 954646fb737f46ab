import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { rig, UP } from './rig.ts'

const TOPIC = '$SYS/broker/connection/edge-1/cloud/state'

test('remote: 1 retained once connected, 0 by the will when the connection breaks and by itself when it is closed', async (t) => {
  const r = await rig(t, [UP], { notifications: 'remote' })
  const conn = await r.upstream.next()
  const { will } = await conn.take('connect')
  assert.deepEqual([will?.topic, String(Buffer.from(will!.payload)), will?.qos, will?.retain], [TOPIC, '0', 1, true])
  conn.connack(0)
  assert.deepEqual(await conn.seen(), [`publish ${TOPIC} 1 q0 retain`])
  await r.bridge[Symbol.asyncDispose]()
  assert.deepEqual(await conn.seen(), [`publish ${TOPIC} 0 q0 retain`, 'disconnect 0x0'])
})

test('local: whoever subscribes sees it, retained, and nothing of it goes up', async (t) => {
  const r = await rig(t, [{ match: '#', direction: 'up' }], { notifications: 'local' })
  const watcher = r.local.open()
  await watcher.connect()
  await settle()
  await watcher.subscribe(TOPIC)
  assert.deepEqual(await watcher.seen(), [`publish ${TOPIC} 0 q0 retain`])
  const conn = await r.upstream.accepted()
  await settle()
  assert.deepEqual(await watcher.seen(), [`publish ${TOPIC} 1 q0`])
  conn.end()
  await settle()
  assert.deepEqual([await watcher.seen(), await conn.seen()], [[`publish ${TOPIC} 0 q0`], []])
})

test('none: no will and no topic', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.next()
  assert.equal((await conn.take('connect')).will, undefined)
  conn.connack(0)
  assert.deepEqual(await conn.seen(), [])
})

test('a topic of its own', async (t) => {
  const r = await rig(t, [UP], { notifications: 'both', notificationTopic: 'site/link' })
  const conn = await r.upstream.next()
  assert.equal((await conn.take('connect')).will?.topic, 'site/link')
})
