import { test } from 'node:test'
import assert from 'node:assert/strict'
import { compileRegex, type SafeRegex } from '../../core/regex.ts'
import {
  toAsciiLowerCase,
  asText,
  matchesHeader,
  matchesString,
  type HeaderMatch,
  type StringMatch,
} from '../../model/matcher.ts'

const string = (
  kind: 'exact' | 'prefix' | 'suffix' | 'contains',
  value: string,
  ignoreCase = false,
): HeaderMatch['test'] => ({ kind: 'string', match: { kind, value, ignoreCase } })
const regex = (source: string): HeaderMatch['test'] => ({
  kind: 'string',
  match: { kind: 'regex', regex: compileRegex(source) as SafeRegex },
})
const range: HeaderMatch['test'] = { kind: 'range', start: 1n, end: 2n }

/** What Envoy 1.40.0 answered, for DENY, ALLOW and a route's own match alike. `-` = does not match. */
const INPUTS = [undefined, '1', '2', ['1', '2'], ['2', '1'], ['1', '1'], '1,2', ['', '1'], ['2', '3']]
for (const { name, test: by, invert = false, want } of [
  { name: 'exact', test: string('exact', '1'), want: '-x-xxx-x-' },
  { name: 'exact, inverted', test: string('exact', '1'), invert: true, want: '--x---x-x' },
  { name: 'prefix', test: string('prefix', '1'), want: '-x-xxxxx-' },
  { name: 'suffix', test: string('suffix', '1'), want: '-x-xxx-x-' },
  { name: 'contains a comma', test: string('contains', ','), want: '------x--' },
  { name: 'contains, inverted', test: string('contains', '1'), invert: true, want: '--x-----x' },
  { name: 'regex', test: regex('1'), want: '-x-xxx-x-' },
  { name: 'regex over what joined lines would be', test: regex('1,2'), want: '------x--' },
  { name: 'present', test: { kind: 'present' }, want: '-xxxxxxxx' },
  { name: 'present, inverted', test: { kind: 'present' }, invert: true, want: 'x--------' },
  { name: 'range', test: range, want: '-x-xxx-x-' },
  { name: 'range, inverted', test: range, invert: true, want: '--x---x-x' },
] satisfies { name: string; test: HeaderMatch['test']; invert?: boolean; want: string }[]) {
  test(`a header of several lines is asked line by line, as Envoy 1.40 does: ${name}`, () => {
    const match: HeaderMatch = { name: 'x', test: by, invert, missingAsEmpty: false }
    assert.equal(INPUTS.map((values) => (matchesHeader(match, values) ? 'x' : '-')).join(''), want)
  })
}

const received = (text: string): string => Buffer.from(text).toString('latin1')
for (const { name, match, text, want } of [
  { name: 'exact', match: { kind: 'exact', value: 'jürgen', ignoreCase: false }, text: received('jürgen'), want: true },
  {
    name: 'Latin-1 is no UTF-8',
    match: { kind: 'exact', value: 'jürgen', ignoreCase: false },
    text: 'j\xfcrgen',
    want: false,
  },
  {
    name: 'contains beyond the basic plane',
    match: { kind: 'contains', value: '🚪', ignoreCase: false },
    text: received('a🚪b'),
    want: true,
  },
  {
    name: 'one character of a regex is one character',
    match: { kind: 'regex', regex: compileRegex('j.rgen') as SafeRegex },
    text: received('jürgen'),
    want: true,
  },
  {
    name: 'ignoring case is about A to Z (Envoy)',
    match: { kind: 'exact', value: 'JÜRGEN', ignoreCase: true },
    text: received('jürgen'),
    want: false,
  },
  {
    name: 'ignoring case beside other characters',
    match: { kind: 'prefix', value: 'STRAßE-A', ignoreCase: true },
    text: received('straße-a1'),
    want: true,
  },
  {
    name: 'the Kelvin sign is no k',
    match: { kind: 'exact', value: 'k', ignoreCase: true },
    text: received('\u212a'),
    want: false,
  },
] satisfies { name: string; match: StringMatch; text: string; want: boolean }[]) {
  test(`received bytes against configured text: ${name}`, () => assert.equal(matchesString(match, asText(text)), want))
}
test('asciiLowerCase leaves everything but A to Z', () => assert.equal(toAsciiLowerCase('ÄBC\u212aZ'), 'Äbc\u212az'))

test('treat_missing_header_as_empty: then it is there, for tests of presence, too (Envoy 1.40)', () => {
  for (const kind of ['present', 'absent'] as const)
    for (const invert of [false, true]) {
      assert.equal(
        matchesHeader({ name: 'x', test: { kind }, invert, missingAsEmpty: true }, undefined),
        (kind === 'present') !== invert,
        `${kind}, ${invert}`,
      )
    }
})

test('a range: zeros in front are no way around it, and every int64 is a number', () => {
  const within = (value: string): boolean =>
    matchesHeader(
      {
        name: 'x',
        test: { kind: 'range', start: 1_000n, end: 9_223_372_036_854_775_807n },
        invert: false,
        missingAsEmpty: false,
      },
      value,
    )
  assert.deepEqual(['1000', `${'0'.repeat(30)}1000`, '+1000', '9223372036854775806'].map(within), [
    true,
    true,
    true,
    true,
  ])
  assert.deepEqual(['999', '-1000', '9223372036854775808', '9'.repeat(20), '1000x', '', '0'.repeat(40)].map(within), [
    false,
    false,
    false,
    false,
    false,
    false,
    false,
  ])
})
