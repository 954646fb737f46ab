import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { CONDITIONS } from '../../agent/admin/conditions.ts'
import { CATALOGUE } from '../../core/errors.ts'
import { writeErrorsPage, findMetricSources, writeMetricsPage, writeStatusPage } from '../../tools/reference-pages.ts'

const sources = ['agent', 'control-sync', 'protocols', 'hub', 'model', 'proto', 'core']
  .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
  .filter((f) => !f.startsWith('proto/gen/'))
const text = new Map(sources.map((f) => [f, fs.readFileSync(f, 'utf8')]))

test('docs/errors.md is what the catalogue says (npm run docs writes it)', () =>
  assert.equal(fs.readFileSync('docs/errors.md', 'utf8'), writeErrorsPage()))
test('docs/metrics.md is what the sources register (npm run docs writes it)', () =>
  assert.equal(fs.readFileSync('docs/metrics.md', 'utf8'), writeMetricsPage()))

test('every code of the catalogue is used somewhere', () => {
  const unused = Object.keys(CATALOGUE).filter(
    (code) => ![...text].some(([f, t]) => !f.startsWith('core/errors') && t.includes(`'${code}'`)),
  )
  assert.deepEqual(unused, [])
})
/** Names of Istio's API, no codes. */
const OF_ISTIO = new Set(['MESH_EXTERNAL', 'MESH_INTERNAL', 'MESH_ID'])
test('every code that the sources name is in the catalogue', () => {
  const named = new Set([...text.values()].flatMap((t) => [...t.matchAll(/'(MESH_[A-Z_0-9]+)'/g)].map((m) => m[1]!)))
  assert.deepEqual(
    [...named].filter((code) => !(code in CATALOGUE) && !OF_ISTIO.has(code)),
    [],
  )
})
test('a metric has one meaning: the same name is registered with the same help and kind everywhere', () => {
  const byName = Map.groupBy(findMetricSources(), (m) => m.name)
  const torn = [...byName]
    .filter(([, all]) => new Set(all.map((m) => `${m.kind} ${m.help}`)).size > 1)
    .map(([name, all]) => `${name}: ${all.map((m) => m.file).join(', ')}`)
  assert.deepEqual(torn, [])
})
test('counters end in _total and nothing else does', () => {
  assert.deepEqual(
    findMetricSources()
      .filter((m) => (m.kind === 'counter') !== m.name.endsWith('_total'))
      .map((m) => m.name),
    [],
  )
})
test('docs/status.md is what the table of conditions says (npm run docs writes it)', () =>
  assert.equal(fs.readFileSync('docs/status.md', 'utf8'), writeStatusPage()))
test('each condition has a test, and a name of its own', () => {
  const cases = [
    ...fs.readFileSync('test/agent/admin/conditions.test.ts', 'utf8').matchAll(/^condition\(\s*'([^']+)'/gm),
  ].map((m) => m[1]!)
  assert.deepEqual(cases.toSorted(), CONDITIONS.map((c) => c.name).toSorted())
})
