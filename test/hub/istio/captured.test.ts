/** Each case compiled, against what an istiod answered to the same YAML. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { CASES } from './cases/all.ts'
import { readCaptured } from './captured.ts'
import { compileYaml, listDifferences } from './compare.ts'

await suite('Istio YAML becomes what an istiod made of it', async () => {
  const captured = readCaptured()
  for (const { name, yaml, node } of CASES)
    await test(name, () => {
      assert.deepEqual(listDifferences(captured.get(name), compileYaml(yaml, node)), [])
    })
})
