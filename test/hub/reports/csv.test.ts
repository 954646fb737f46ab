import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatCsv } from '../../../hub/reports/csv.ts'

const cell = (text: string): string => formatCsv(['a'], [[text]]).split('\r\n')[1]!

test('what a spreadsheet would calculate is text', () => {
  for (const evil of ['=cmd|x', '+1+1', '-2+3', '@SUM(A1)', '  =1', '|calc', '%x'])
    assert.match(cell(evil), /^"'/, evil)
  assert.equal(cell('\t=1'), '\\u0009=1')
  assert.equal(cell('-12'), '-12')
  assert.equal(cell('3.5'), '3.5')
})

test('cells are quoted where they must be (RFC 4180), and hold no line breaks', () => {
  assert.equal(cell('a,b'), '"a,b"')
  assert.equal(cell('say "x"'), '"say ""x"""')
  assert.equal(cell('a\r\nb'), 'a\\u000d\\u000ab')
  assert.equal(cell('plain'), 'plain')
  assert.equal(formatCsv(['x', 'y'], [['1', '']]), 'x,y\r\n1,\r\n')
})
