import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { openRegistry, type OpenRegistry } from '../../../hub/registry/registry.ts'
import {
  abortRollout,
  pauseRollout,
  resumeRollout,
  startRollout,
  undoRollout,
  type RolloutPlan,
} from '../../../hub/rollout/operate.ts'
import { EVERYBODY, makeScope } from '../../../hub/rollout/scope.ts'

const by = { actor: 'operator:kim', address: '10.0.0.1', nowMs: 5, why: 'because' }
const PLAN: RolloutPlan = {
  to: 'aaaa',
  scope: EVERYBODY,
  waves: '50%,100%',
  halt: 'rejected>0',
  soakMs: 60_000,
  awayMs: 60_000,
}
async function open(ids: readonly string[] = ['aaaa', 'bbbb', 'cccc']): Promise<OpenRegistry> {
  const registry = openRegistry(':memory:')
  for (const id of ids)
    await registry.revisions.add({ revision: { id, files: [] }, nowMs: 1, readSource: async () => Buffer.of() })
  return registry
}
const refused = (problem: RegExp) => (err: unknown) =>
  err instanceof MeshError && err.code === 'MESH_CONFIG_INVALID' && problem.test(err.message)

test('the first revision is for all, and at once: there is nothing to go back to', async () => {
  await using registry = await open()
  const labelled = { ...PLAN, scope: makeScope({ labels: { site: 'north' } }) }
  await assert.rejects(startRollout(registry, labelled, by), refused(/first revision is for all/))
  assert.equal((await startRollout(registry, PLAN, by)).state, 'completed')
  assert.deepEqual(await registry.rollouts.assignments(), [{ scope: EVERYBODY, revision: 'aaaa' }])
  await assert.rejects(undoRollout(registry, by), refused(/no rollout to undo/))
})

test('what cannot be started says why, and changes nothing', async () => {
  await using registry = await open()
  await startRollout(registry, PLAN, by)
  for (const [over, problem] of [
    [{ to: 'zzzz' }, /"zzzz" is no revision/],
    [{ waves: '1%' }, /the last wave is 100%/],
    [{ halt: 'lost>' }, /character 6: expected a number/],
  ] as const)
    await assert.rejects(startRollout(registry, { ...PLAN, to: 'bbbb', ...over }, by), refused(problem))
  assert.equal((await registry.rollouts.list(10)).length, 1)
  assert.throws(() => makeScope({ device: '../x' }), refused(/cannot be a device's name/))
  assert.throws(() => makeScope({ labels: { 'a b': 'c' } }), refused(/no name of a label/))
  assert.throws(() => makeScope({ labels: { a: 'c' }, device: 'gw' }), refused(/not for both/))
})

test('one at a time; each change wants the state that it is for, and stands in the audit log with its reason', async () => {
  await using registry = await open()
  await startRollout(registry, PLAN, by)
  for (const change of [pauseRollout, resumeRollout, abortRollout])
    await assert.rejects(change(registry, by), refused(/no rollout is under way/))
  const { id } = await startRollout(registry, { ...PLAN, to: 'bbbb' }, by)
  await assert.rejects(startRollout(registry, { ...PLAN, to: 'cccc' }, by), refused(/is running/))
  await assert.rejects(undoRollout(registry, by), refused(/under way/))
  await assert.rejects(resumeRollout(registry, by), refused(/is running/))
  assert.equal((await pauseRollout(registry, by)).state, 'paused')
  await assert.rejects(pauseRollout(registry, by), refused(/is paused/))
  assert.equal((await resumeRollout(registry, by)).state, 'running')
  assert.equal((await abortRollout(registry, by)).endedMs, 5)
  assert.deepEqual(await registry.rollouts.assignments(), [{ scope: EVERYBODY, revision: 'aaaa' }])
  const audit = await registry.audit.list({ subject: id, most: 10 })
  assert.deepEqual(
    audit.map(({ event, actor, address, detail }) => [event, actor, address, detail.endsWith('because')]),
    ['started', 'paused', 'resumed', 'aborted'].map((what) => [`rollout.${what}`, by.actor, by.address, true]),
  )
})

test('undo goes back to all that was in force, once', async () => {
  await using registry = await open()
  await startRollout(registry, PLAN, by)
  const north = makeScope({ labels: { site: 'north' } })
  await startRollout(registry, { ...PLAN, to: 'bbbb', scope: north, now: true }, { ...by, nowMs: 6 })
  await startRollout(registry, { ...PLAN, to: 'cccc', now: true }, { ...by, nowMs: 7 })
  assert.deepEqual(await registry.rollouts.assignments(), [{ scope: EVERYBODY, revision: 'cccc' }])
  await undoRollout(registry, by)
  assert.deepEqual(await registry.rollouts.assignments(), [
    { scope: EVERYBODY, revision: 'aaaa' },
    { scope: north, revision: 'bbbb' },
  ])
  await assert.rejects(undoRollout(registry, by), refused(/no rollout to undo/))
})

test('devices are at a few revisions at once, not at any number', async () => {
  const ids = Array.from({ length: 9 }, (_, i) => `rev${i}0000`)
  await using registry = await open(ids)
  for (const [i, to] of ids.slice(0, 8).entries()) {
    const scope = i === 0 ? EVERYBODY : makeScope({ device: `gw-${i}` })
    await startRollout(registry, { ...PLAN, to, scope, now: true }, by)
  }
  const ninth = { ...PLAN, to: ids[8]!, scope: makeScope({ device: 'gw-9' }), now: true }
  await assert.rejects(startRollout(registry, ninth, by), refused(/more than 8 revisions at once/))
})
