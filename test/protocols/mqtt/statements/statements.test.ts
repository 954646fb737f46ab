/** The statement tables of MQTT 5.0, 3.1.1 and 3.1: hex in, packets out. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { STATEMENTS } from './ids.ts'
import { writeConformancePage } from './page.ts'
import { play } from './run.ts'
import { CASES, nameOf, STANDARDS, UNSEEN } from './table.ts'

const titles = new Map(STANDARDS.map(([standard, title]) => [standard, title]))
for (const { standard, ids, row, v } of CASES)
  test(`MQTT ${titles.get(standard)} [${ids.map((id) => nameOf(standard, id)).join(', ')}] ${row.role}: ${row.title}`, () =>
    play(row, v))

test('5.0 has 251 statements and 3.1.1 has 141, each once', () => {
  for (const [standard, count] of [
    ['v5', 251],
    ['v3', 141],
  ] as const) {
    assert.equal(STATEMENTS[standard].length, count)
    assert.equal(new Set(STATEMENTS[standard]).size, count)
  }
})
for (const standard of ['v5', 'v3'] as const)
  test(`each statement of ${titles.get(standard)} has a row, or a reason why it has none, and no others are named`, () => {
    const shown = new Set(CASES.filter((one) => one.standard === standard).flatMap(({ ids }) => ids))
    const unseen = UNSEEN.flatMap(({ ids }) => ids[standard]?.split(' ') ?? [])
    assert.deepEqual(
      STATEMENTS[standard].filter((id) => !shown.has(id) && !unseen.includes(id)),
      [],
      'without a row',
    )
    assert.deepEqual(
      [...shown, ...unseen].filter((id) => !STATEMENTS[standard].includes(id)),
      [],
      'no such statement',
    )
    assert.deepEqual(
      unseen.filter((id, i) => shown.has(id) || unseen.indexOf(id) !== i),
      [],
      'with a row, or twice',
    )
  })
test('docs/mqtt-conformance.md is what the table says (npm run docs writes it)', () =>
  assert.equal(fs.readFileSync('docs/mqtt-conformance.md', 'utf8'), writeConformancePage()))
test('no two rows of a standard have one name', () => {
  const names = CASES.map(({ standard, row }) => `${standard} ${row.role} ${row.ids[standard]} ${row.title}`)
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  )
})
