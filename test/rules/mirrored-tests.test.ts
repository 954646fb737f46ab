/** A source of some size has a test at its mirrored path, so that whoever changes it knows what to run. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { NO_TEST_OF_ITS_OWN, STILL_MISSING } from './checks/untested.ts'

const FOLDERS = ['agent', 'control-sync', 'core', 'hub', 'model', 'protocols']
const MAX_LINES = 100

const mirrored = (source: string): string => `test/${source.replace(/\.ts$/, '.test.ts')}`
const isTested = (source: string): boolean =>
  fs.existsSync(mirrored(source)) && /^\s*(?:void |await )?test\w*\(/m.test(fs.readFileSync(mirrored(source), 'utf8'))

const large = FOLDERS.flatMap((dir) => fs.globSync(`${dir}/**/*.ts`)).filter((source) => {
  const text = fs.readFileSync(source, 'utf8')
  return text.split('\n').length - 1 > MAX_LINES && !isTypesOnly(text)
})
const untested = large.filter((source) => !isTested(source))
const excused = new Set([...STILL_MISSING, ...Object.keys(NO_TEST_OF_ITS_OWN)])

test(`a source above ${MAX_LINES} lines has a test at its mirrored path`, () => {
  assert.ok(large.length > 100, `only ${large.length} sources found: the walk is broken`)
  assert.deepEqual(
    untested.filter((source) => !excused.has(source)).map((source) => `${source} has no ${mirrored(source)}`),
    [],
  )
})

test('nothing is excused that has a test, or is short, or is gone', () => {
  assert.deepEqual(
    [...excused].filter((source) => !untested.includes(source)),
    [],
  )
})

test('a file of types alone is told from one with code', () => {
  assert.ok(
    isTypesOnly(`/** Why. */\nimport type { A } from './a.ts'\nexport type B = { a: A }\nexport interface C {}\n`),
  )
  assert.ok(!isTypesOnly(`export type B = string\nexport const isB = (b: B): boolean => b !== ''\n`))
})

/** Nothing is left of it that could go wrong when it runs. */
function isTypesOnly(source: string): boolean {
  return stripTypeScriptTypes(source).replace(/\/\*[^]*?\*\/|\/\/[^\n]*|import\b[^'"]*from '[^']*'|[\s;]/g, '') === ''
}
