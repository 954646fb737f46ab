/** 500 damages of a spool of known content: every start succeeds, and every message is delivered or told as lost. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { manyDamages } from './damages.ts'

const DAMAGES = 500

test('of 500 damages each start succeeds, and what is not delivered is told', { timeout: 600_000 }, async (t) => {
  const seed = Date.now() % 1_000_000
  t.diagnostic(`seed ${seed}`)
  const outcomes = await manyDamages(temporaryFolder(t), DAMAGES, seed)
  const lossy = outcomes.filter(({ missing, rowsMissing }) => missing + rowsMissing > 0)
  const counted = lossy.filter(({ missing, told }) => missing === told)
  const sum = (of: 'missing' | 'told'): number => outcomes.reduce((all, one) => all + one[of], 0)
  t.diagnostic(
    `${outcomes.length} starts; ${lossy.length} with losses, each told, ${counted.length} of them to the message; ${sum('missing')} messages missing, ${sum('told')} told by number`,
  )
  assert.equal(outcomes.length, DAMAGES)
  assert.ok(lossy.length > DAMAGES / 4, 'damage that takes nothing shows nothing')
})
