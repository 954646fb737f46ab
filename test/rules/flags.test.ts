/**
 * A literal boolean among other arguments says nothing to whoever reads the call, and of two boolean parameters nobody
 * remembers the order. Sources have neither.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { positionalBooleans, severalBooleans } from './checks/flags.ts'

const files = ['agent', 'control-sync', 'core', 'hub', 'model', 'proto', 'protocols', 'tools', 'demo']
  .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
  .filter((file) => !file.startsWith('proto/gen/'))

const found = new Map(
  files.map((file) => {
    const code = fs.readFileSync(file, 'utf8')
    return [file, [...positionalBooleans(code), ...severalBooleans(code)]] as const
  }),
)

for (const [code, expected] of [
  ['send(message, true)', ['send(message, true)']],
  ['this.#end(\n  undefined,\n  false,\n)', ['this.#end(undefined, false)']],
  ['new Step(true, () => shapeOf(a, b))', ['Step(true, () => shapeOf(a, b))']],
  ['a(`${b(1, true)}, false)`, `x ${c(`y`)}`, false)', ['b(1, true)', 'a(" b(1, true), " c(" ), false)']],
  ['a(/[(,]true/, false)', ['a(", false)']],
] as const)
  test(`the rule catches ${code.replaceAll(/\s+/g, ' ')}`, () => {
    assert.deepEqual(
      positionalBooleans(code).map((what) => what.replaceAll(/\s+/g, ' ')),
      expected,
    )
  })

test('the rule lets a boolean alone, a named one, one with a name in an object, and text pass', () => {
  for (const code of [
    'setEnabled(true)',
    'send(message, isLast)',
    'send(message, { retain: true })',
    "say('a, true', b)",
    '// f(a, true)\n/* g(b, false) */',
    'if (a === true) f(b, c)',
    'const [a, b] = [f(x), true]',
    'asn1.create(Class.UNIVERSAL, Type.SET, true, of)',
  ])
    assert.deepEqual(positionalBooleans(code), [], code)
})

test('several boolean parameters are caught, one is not', () => {
  const caught = (code: string): number => severalBooleans(code).length
  assert.equal(caught('function f(a: boolean, b = false): void {}'), 1)
  assert.equal(caught('onHead(fields: Fields, end: boolean, oversized: boolean): void'), 1)
  assert.equal(caught('type F = (a?: boolean, b?: boolean | undefined) => void'), 1)
  assert.equal(caught('function f(a: boolean, b: { c: boolean; d: boolean }, e: () => boolean): void {}'), 0)
})

test('no literal boolean stands among other arguments, and no parameter list has two booleans', () => {
  assert.deepEqual(
    [...found].flatMap(([file, all]) => all.map((w) => `${file}: ${w}`)),
    [],
  )
})
