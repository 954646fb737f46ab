import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../../../core/errors.ts'
import { FIELDS } from '../../../hub/reports/fields.ts'
import type { FleetRow } from '../../../hub/reports/fleet-row.ts'
import { parseQuestion } from '../../../hub/reports/where.ts'
import { NOW_MS, row } from './rows.ts'

const asks = (text: string, over: Partial<FleetRow> = {}): boolean => parseQuestion(text, NOW_MS)(row(over))
function refusal(text: string): string {
  try {
    parseQuestion(text, NOW_MS)
  } catch (thrown) {
    assert.ok(thrown instanceof MeshError, String(thrown))
    assert.equal(thrown.code, 'MESH_CONFIG_INVALID')
    return thrown.message
  }
  return 'taken'
}

const ANSWERS: readonly (readonly [question: string, over: Partial<FleetRow>, answer: boolean])[] = [
  ['connected=false and seen<-10m', { connected: false, seen: NOW_MS - 601_000 }, true],
  ['connected=false and seen<-10m', { connected: false, seen: NOW_MS - 599_000 }, false],
  ['connected=false and seen<-10m', {}, false],
  ['connected=true', {}, true],
  ['connected=true', { connected: undefined }, false],
  ['connected!=true', { connected: undefined }, true],
  ['connected=none', { connected: undefined }, true],
  ['connected!=none', {}, true],
  ['ends<+3d', {}, true],
  ['ends<+3d', { certificateEnds: NOW_MS + 4 * 86_400_000 }, false],
  ['joined>2023-01-01', {}, true],
  ['joined>2023-11-14T22:13:20', { joined: NOW_MS - 600_001 }, false],
  ['requests>100k', {}, true],
  ['requests>=0.2M', {}, false],
  ['name=gw-1', {}, true],
  ["name='gw-1'", {}, true],
  ['name = "it\'s"', { name: "it's" }, true],
  ['name~gw-*', {}, true],
  ['name~"g?-1"', {}, true],
  ['name~g*w*2', {}, false],
  ['name~**', {}, true],
  ['name~*w-', {}, false],
  ['label.site=north', { labels: { site: 'north' } }, true],
  ['label.site=north', { labels: {} }, false],
  ['label.site!=north', { labels: {} }, true],
  ['label.constructor=none', {}, true],
  ['problem=MESH_STORAGE_FULL', { problem: ['MESH_CLOCK_WRONG', 'MESH_STORAGE_FULL'] }, true],
  ['problem!=MESH_STORAGE_FULL', { problem: ['MESH_CLOCK_WRONG', 'MESH_STORAGE_FULL'] }, false],
  ['problem=none', {}, true],
  ['not connected=true or (problems>0 and ready=true)', { problems: 1 }, true],
  ['not (connected=true or problems>0)', {}, false],
  ['name=and', { name: 'and' }, true],
  ['name=a or name=gw-1 and connected=false', {}, false],
  ['rtt>100', { rttMs: undefined }, false],
]
for (const [question, over, answer] of ANSWERS)
  test(`${question} is ${answer} for ${JSON.stringify(over, (_k, v: unknown) => v ?? 'none')}`, () => {
    assert.equal(asks(question, over), answer)
  })

const REFUSED: readonly (readonly [question: string, says: RegExp])[] = [
  ['', /column 1: expected a field/],
  ['nmae=x', /column 1: there is no field "nmae"/],
  ['connected=maybe', /column 11: expected true or false/],
  ['connected<true', /column 10: true and false are compared/],
  ['seen<yesterday', /column 6: expected a time/],
  ['seen<2023-99-99', /column 6: expected a time/],
  ['spool>lots', /column 7: expected a number/],
  ['spool~1*', /column 6: patterns are for texts/],
  ['name=x name=y', /column 8: expected "and", "or" or the end/],
  ['(name=x', /column 8: expected "\)" for the "\(" at column 1/],
  ['name=x)', /column 7: expected "and"/],
  ["name='x", /column 6: a text without its end/],
  ['name', /column 5: expected one of/],
  ['name==x', /column 6: expected a value/],
  ['name=x and', /column 11: expected a field/],
  ['name!x', /column 5: this is nothing that is known/],
  ['rtt<none', /column 4: none is compared/],
  ['label.=x', /there is no field "label\."/],
  ['\u001b[2J=1', /there is no field "\\u001b\[2J"/],
  ['('.repeat(100), /more than 64 levels/],
  ['not '.repeat(100), /more than 64 levels/],
  ['x'.repeat(5_000), /more than 4096 characters/],
]
for (const [question, says] of REFUSED)
  test(`${JSON.stringify(question.slice(0, 40))} is refused with the place`, () => {
    assert.match(refusal(question), says)
  })

test('whatever is asked is answered or refused, in bounded time, and changes nothing', () => {
  const words = fc.constantFrom(
    ...FIELDS.keys(),
    'and',
    'or',
    'not',
    '(',
    ')',
    '=',
    '!=',
    '~',
    '<',
    "'",
    '-1h',
    'none',
    '; DROP TABLE devices',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(words, fc.string({ maxLength: 12 })), { maxLength: 30 }), (parts) => {
      const before = JSON.stringify(row())
      const text = parts.join(' ')
      if (refusal(text) === 'taken') assert.equal(typeof asks(text), 'boolean')
      assert.equal(JSON.stringify(row()), before)
    }),
  )
})

test('a quoted value is compared as it is, whatever stands in it', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 40 }).filter((s) => !s.includes("'")),
      (name) => {
        assert.equal(asks(`name='${name}'`, { name }), true)
        assert.equal(asks(`name='${name}'`, { name: `${name}x` }), false)
      },
    ),
  )
})

test('patterns say what a regular expression would', () => {
  const char = fc.constantFrom('a', 'b', '*', '?')
  fc.assert(
    fc.property(
      fc.string({ unit: char, maxLength: 8 }),
      fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 }),
      (pattern, name) => {
        const regex = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`)
        assert.equal(asks(`name~'${pattern}'`, { name }), regex.test(name), `${pattern} on ${name}`)
      },
    ),
  )
})
