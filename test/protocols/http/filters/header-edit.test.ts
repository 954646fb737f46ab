import { test } from 'node:test'
import assert from 'node:assert/strict'
import { facts } from '../../../helpers/substitution-facts.ts'
import { removeHeader } from '../../../../protocols/http/codec/field-table.ts'
import { editHeaders, findHeaderValue, setHeader } from '../../../../protocols/http/filters/header-edit.ts'
import { compileRegex, type SafeRegex } from '../../../../core/regex.ts'
import type { HeaderAdd, HeaderEdit } from '../../../../model/route.ts'
import type { SubstitutionFacts } from '../../../../model/substitution.ts'

const edited = (
  headers: string[],
  remove: string[],
  ...add: [name: string, value: string, how: HeaderAdd['how']][]
): string[] => {
  const out = [...headers]
  editHeaders(out, [{ remove, add: add.map(([name, value, how]) => ({ name, value, how })) }], facts)
  return out
}

for (const { name, got, want } of [
  { name: 'remove takes every line', got: edited(['a', '1', 'b', '2', 'a', '3'], ['a']), want: ['b', '2'] },
  { name: 'append adds a line', got: edited(['a', '1'], [], ['a', '2', 'append']), want: ['a', '1', 'a', '2'] },
  {
    name: 'overwrite leaves one line',
    got: edited(['a', '1', 'b', '2', 'a', '3'], [], ['a', '4', 'overwrite']),
    want: ['b', '2', 'a', '4'],
  },
  {
    name: 'if-absent does nothing to what is there',
    got: edited(['a', '1'], [], ['a', '2', 'if-absent'], ['b', '3', 'if-absent']),
    want: ['a', '1', 'b', '3'],
  },
  {
    name: 'overwrite-present is for what is there',
    got: edited(['a', '1', 'a', '2'], [], ['a', '3', 'overwrite-present'], ['b', '3', 'overwrite-present']),
    want: ['a', '3'],
  },
  { name: 'removals come first', got: edited(['a', '1'], ['a'], ['a', '2', 'if-absent']), want: ['a', '2'] },
  { name: 'an empty value is left out', got: edited([], [], ['a', '%REQ(x-none)%', 'append']), want: [] },
  {
    name: 'values are substituted',
    got: edited([], [], ['a', 'x %REQ(x-a)% %PROTOCOL%', 'append']),
    want: ['a', 'x va HTTP/1.1'],
  },
  {
    name: 'framing, host and pseudo headers are out of reach',
    got: edited(
      ['host', 'h', 'content-length', '3'],
      ['host', 'content-length'],
      [':path', '/x', 'overwrite'],
      ['transfer-encoding', 'chunked', 'append'],
    ),
    want: ['host', 'h', 'content-length', '3'],
  },
  {
    name: 'additions of one list do not see each other',
    got: edited([], [], ['a', '1', 'append'], ['a', '2', 'if-absent'], ['a', '3', 'overwrite-present']),
    want: ['a', '1', 'a', '2'],
  },
  {
    name: 'what takes the place of others comes first',
    got: edited(['a', '1'], [], ['a', '2', 'append'], ['a', '3', 'overwrite']),
    want: ['a', '3', 'a', '2'],
  },
  { name: 'no line break gets into a value', got: edited([], [], ['a', 'x\r\nb: y', 'append']), want: [] },
])
  test(`editHeaders: ${name}`, () => assert.deepEqual(got, want))

test('an empty value is kept where it is to be (keep_empty_value)', () => {
  const headers: string[] = []
  editHeaders(
    headers,
    [{ remove: [], add: [{ name: 'a', value: '%REQ(x-none)%', how: 'append', keepEmpty: true }] }],
    facts,
  )
  assert.deepEqual(headers, ['a', ''])
})
test('several edits apply in the order given', () => {
  const headers: string[] = []
  editHeaders(
    headers,
    [
      { remove: [], add: [{ name: 'a', value: '1', how: 'append' }] },
      { remove: ['a'], add: [{ name: 'a', value: '2', how: 'append' }] },
    ],
    facts,
  )
  assert.deepEqual(headers, ['a', '2'])
})
test('headerValue joins lines with a comma', () => {
  assert.equal(findHeaderValue(['a', '1', 'b', '2', 'a', '3'], 'a'), '1,3')
  assert.equal(findHeaderValue(['a', '1'], 'b'), undefined)
})
test('setHeader and removeHeader work in place', () => {
  const headers = ['a', '1', 'b', '2']
  setHeader(headers, 'a', '3')
  removeHeader(headers, 'b')
  assert.deepEqual(headers, ['a', '3'])
})

test('remove_on_match removes each name that it matches, and nothing of the framing', () => {
  const headers = ['x-a', '1', 'y', '2', 'x-b', '3', 'x-a', '4', 'content-length', '0']
  const any: HeaderEdit = {
    remove: [],
    add: [],
    removeMatching: { kind: 'regex', regex: compileRegex('x-.*|content-.*') as SafeRegex },
  }
  editHeaders(headers, [any], {} as SubstitutionFacts)
  assert.deepEqual(headers, ['y', '2', 'content-length', '0'])
})
