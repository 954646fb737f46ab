import { test } from 'node:test'
import assert from 'node:assert/strict'
import { deriveSource } from '../../core/ip-source.ts'

test('a source is an IPv4 address or an IPv6 /64, however it is written', () => {
  assert.deepEqual(
    [
      '10.0.0.1',
      '::ffff:10.0.0.1',
      '2001:db8:0:1::5',
      '2001:db8:0:1:ffff::',
      '2001:DB8::1:0:0:0:7',
      '2001:db8:0:2::5',
      'fe80::1%eth0',
      '',
      'pipe',
    ].map(deriveSource),
    [
      '10.0.0.1',
      '10.0.0.1',
      '2001:db8:0:1::/64',
      '2001:db8:0:1::/64',
      '2001:db8:0:1::/64',
      '2001:db8:0:2::/64',
      'fe80:0:0:0::/64',
      '',
      'pipe',
    ],
  )
})
