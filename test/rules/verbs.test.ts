/** What a function is called says what it does: collectStatus, not statusOf. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { beginsWithVerb, findExportedFunctions, NAMED_BY_WHAT_THEY_BUILD } from './checks/verbs.ts'

const FOLDERS = ['agent', 'control-sync', 'core', 'demo', 'hub', 'model', 'proto', 'protocols', 'tools']
const files = FOLDERS.flatMap((dir) => fs.globSync(`${dir}/**/*.ts`)).filter((file) => !file.startsWith('proto/gen/'))
const others = files.flatMap((file) =>
  findExportedFunctions(fs.readFileSync(file, 'utf8'))
    .filter(({ name }) => !beginsWithVerb(name))
    .filter(
      ({ line }) => !NAMED_BY_WHAT_THEY_BUILD.some(({ place, like }) => file.startsWith(place) && like.test(line)),
    )
    .map(({ name }) => `${file} ${name}`),
)

test('an exported function begins with a verb', () => {
  assert.ok(files.length > 500, `only ${files.length} files found: the walk is broken`)
  assert.deepEqual(others, [])
})

test('exported functions are found, declared or assigned', () => {
  const source = [
    'export function readA(): void {}',
    'export async function* readB(): AsyncGenerator<void> {}',
    'export const readC = (a: (b: number) => void): void => {}',
    'export const readD: Reader = async ([first], second = f()) => {}',
    'export const readE = memoize((a: A) => new B(a))',
    'export const E = 1',
    'const hidden = () => 1',
    'function other() {}',
  ].join('\n')
  assert.deepEqual(
    findExportedFunctions(source).map(({ name }) => name),
    ['readA', 'readB', 'readC', 'readD', 'readE'],
  )
})

for (const [name, expected] of [
  ['collectStatus', true],
  ['covers', true],
  ['toText', true],
  ['statusOf', false],
  ['planOf', false],
  ['tokenSummary', false],
] as const)
  test(`${name} ${expected ? 'begins' : 'does not begin'} with a verb`, () => {
    assert.equal(beginsWithVerb(name), expected)
  })
