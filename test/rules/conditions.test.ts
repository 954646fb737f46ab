import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { CONDITIONS } from '../../agent/admin/conditions.ts'
import { statusPage } from '../../tools/reference-pages.ts'

test('docs/status.md is what the table of conditions says (npm run docs writes it)', () =>
  assert.equal(fs.readFileSync('docs/status.md', 'utf8'), statusPage()))
test('each condition has a test, and a name of its own', () => {
  const cases = [
    ...fs.readFileSync('test/agent/admin/conditions.test.ts', 'utf8').matchAll(/^condition\(\s*'([^']+)'/gm),
  ].map((m) => m[1]!)
  assert.deepEqual(cases.toSorted(), CONDITIONS.map((c) => c.name).toSorted())
})
