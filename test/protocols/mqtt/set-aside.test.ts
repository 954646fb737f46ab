/** What an upstream broker does not take: looked at, given to it once more, thrown away; on the pages of the admin port, too. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createSetAsidePages } from '../../../agent/admin/set-aside-pages.ts'
import { SetAside } from '../../../protocols/mqtt/set-aside.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { rig, UP } from './bridge/rig.ts'

const SESSION = 'cloud/edge-1/cloud'

test('a message that was too large is listed, shown and requeued; what is too large still is set aside again', async (t) => {
  const r = await rig(t, [UP])
  const { durability } = r.local
  const aside = new SetAside(durability)
  const small = await r.upstream.accepted({ properties: { maximumPacketBytes: 100 } })
  await r.publish('sensors/a', 'x'.repeat(200))
  await r.publish('sensors/b', 'y'.repeat(300))
  await small.seen()
  const [listed] = aside.list()
  assert.deepEqual([aside.list().length, listed!.session, listed!.messages], [1, SESSION, 2])
  const entries = (await aside.show(SESSION, 0, 10))!
  assert.deepEqual(
    entries.map(({ seq, message }) => [seq, message.topic]),
    [
      [1, 'sensors/a'],
      [2, 'sensors/b'],
    ],
  )
  assert.equal(await aside.requeue(SESSION, new Set([1])), 1)
  await settle()
  await settle()
  assert.deepEqual(
    (await aside.show(SESSION, 0, 10))!.map(({ message }) => message.topic),
    ['sensors/b', 'sensors/a'],
    'it came back',
  )
  r.upstream.cut()
  const large = await r.reconnected({ sessionPresent: true })
  assert.equal(await aside.requeue(SESSION, undefined), 2)
  assert.deepEqual(
    (await large.seen()).map((line) => line.split(' ')[1]),
    ['sensors/b', 'sensors/a'],
  )
  assert.deepEqual(aside.list(), [])
})

test('purge, and what there is not: on the admin port', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted({ properties: { maximumPacketBytes: 100 } })
  for (const n of [1, 2, 3]) await r.publish(`sensors/${n}`, 'x'.repeat(200))
  await conn.seen()
  const pages = new Map(createSetAsidePages(r.local.durability))
  const ask = async (path: string): Promise<readonly [number, unknown]> => {
    const [page, query] = path.split('?')
    const { status = 200, body } = await pages.get(`/mqtt/setaside${page}`)!.handle(new URLSearchParams(query))
    return [status, status === 200 ? JSON.parse(body) : body.split(' ')[0]]
  }
  const of = `session=${encodeURIComponent(SESSION)}`
  const [, shown] = (await ask(`?${of}&after=1`)) as [number, { seq: number; payloadBytes: number }[]]
  assert.deepEqual(
    shown.map(({ seq, payloadBytes }) => [seq, payloadBytes]),
    [
      [2, 200],
      [3, 200],
    ],
  )
  assert.deepEqual(await ask(`/purge?${of}&seq=2`), [200, { session: SESSION, messages: 1 }])
  assert.deepEqual(await ask(`/purge?${of}`), [200, { session: SESSION, messages: 2 }])
  assert.deepEqual(await ask(''), [200, []])
  assert.equal((await ask('/purge?session=nobody'))[0], 404)
  assert.equal((await ask('/requeue?session=nobody'))[0], 404)
  assert.equal((await ask(`/requeue?${of}&seq=x`))[0], 400)
  await r.bridge.apply({ routes: [], bridges: [] })
  await r.local.durability.deleteQueue(`up/${SESSION}`)
  assert.equal((await ask(`/requeue?${of}`))[0], 409)
})
