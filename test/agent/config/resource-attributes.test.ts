import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readResourceAttributes } from '../../../agent/config/resource-attributes.ts'

for (const [text, want] of [
  [undefined, []],
  ['', []],
  ['a=b', [['a', 'b']]],
  [
    ' a = b%20c , d= ',
    [
      ['a', 'b c'],
      ['d', ''],
    ],
  ],
  ['a=b=c', [['a', 'b=c']]],
  ['a', []],
  ['=b', []],
  ['a=%ff', []],
  ['a=b,c', []],
] as const)
  test(`OTEL_RESOURCE_ATTRIBUTES: ${text}`, () =>
    assert.deepEqual(readResourceAttributes({ OTEL_RESOURCE_ATTRIBUTES: text }), want))
