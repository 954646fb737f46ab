import { test } from 'node:test'
import assert from 'node:assert/strict'
import { openRegistry } from '../../../hub/registry/registry.ts'

const entry = { actor: 'operator:ann', event: 'device.joined', address: '', detail: '' } as const

test('pages lead from the newest entry to the oldest, of one subject or of some namespaces', async () => {
  await using registry = openRegistry(':memory:')
  const { audit } = registry
  assert.equal(await audit.newestId(), 0)
  for (let i = 1; i <= 6; i++)
    await audit.add({
      ...entry,
      atMs: i,
      subject: `gw-${i % 2}`,
      namespace: i === 6 ? undefined : i % 3 === 0 ? 'lab' : 'edge',
    })
  const idsOf = async (q: Partial<Parameters<typeof audit.page>[0]>) =>
    (await audit.page({ most: 10, ...q })).map(({ id }) => id)
  assert.equal(await audit.newestId(), 6)
  assert.deepEqual(await idsOf({ most: 2 }), [6, 5])
  assert.deepEqual(await idsOf({ most: 2, before: 5 }), [4, 3])
  assert.deepEqual(await idsOf({ after: 4 }), [6, 5])
  assert.deepEqual(await idsOf({ subject: 'gw-1' }), [5, 3, 1])
  assert.deepEqual(await idsOf({ namespaces: ['edge'] }), [5, 4, 2, 1])
  assert.deepEqual(
    await idsOf({ namespaces: ['lab', "x') OR 1=1 --"] }),
    [3],
    'what is of none is for those who see all',
  )
  assert.deepEqual(await idsOf({ namespaces: [] }), [])
})
