import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonValue } from '@bufbuild/protobuf'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import {
  decodeHeaderMatch,
  decodeHeaderMatches,
  queryMatch,
  decodeStringMatch,
} from '../../../../control-sync/decode/fields/matchers.ts'
import {
  HeaderMatcherSchema,
  QueryParameterMatcherSchema,
} from '../../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { StringMatcherSchema } from '../../../../proto/gen/envoy/type/matcher/v3/string_pb.ts'

const string = (json: JsonValue) => {
  const at = DecodePath.top()
  return {
    match: decodeStringMatch(at.in('m'), fromJson(StringMatcherSchema, json)),
    issues: at.issues.map((i) => `${i.path}: ${i.problem}`),
  }
}
const header = (json: JsonValue) => {
  const at = DecodePath.top()
  return {
    match: decodeHeaderMatch(at.in('h'), fromJson(HeaderMatcherSchema, json)),
    issues: at.issues.map((i) => `${i.path}: ${i.problem}`),
  }
}
const query = (json: JsonValue) => {
  const at = DecodePath.top()
  return {
    match: queryMatch(at.in('q'), fromJson(QueryParameterMatcherSchema, json)),
    issues: at.issues.map((i) => `${i.path}: ${i.problem}`),
  }
}

for (const kind of ['exact', 'prefix', 'suffix', 'contains'] as const)
  test(`a string by ${kind}, in either case where it says so`, () => {
    assert.deepEqual(string({ [kind]: 'Ab', ignoreCase: true }), {
      match: { kind, value: 'Ab', ignoreCase: true },
      issues: [],
    })
    assert.deepEqual(string({ [kind]: 'Ab' }).match, { kind, value: 'Ab', ignoreCase: false })
  })
test('an empty exact string is one, an empty part would match everything', () => {
  assert.deepEqual(string({ exact: '' }).match, { kind: 'exact', value: '', ignoreCase: false })
  for (const kind of ['prefix', 'suffix', 'contains'])
    assert.deepEqual(string({ [kind]: '' }), { match: undefined, issues: [`m.${kind}: must not be empty`] })
})
test('a regular expression is RE2, and not empty', () => {
  const { match } = string({ safeRegex: { regex: 'a+' } })
  assert.ok(match?.kind === 'regex')
  assert.match(string({ safeRegex: { regex: 'a(?=b)' } }).issues.join(), /^m\.safe_regex\.regex: /)
  assert.deepEqual(string({ safeRegex: {} }).issues, ['m.safe_regex.regex: must not be empty'])
})
test('a matcher without a pattern matches nothing, and is told', () => {
  assert.deepEqual(string({}), { match: undefined, issues: ['m: has no pattern that meshlet knows'] })
})

for (const { name, json, test: want } of [
  {
    name: 'string_match',
    json: { stringMatch: { prefix: 'a' } },
    test: { kind: 'string', match: { kind: 'prefix', value: 'a', ignoreCase: false } },
  },
  { name: 'present', json: { presentMatch: true }, test: { kind: 'present' } },
  { name: 'absent', json: { presentMatch: false }, test: { kind: 'absent' } },
  { name: 'nothing but a name', json: {}, test: { kind: 'present' } },
  { name: 'range', json: { rangeMatch: { start: '-5', end: '9' } }, test: { kind: 'range', start: -5n, end: 9n } },
  {
    name: 'the older exact_match',
    json: { exactMatch: 'a' },
    test: { kind: 'string', match: { kind: 'exact', value: 'a', ignoreCase: false } },
  },
  {
    name: 'the older suffix_match',
    json: { suffixMatch: 'a' },
    test: { kind: 'string', match: { kind: 'suffix', value: 'a', ignoreCase: false } },
  },
])
  test(`a header: ${name}`, () => {
    assert.deepEqual(header({ name: 'X-A', ...json }), {
      match: { name: 'x-a', test: want, invert: false, missingAsEmpty: false },
      issues: [],
    })
  })
test('a header can be inverted, and a missing one taken for an empty one', () => {
  const { match } = header({ name: 'a', exactMatch: '', invertMatch: true, treatMissingHeaderAsEmpty: true })
  assert.deepEqual([match?.invert, match?.missingAsEmpty], [true, true])
})
test('of several headers one that cannot be used is named by its place', () => {
  const at = DecodePath.top()
  const all = [{ name: 'a' }, { presentMatch: true }, { name: 'c', prefixMatch: '' }]
  const made = decodeHeaderMatches(
    at.in('headers'),
    all.map((json) => fromJson(HeaderMatcherSchema, json)),
  )
  assert.deepEqual(
    made.map((m) => m.name),
    ['a'],
  )
  assert.deepEqual(
    at.issues.map((i) => i.path),
    ['headers[1].name', 'headers[2].prefix'],
  )
})
test('query parameters: by a string, or that one is there or not', () => {
  assert.deepEqual(query({ name: 'q', stringMatch: { exact: '1' } }).match?.test.kind, 'string')
  assert.deepEqual(query({ name: 'q', presentMatch: true }).match, { name: 'q', test: { kind: 'present' } })
  assert.deepEqual(query({ name: 'q', presentMatch: false }).match, { name: 'q', test: { kind: 'absent' } })
})
