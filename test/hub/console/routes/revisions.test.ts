import { test } from 'node:test'
import assert from 'node:assert/strict'
import { limitDiff } from '../../../../hub/console/routes/revisions.ts'
import type { RevisionDiff, RevisionList, WhoPage } from '../../../../hub/console/rollout-schemas.ts'
import { consoleRig } from '../console-rig.ts'

test('revisions are listed with their use, compared, and told from what is none', async (t) => {
  const rig = await consoleRig(t)
  const { revisions, enrollments } = rig.hub.registry
  const texts = new Map([
    ['aaaa', 'a: 1\nb: 2\n'],
    ['bbbb', 'a: 1\nb: 3\n'],
  ])
  for (const [id, text] of texts)
    await revisions.add({
      revision: {
        id,
        files: [{ path: 'one.yaml', hash: `h-${id}`, content: { resources: [], problems: [] } as never }],
      },
      nowMs: 1,
      readSource: async () => Buffer.from(text),
    })
  const cookie = await rig.login()
  await rig.ask({ method: 'POST', path: '/api/v1/rollouts', body: { to: 'aaaa', now: true }, cookie })
  const get = async <T>(path: string) => (await rig.ask({ path: `/api/v1/revisions${path}`, cookie })).body as T
  const list = await get<RevisionList>('')
  assert.deepEqual(list.revisions.find(({ id }) => id === 'aaaa')?.use, ['in force for all'])
  const diff = await get<RevisionDiff>('/aaaa/diff/bbbb')
  assert.deepEqual(diff.files, [{ path: 'one.yaml', what: 'changed', lines: ['@@ 1', ' a: 1', '-b: 2', '+b: 3'] }])
  assert.deepEqual((await get<{ files: object[] }>('/aaaa')).files, [
    { path: 'one.yaml', resources: 0, source: 'h-aaaa' },
  ])
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '' }
  await enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k' }, 1)
  assert.equal((await get<WhoPage>('/aaaa/who')).total, 0, 'it never connected')
  for (const path of ['/nosuch', '/nosuch/who', '/aaaa/diff/nosuch'])
    assert.equal((await rig.ask({ path: `/api/v1/revisions${path}`, cookie })).status, 404, path)
  const viewer = await rig.login([{ namespace: '*', role: 'viewer' }])
  const kept = await rig.ask({ path: '/api/v1/revisions/aaaa/diff/bbbb', cookie: viewer })
  assert.equal(kept.status, 403, 'keys of Secrets may stand there')
})

test('a page is sent so much of what differs, and told that there is more', () => {
  const long = limitDiff([{ path: 'a', what: 'changed', lines: ['x'.repeat(5_000)] }])
  assert.equal(long.files[0]!.lines[0]!.length, 2_000)
  assert.ok(long.isCut)
  const lines = Array.from({ length: 1_000 }, () => 'y'.repeat(1_999))
  const many = limitDiff(['a', 'b'].map((path) => ({ path, what: 'added' as const, lines })))
  assert.ok(JSON.stringify(many).length < 600_000)
  assert.ok(many.isCut)
  assert.equal(many.filesTotal, 2)
  assert.ok(!limitDiff([{ path: 'a', what: 'added', lines: ['+x'] }]).isCut)
})
