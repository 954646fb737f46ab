/** `istioctl validate`, which is an istiod's own validation, refuses what the hub refuses, and takes what stands beside it. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { REFUSALS, TAKEN } from '../../../hub/istio/cases/refusals.ts'
import { temporaryFolder } from '../../programs.ts'
import { istioctl } from '../rig/istioctl.ts'

await test('rules of an istiod', async (t) => {
  const folder = temporaryFolder(t)
  const validate = async (yaml: string): Promise<number | null> => {
    const file = path.join(folder, 'a.yaml')
    fs.writeFileSync(file, yaml)
    return (await istioctl(t, ['validate', '-f', file])).code
  }
  for (const { yaml } of REFUSALS)
    await t.test(`refused: ${yaml}`, async () => assert.notEqual(await validate(yaml), 0))
  for (const yaml of TAKEN) await t.test(`taken: ${yaml}`, async () => assert.equal(await validate(yaml), 0))
})
