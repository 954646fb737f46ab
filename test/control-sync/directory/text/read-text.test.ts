import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { findMistake } from '../../../../control-sync/directory/text/json-mistake.ts'
import { JsonPlaces } from '../../../../control-sync/directory/text/json-places.ts'
import { readText } from '../../../../control-sync/directory/text/read-text.ts'

const problemsOf = (file: string, text: string): string[] => {
  const read = readText(file, text)
  return read.ok ? [] : read.problems.map((p) => `${p.line} ${p.problem}`)
}

for (const { text, line } of [
  { text: '{\n"a": x}', line: 2 },
  { text: '[1,\n2,\n]', line: 3 },
  { text: '{"a": 1\n"b": 2}', line: 2 },
  { text: '{"a": [1,\n2', line: 2 },
  { text: '{}\n{}', line: 2 },
  { text: '{"a": "x\ny"}', line: 1 },
  { text: '[\n01]', line: 2 },
  { text: '', line: 1 },
  { text: '\n\n// no comment\n{}', line: 3 },
  { text: '["\\q"]', line: 1 },
  { text: '{"a":\n}', line: 2 },
  { text: '[1}', line: 1 },
])
  test(`JSON with a mistake is told with its line: ${JSON.stringify(text)}`, () =>
    assert.match(problemsOf('f.json', text).join(), new RegExp(`^${line} no JSON: `)))

test('to say the line of an item, nothing behind its list is read', (t) => {
  const { members } = JsonPlaces.prototype
  const passed: string[] = []
  t.mock.method(JsonPlaces.prototype, 'members', function* (this: JsonPlaces, offset: number) {
    for (const member of members.call(this, offset)) {
      passed.push(member.key)
      yield member
    }
  })
  const read = readText('f.json', '{"version_info": "1", "resources": [\n{},\n{}], "more": [1, 2, 3]}')
  assert.ok(read.ok)
  assert.deepEqual([read.lineOf(['resources', 0], ''), read.lineOf(['resources', 1], '')], [2, 3])
  assert.deepEqual(passed, ['version_info', 'resources', 'version_info', 'resources'])
})

test("the mistake's place is where JSON.parse would stop, for any text near JSON", () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), fc.constantFrom('', ',', '}', ']', '"', 'x', '0', ':'), (json, n, put) => {
      const at = json.length === 0 ? 0 : n % json.length
      const text = json.slice(0, at) + put + json.slice(at + 1)
      let isJson = true
      try {
        JSON.parse(text)
      } catch {
        isJson = false
      }
      const place = findMistake(text)
      // What comes before the mistake could still become JSON; the text as a whole is JSON when there is none but its
      // end.
      assert.equal(place >= text.length && isJson, isJson, `${text} at ${place}`)
    }),
    { numRuns: 2_000 },
  )
})

test('every value of a JSON text is found on its line, as in the same text as YAML', () => {
  const text = '{\n "a": [\n  {"b.c": 1},\n  {"someName":\n   {"x": "}],{\\""}}\n ],\n "m": {"k[0]": [[1,\n 2], 3]}\n}'
  for (const [path, field, line] of [
    [[], '', 1],
    [['a', 1], '', 4],
    [['a'], '[0].b.c', 3],
    [['a', 1], 'some_name.x', 5],
    [['m'], '[k[0]][0][1]', 8],
    [['m'], '[k[0]][9]', 7],
    [['nowhere', 3], 'x', 1],
  ] as const) {
    for (const file of ['f.json', 'f.yaml']) {
      const read = readText(file, text)
      assert.ok(read.ok)
      assert.equal(read.lineOf(path, field), line, `${file} ${path.join('/')} ${field}`)
    }
  }
})

test('aliases that make gigabytes of a few lines are refused, however they are built; honest ones are unfolded', () => {
  const wide = `a: &a "${'x'.repeat(5_000)}"\nb: [${Array.from({ length: 900 }, () => '*a').join(', ')}]\n`
  assert.match(problemsOf('f.yaml', wide).join(), /its aliases make more than 10 times of it/)
  assert.deepEqual(problemsOf('f.yaml', 'a: &a {x: 1}\nb: [*a, *a, *a]\n'), [])
})
test("nesting without an end is thrown as a RangeError, which a file's reader tells", () => {
  assert.throws(() => {
    const read = readText('f.yaml', '['.repeat(50_000))
    if (!read.ok) throw new RangeError(read.problems[0]!.problem)
  }, RangeError)
})
