/** Conditions about metadata: each kind of value, and what is not there. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { matchesMetadata, type Metadata, type ValueMatch } from '../../../model/http/metadata.ts'

const METADATA: Metadata = {
  f: { sub: 'alice', n: 2, flag: true, none: null, list: ['a', 'b'], deep: { er: 'down' } },
}
const exact = (value: string): ValueMatch => ({ kind: 'string', match: { kind: 'exact', value, ignoreCase: false } })

for (const [path, value, want] of [
  ['sub', exact('alice'), true],
  ['sub', exact('bob'), false],
  ['n', exact('2'), false],
  ['deep.er', exact('down'), true],
  ['deep.er.est', exact('down'), false],
  ['list', exact('a'), false],
  ['list', { kind: 'list', of: exact('b') }, true],
  ['list', { kind: 'list', of: exact('c') }, false],
  ['sub', { kind: 'list', of: exact('alice') }, false],
  ['list', { kind: 'or', of: [exact('b'), { kind: 'list', of: exact('b') }] }, true],
  ['n', { kind: 'exact-number', value: 2 }, true],
  ['n', { kind: 'number', start: 1, end: 2 }, false],
  ['n', { kind: 'number', start: 2, end: 3 }, true],
  ['flag', { kind: 'bool', value: true }, true],
  ['flag', { kind: 'bool', value: false }, false],
  ['none', { kind: 'null' }, true],
  ['gone', { kind: 'null' }, false],
  ['gone', { kind: 'present', value: true }, false],
  ['gone', { kind: 'present', value: false }, false],
  ['sub', { kind: 'present', value: false }, false],
  ['none', { kind: 'present', value: true }, true],
  ['toString', { kind: 'present', value: true }, false],
] as const)
  test(`${path} ${JSON.stringify(value)}: ${want}`, () => {
    const match = { filter: 'f', path: path.split('.'), value }
    assert.equal(matchesMetadata({ ...match, invert: false }, METADATA), want)
    assert.equal(matchesMetadata({ ...match, invert: true }, METADATA), !want)
  })

test('of another filter, and of none, there is nothing', () => {
  const match = { path: ['sub'], value: exact('alice'), invert: false }
  assert.equal(matchesMetadata({ ...match, filter: 'g' }, METADATA), false)
  assert.equal(matchesMetadata({ ...match, filter: 'f' }, undefined), false)
})
