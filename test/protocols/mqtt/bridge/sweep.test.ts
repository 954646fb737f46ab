import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { rig, UP } from './rig.ts'

test('what has expired makes room while the broker is away, and what has not stays', async (t) => {
  const r = await rig(t, [
    { ...UP, ttlSec: 60 },
    { ...UP, match: 'm/#' },
  ])
  await r.upstream.accepted()
  r.upstream.refuse()
  r.upstream.cut()
  await settle()
  for (let i = 0; i < 200; i++) await r.publish('sensors/a', String(i))
  await r.clock.advance(45_000)
  await r.publish('sensors/a', 'late')
  assert.equal(r.bridge.status()[0]!.queued, 201)
  await r.clock.advance(30_000)
  assert.deepEqual([r.bridge.status()[0]!.queued, r.dropped('expired')], [1, 200])
  // A clock that is set back lets nothing live longer.
  r.clock.setWallMs(r.clock.wallMs() - 3_600_000)
  await r.publish('m/a', 'for ever')
  await r.clock.advance(60_000)
  assert.deepEqual([r.bridge.status()[0]!.queued, r.dropped('expired')], [1, 201])
})
