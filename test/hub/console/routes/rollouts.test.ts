import { test } from 'node:test'
import assert from 'node:assert/strict'
import { KEY_HOLDER } from '../../../../hub/registry/enrollments.ts'
import type { RolloutDetail, RolloutList } from '../../../../hub/console/rollout-schemas.ts'
import { findWave } from '../../../../hub/rollout/waves.ts'
import { consoleRig, type ConsoleRig } from '../console-rig.ts'

/** @returns ids of two revisions; the second is in force for all */
async function takeTwo(rig: ConsoleRig): Promise<readonly [string, string]> {
  const ids = ['aaaa11112222', 'bbbb11112222'] as const
  const cookie = await rig.login()
  for (const id of ids) {
    const revision = { id, files: [] }
    await rig.hub.registry.revisions.add({ revision, nowMs: 1, readSource: async () => Buffer.of() })
    const body = { to: id, now: true }
    assert.equal((await rig.ask({ method: 'POST', path: '/api/v1/rollouts', body, cookie })).status, 200)
  }
  return ids
}

async function addDevices({ hub: { registry } }: ConsoleRig, count: number): Promise<void> {
  const nowMs = Date.now()
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: { site: 'north' }, address: '10.0.0.1' }
  for (let i = 0; i < count; i++) {
    const [name, keyId] = [`gw-${i}`, `k${i}`]
    await registry.enrollments.enroll({ ...of, name, keyId }, nowMs)
    const spiffeUri = 'spiffe://demo.mesh/ns/edge/sa/gw'
    await registry.claimName({
      name,
      nodeId: name,
      spiffeUri,
      ip: '',
      holder: KEY_HOLDER + keyId,
      jti: undefined,
      nowMs,
    })
  }
  await registry.registerReplica({ id: 'other', nowMs, isAlone: false })
  const names = Array.from({ length: count }, (_, i) => `gw-${i}`)
  await registry.devicesChanged(
    names.map((name) => ({
      name,
      connectedMs: nowMs,
      lastSeenMs: nowMs,
      inForce: 'old',
      inForceMs: nowMs,
      refused: undefined,
    })),
    nowMs,
    'other',
  )
}

test('a rollout is started, held, ended and undone, each with who did it', async (t) => {
  const rig = await consoleRig(t)
  const [first, second] = await takeTwo(rig)
  await addDevices(rig, 10)
  const cookie = await rig.login(undefined, 'operator:ann')
  const post = (path: string, body: object = {}) => rig.ask({ method: 'POST', path, body, cookie })
  const wish = { to: first.slice(0, 8), waves: '20%,100%', soakSec: 600, halt: 'rejected>0, lost>20%, errors>2x' }
  const started = await post('/api/v1/rollouts', { ...wish, why: 'of the test' })
  assert.equal(started.status, 200, started.text)
  const { rollout } = started.body as unknown as RolloutDetail
  assert.deepEqual(
    [rollout.to, rollout.scope, rollout.state, rollout.wave, rollout.waveCount, rollout.by],
    [first, 'all', 'running', 1, 2, 'operator:ann'],
  )
  const again = await post('/api/v1/rollouts', wish)
  assert.equal(again.status, 400)
  const { body } = await rig.ask({ path: `/api/v1/rollouts/${rollout.id}`, cookie })
  const { progress, undo } = body as unknown as RolloutDetail
  assert.deepEqual(
    progress!.waves.map(({ percent, devices }) => [percent, devices]),
    [
      [20, 2],
      [100, 8],
    ],
  )
  assert.deepEqual(
    progress!.gates.map(({ gate, value, limit }) => [gate, value, limit]),
    [
      ['rejected>0', 0, 0],
      ['lost>20%', 0, 20],
      ['errors>2x', 0, 2],
    ],
  )
  assert.equal(progress!.counted, 2)
  assert.equal(undo, false, 'one is under way')
  assert.equal((await post(`/api/v1/rollouts/${rollout.id}/pause`)).status, 200)
  assert.equal((await post(`/api/v1/rollouts/${rollout.id}/pause`)).status, 400)
  assert.equal((await post(`/api/v1/rollouts/${rollout.id}/resume`)).status, 200)
  const [done] = (await rig.hub.registry.rollouts.list(10)).filter(({ state }) => state === 'completed')
  const other = await post(`/api/v1/rollouts/${done!.id}/abort`)
  assert.equal(other.status, 400, 'another one than the page showed is left alone')
  assert.equal((await rig.hub.registry.rollouts.active())?.id, rollout.id)
  assert.equal((await post(`/api/v1/rollouts/${rollout.id}/abort`, { why: 'no' })).status, 200)
  assert.equal((await post('/api/v1/rollouts/nosuch/abort')).status, 404)
  const list = (await rig.ask({ path: '/api/v1/rollouts', cookie })).body as unknown as RolloutList
  assert.deepEqual(list.inForce, [{ scope: 'all', revision: second }])
  assert.equal(list.undo, done!.id)
  const undone = await post(`/api/v1/rollouts/${done!.id}/undo`)
  assert.equal(undone.status, 200, undone.text)
  const log = await rig.hub.registry.audit.page({ most: 10, subject: rollout.id })
  assert.deepEqual(
    log.map(({ event, actor, address }) => [event, actor, address]),
    ['aborted', 'resumed', 'paused', 'started'].map((what) => [`rollout.${what}`, 'operator:ann', '127.0.0.1']),
  )
  assert.match(log[0]!.detail, /: no$/)
})

test('what cannot be started is refused with its place, and nothing has changed', async (t) => {
  const rig = await consoleRig(t)
  const [first] = await takeTwo(rig)
  const cookie = await rig.login()
  for (const [over, problem] of [
    [{ to: 'zzzz' }, /is no revision/],
    [{ halt: 'lost>' }, /character 6: expected a number/],
    [{ waves: '1%' }, /the last wave is 100%/],
    [{ labels: { site: 'x' }, device: 'gw-1' }, /not for both/],
    [{ soakSec: -1 }, /soakSec/],
    [{ to: 'x'.repeat(100) }, /to/],
  ] as const) {
    const said = await rig.ask({ method: 'POST', path: '/api/v1/rollouts', body: { to: first, ...over }, cookie })
    assert.equal(said.status, 400, said.text)
    assert.match(said.text, problem)
  }
  assert.equal(await rig.hub.registry.rollouts.active(), undefined)
})

test('the overview says what is under way, to whoever sees all namespaces', async (t) => {
  const rig = await consoleRig(t)
  const [first] = await takeTwo(rig)
  await addDevices(rig, 4)
  const cookie = await rig.login()
  const overview = async (who: string) => (await rig.ask({ path: '/api/v1/overview', cookie: who })).body['rollout']
  assert.equal(await overview(cookie), null)
  await rig.ask({ method: 'POST', path: '/api/v1/rollouts', body: { to: first, soakSec: 600 }, cookie })
  assert.equal(((await overview(cookie)) as { to: string } | null)?.to, first)
  assert.equal(await overview(await rig.login([{ namespace: 'edge', role: 'admin' }])), null)
})

test('the waves that a preview shows are those of the rollout that is started under its id', async (t) => {
  const rig = await consoleRig(t)
  const { registry } = rig.hub
  for (const id of ['aaaa', 'bbbb'])
    await registry.revisions.add({ revision: { id, files: [] }, nowMs: 1, readSource: async () => Buffer.of() })
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
  for (let i = 0; i < 40; i++) await registry.enrollments.enroll({ ...of, name: `gw-${i}`, keyId: `k${i}` }, Date.now())
  const cookie = await rig.login()
  const post = (path: string, body: object) =>
    rig.ask({ method: 'POST', path: `/api/v1/rollouts${path}`, body, cookie })
  assert.equal((await post('', { to: 'aaaa', now: true })).status, 200)
  const wish = { to: 'bbbb', waves: '10%,100%', halt: 'rejected>0' }
  const { body: seen } = await post('/preview', wish)
  const waves = seen['waves'] as { devices: number; away: number; names: string[] }[]
  assert.deepEqual(
    waves.map(({ devices }) => devices),
    [4, 36],
  )
  assert.deepEqual(seen['from'], [{ revision: 'aaaa', devices: 40 }])
  assert.equal((await registry.rollouts.list(10)).length, 1, 'nothing is started')
  assert.equal((await post('', { ...wish, id: seen['id'] })).status, 200)
  const active = (await registry.rollouts.active())!
  assert.equal(active.id, seen['id'])
  const first = Array.from({ length: 40 }, (_, i) => `gw-${i}`).filter((name) => findWave(active, name) === 0)
  assert.deepEqual(first.toSorted(), [...waves[0]!.names].toSorted())
  assert.equal((await post('/preview', { ...wish, waves: '10%' })).status, 400)
  assert.equal((await post('/preview', { ...wish, id: 'nosuch' })).status, 400)
  assert.equal((await post(`/${active.id}/abort`, {})).status, 200)
  assert.match((await post('', { ...wish, id: active.id })).text, /there was a rollout/)
})
