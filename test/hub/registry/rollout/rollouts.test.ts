import assert from 'node:assert/strict'
import type { RolloutRecord } from '../../../../hub/registry/rollout/rollouts.ts'
import { EVERYBODY } from '../../../../hub/rollout/scope.ts'
import { testRegistry } from '../on-stores.ts'

const record = (id: string, p: Partial<RolloutRecord> = {}): RolloutRecord => ({
  id,
  to: 'new',
  scope: EVERYBODY,
  waves: '100%',
  halt: 'never',
  soakMs: 1_000,
  awayMs: 1_000,
  state: 'running',
  wave: 0,
  soakedMs: 0,
  reason: '',
  salt: 's',
  upTo: [1],
  startedMs: 1,
  endedMs: null,
  by: 'hub',
  before: [],
  sequence: 0,
  ...p,
})

testRegistry('one rollout is active at a time, and who changed it last is believed', async (registry) => {
  const { rollouts } = registry
  await rollouts.add(record('r1'))
  await assert.rejects(rollouts.add(record('r2')))
  const active = (await rollouts.active())!
  const paused = await rollouts.update({ ...active, state: 'paused' })
  assert.equal(paused?.sequence, 1)
  assert.equal(await rollouts.update({ ...active, wave: 5 }), undefined, 'somebody has paused it since')
  assert.deepEqual([(await rollouts.active())?.state, (await rollouts.active())?.wave], ['paused', 0])
  await rollouts.update({ ...paused!, state: 'aborted', endedMs: 5 })
  assert.equal(await rollouts.active(), undefined)
  await rollouts.add(record('r2', { startedMs: 2 }))
  assert.deepEqual(
    (await rollouts.list(10)).map(({ id }) => id),
    ['r2', 'r1'],
  )
})

testRegistry('every change of what devices are to have is noticed; a soak that goes on is not', async (registry) => {
  const { rollouts } = registry
  const seen = [registry.revision]
  await rollouts.add(record('r1'))
  seen.push(registry.revision)
  await rollouts.saveSoak(record('r1', { soakedMs: 500 }))
  assert.equal(registry.revision, seen.at(-1))
  assert.equal((await rollouts.active())?.soakedMs, 500)
  await rollouts.update(record('r1', { wave: 1 }))
  seen.push(registry.revision)
  await rollouts.setAssignments([{ scope: EVERYBODY, revision: 'new' }])
  seen.push(registry.revision)
  assert.equal(new Set(seen).size, seen.length)
})

testRegistry('rollouts stand in the order in which they began, whatever clocks and ids say', async (registry) => {
  const { rollouts } = registry
  for (const [id, startedMs] of [
    ['z', 5],
    ['a', 5],
    ['m', 4],
    ['b', 5],
  ] as const)
    await rollouts.add(record(id, { startedMs, state: 'completed' }))
  assert.deepEqual(
    (await rollouts.list(10)).map(({ id }) => id),
    ['b', 'm', 'a', 'z'],
  )
})

testRegistry('devices that count are kept as they were first seen, until the rollout ends', async (registry) => {
  const { rollouts } = registry
  await rollouts.add(record('r1'))
  const tracked = { wave: 0, refused: undefined, traffic: undefined, awayMs: 0, pendingMs: 0 }
  await rollouts.track('r1', [['gw-1', tracked]])
  await rollouts.track('r1', [['gw-1', { ...tracked, wave: 3 }]])
  assert.equal((await rollouts.tracked('r1')).get('gw-1')?.wave, 0)
  await rollouts.update(record('r1', { state: 'completed' }))
  assert.equal((await rollouts.tracked('r1')).size, 0)
})

testRegistry('one process has the lease until it lets go or its time is over', async (registry) => {
  const { rollouts } = registry
  const lease = (holder: string, nowMs: number) => rollouts.lease('drive', holder, { nowMs, forMs: 100 })
  assert.equal(await lease('a', 0), true)
  assert.equal(await lease('b', 50), false)
  assert.equal(await lease('a', 90), true)
  assert.equal(await lease('b', 150), false)
  assert.equal(await lease('b', 191), true)
  await rollouts.release('drive', 'a')
  assert.equal(await lease('a', 192), false)
  await rollouts.release('drive', 'b')
  assert.equal(await lease('a', 192), true)
})

testRegistry('a process that ended with its clock years ahead keeps nobody from the lease', async (registry) => {
  const lease = (holder: string, nowMs: number) => registry.rollouts.lease('drive', holder, { nowMs, forMs: 100 })
  assert.equal(await lease('a', 1e12), true)
  assert.equal(await lease('b', 1_000), true)
  assert.equal(await lease('a', 1_050), false, 'its own time is right now')
})
