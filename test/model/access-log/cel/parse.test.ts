import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseCel } from '../../../../model/access-log/cel/parse.ts'

const one = { kind: 'value', value: 1 } as const
const plus = (left: object, right: object): object => ({ kind: 'operation', operator: '+', left, right })
const or = (left: object, right: object): object => ({ kind: 'operation', operator: '||', left, right })
const and = (left: object, right: object): object => ({ kind: 'operation', operator: '&&', left, right })
const times = (left: object, right: object): object => ({ kind: 'operation', operator: '*', left, right })

for (const [text, want] of [
  ['1', one],
  ['1u', one],
  ['0x10', { kind: 'value', value: 16 }],
  ['1.5e1', { kind: 'value', value: 15 }],
  ['1 + 1 + 1', plus(plus(one, one), one)],
  ['1 + 1 * 1', plus(one, times(one, one))],
  ['(1 + 1) * 1', times(plus(one, one), one)],
  ['1 || 1 && 1', or(one, and(one, one))],
  ['-1', { kind: 'negate', of: one }],
  ['[1, 1]', { kind: 'list', items: [one, one] }],
  ['[]', { kind: 'list', items: [] }],
  ['a.b[1]', { kind: 'index', of: { kind: 'field', of: { kind: 'name', name: 'a' }, name: 'b' }, key: one }],
  ['1 ? 1 : 1', { kind: 'choice', if: one, yes: one, no: one }],
  ['has(a.b)', { kind: 'has', of: { kind: 'field', of: { kind: 'name', name: 'a' }, name: 'b' } }],
  ["duration('1h2m3s4ms')", { kind: 'value', value: 3_723_004 }],
] as const)
  test(`parsed: ${text}`, () => {
    assert.deepEqual(parseCel(text), want)
  })
