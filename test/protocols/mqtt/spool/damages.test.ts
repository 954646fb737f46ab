/** The short form of test/faults/damages.test.ts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { manyDamages } from '../../../faults/damages.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

test('whatever of a spool is damaged, it opens, and each message is delivered or told as lost', async (t) => {
  const outcomes = await manyDamages(temporaryFolder(t), 48, 4_711)
  assert.ok(outcomes.some(({ missing }) => missing > 0))
})
