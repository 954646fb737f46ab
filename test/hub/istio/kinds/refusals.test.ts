/** What an istiod's validation refuses is refused by name and line (test/conformance/istiod/yaml asks the real one). */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { formatProblem } from '../../../../hub/istio/config.ts'
import { readConfigs } from '../../../../hub/istio/read/read-configs.ts'
import { REFUSALS, TAKEN } from '../cases/refusals.ts'

const problemsOf = (text: string): string[] => readConfigs({ name: 'a.yaml', text }).problems.map(formatProblem)

await suite('Rules of an istiod', async () => {
  for (const { yaml, says } of REFUSALS)
    await test(`refused: ${yaml.slice(yaml.indexOf('kind:'))}`, () => {
      const problems = problemsOf(yaml)
      assert.match(problems.join('\n'), says)
      for (const one of problems) assert.match(one, /^a\.yaml:[2-9]:\d+: \w+ edge\/x, spec/)
    })
  for (const yaml of TAKEN)
    await test(`taken: ${yaml.slice(yaml.indexOf('kind:'))}`, () => assert.deepEqual(problemsOf(yaml), []))
})
