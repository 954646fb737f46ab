import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  Field,
  FieldName,
  parseFieldName,
  findProblem,
  STATIC_ENTRIES,
} from '../../../../../protocols/http/codec/hpack/field.ts'

for (const { name, value, fault } of [
  { name: 'x-a', value: 'b', fault: undefined },
  { name: ':path', value: '/', fault: undefined },
  { name: 'x', value: '', fault: undefined },
  { name: 'x', value: 'a\tb \xff', fault: undefined },
  { name: 'X', value: 'b', fault: 'name' },
  { name: '', value: 'b', fault: 'name' },
  { name: ':', value: 'b', fault: 'name' },
  { name: 'a:b', value: 'b', fault: 'name' },
  { name: '::a', value: 'b', fault: 'name' },
  { name: 'a b', value: 'b', fault: 'name' },
  { name: 'x\xe9', value: 'b', fault: 'name' },
  { name: 'x', value: 'a\nb', fault: 'control character' },
  { name: 'x', value: 'a\x7fb', fault: 'control character' },
  { name: 'x', value: `${'a'.repeat(100)}\0`, fault: 'control character' },
  { name: 'x', value: `${'a'.repeat(100)}\x7f`, fault: 'control character' },
  { name: 'x', value: `${'a'.repeat(100)}\t\xff`, fault: undefined },
  { name: 'x', value: ' a', fault: 'whitespace' },
  { name: 'x', value: 'a\t', fault: 'whitespace' },
  { name: 'x', value: ' ', fault: 'whitespace' },
] as const)
  test(`${JSON.stringify(name)}: ${JSON.stringify(value).slice(0, 30)} (${value.length}) has ${fault ?? 'no fault'}`, () => {
    const field = new Field(parseFieldName(name), value)
    assert.equal(field.fault, fault)
    assert.equal(field.size, name.length + value.length + 32)
  })

test('what is wrong is said without the value, and with a short, harmless name', () => {
  const said = (name: string, value: string): string => findProblem(new Field(parseFieldName(name), value))
  assert.equal(said('x', 'secret\n'), 'a control character in the value of "x"')
  assert.equal(said('x', ' secret'), 'whitespace at an end of the value of "x"')
  assert.equal(said('', 'a'), 'a field without a name')
  assert.equal(said('A\x1b[31m', 'a'), 'the field name "A\\x1b[31m" is no lower-case token')
  assert.equal(said('A'.repeat(100), 'a'), `the field name "${'A'.repeat(64)}…" is no lower-case token`)
})
test('a name of the static table is one object, and a usual name the string of our sources', () => {
  assert.equal(parseFieldName(':method'), parseFieldName(':method'))
  assert.equal(STATIC_ENTRIES[2]!.nameOf, parseFieldName(':method'))
  assert.equal(STATIC_ENTRIES[0], undefined)
  assert.deepEqual([STATIC_ENTRIES[2]!.name, STATIC_ENTRIES[2]!.value], [':method', 'GET'])
  // Capital letters are another name, though the table of usual names takes them for the same.
  assert.equal(parseFieldName('Content-Type').text, 'Content-Type')
})
test('names whose values are secrets', () => {
  assert.deepEqual(
    ['authorization', 'cookie', 'x-user'].map((name) => new FieldName(name).isSecret),
    [true, true, false],
  )
})
