import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseCidr, containsAddress } from '../../model/ip.ts'

for (const [range, bits, address, want] of [
  ['10.1.0.0', 16, '10.1.255.255', true],
  ['10.1.0.0', 16, '10.2.0.0', false],
  ['10.1.2.128', 25, '10.1.2.127', false],
  ['10.1.2.128', 25, '10.1.2.200', true],
  ['0.0.0.0', 0, '255.1.2.3', true],
  ['0.0.0.0', 0, '::1', false],
  ['10.0.0.1', 32, '::ffff:10.0.0.1', true],
  ['fd00::', 8, 'fdff::1', true],
  ['fd00::', 8, 'fe80::1', false],
  ['2001:db8::', 33, '2001:db8:8000::', false],
  ['64:ff9b::', 96, '64:ff9b::1.2.3.4', true],
] as const)
  test(`${address} in ${range}/${bits}: ${want}`, () =>
    assert.equal(containsAddress(parseCidr(range, bits)!, address), want))

test('what is no address or has an impossible prefix is no range', () => {
  for (const [a, b] of [
    ['10.0.0', 8],
    ['10.0.0.0', 33],
    ['::', 129],
    ['x', 1],
    ['10.0.0.0', -1],
  ] as const)
    assert.equal(parseCidr(a, b), undefined)
})
