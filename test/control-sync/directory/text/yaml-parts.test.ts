import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parse, stringify } from 'yaml'
import { readText } from '../../../../control-sync/directory/text/read-text.ts'
import { YamlParts } from '../../../../control-sync/directory/text/yaml-parts.ts'

const PADDING = '# '.padEnd(40_000, 'x')
const jsonOf = (text: string): unknown => {
  const parts = YamlParts.of(text)
  assert.ok(parts, 'can be cut')
  return parts.root.json
}

test('a large text in parts is what it is as a whole', () => {
  const long = 'y'.repeat(9_000)
  for (const value of [
    {
      resources: Array.from({ length: 3_000 }, (_, i) => ({
        '@type': 'T',
        name: `n${i}`,
        list: [1, [2, { x: null }]],
        text: 'a: b # no comment\n- no item\n',
      })),
    },
    [
      {
        name: 'r',
        hosts: [
          { name: 'v', routes: Array.from({ length: 4_000 }, (_, i) => ({ match: { prefix: `/${i}` } })) },
          { name: 'w', routes: [] },
        ],
      },
    ],
    Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`k${i}`, { a: '', 'b c': "it's", d: [true, 1.5] }])),
    [long, [long, long], { a: long, b: { c: long, d: [long] } }],
  ])
    for (const indentSeq of [true, false]) {
      const text = stringify(value, { indentSeq, lineWidth: 80, aliasDuplicateObjects: false })
      assert.deepEqual(jsonOf(text), parse(text))
      assert.deepEqual(jsonOf(`# first\n\n${text.replaceAll('\n', '\r\n')}`), parse(text))
    }
})
test('whatever can be cut means the same as a whole, for any value and for comments and blank lines between', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.boolean(), (value, indentSeq) => {
      const text = `${stringify({ a: [value, { b: value }], c: value }, { indentSeq, aliasDuplicateObjects: false })}\n${PADDING}\n`
      const parts = YamlParts.of(text)
      if (parts) assert.deepEqual(parts.root.json, parse(text))
    }),
    { numRuns: 300 },
  )
})
for (const { name, text } of [
  { name: 'an anchor and its alias', text: 'a: &x {b: 1}\nc: *x\n' },
  { name: 'two documents', text: 'a: 1\n---\nb: 2\n' },
  { name: 'a key twice', text: 'a: 1\na: 2\n' },
  { name: 'a flow collection that ends at its key', text: 'a: {\n b: 1\n}\n' },
  { name: 'a mapping with an item beside its keys', text: '- a\nb: 1\n' },
  { name: 'less indentation than the first line', text: '  a: 1\nb: 2\n' },
  { name: 'a quote without an end', text: 'a: "x\nb: 1\n' },
])
  test(`left to the parser as a whole: ${name}`, () => assert.equal(YamlParts.of(`${text}${PADDING}\n`), undefined))

test('the line of anything in it is found, as in a small text', () => {
  const routes = Array.from(
    { length: 3_000 },
    (_, i) => `    - match: {prefix: /${i}}\n      route:\n        cluster: c${i}\n`,
  ).join('')
  const text = `resources:\n- name: a\n  x: 1\n- name: r\n  # about hosts\n  hosts:\n  - name: v\n    routes:\n${routes}  - name: w\n    last: 1\n`
  assert.ok(text.length > 128 * 1024)
  const read = readText('f.yaml', text)
  assert.ok(read.ok)
  const lineWith = (what: string): number => text.slice(0, text.indexOf(what)).split('\n').length
  for (const [path, field, line] of [
    [['resources', 0], '', 2],
    [['resources', 0], 'x', 3],
    [['resources', 1], '', 4],
    [['resources', 1], 'hosts[0].routes[1234].route.cluster', lineWith('cluster: c1234')],
    [['resources', 1], 'hosts[0].routes[2999].match.prefix', lineWith('/2999')],
    [['resources', 1], 'hosts[1].last', lineWith('last: 1')],
    [['resources', 1], 'hosts[0].name', lineWith('name: v')],
  ] as const)
    assert.equal(read.lineOf(path, field), line, `${path.join('/')} ${field}`)
})
