import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { NamedHost } from '../../../../model/tables.ts'
import { ReverseIndex } from '../../../../protocols/dns/names/reverse-index.ts'
import { encodeName } from '../../../../protocols/dns/codec/wire.ts'

const external = (...addresses: string[]): NamedHost => ({ addresses, service: undefined })
const service = (name: string, ...addresses: string[]): NamedHost => ({
  addresses,
  service: { name, namespace: 'shop' },
})
const text = (wire: Buffer): string => {
  const labels: string[] = []
  for (let at = 0; wire[at]! > 0; at += wire[at]! + 1) labels.push(wire.toString('latin1', at + 1, at + 1 + wire[at]!))
  return labels.join('.')
}
const find = (index: ReverseIndex, name: string): string | undefined => index.find(name)?.map(text).join(' ')

const index = new ReverseIndex(
  new Map([
    ['mysql.shop.svc.cluster.local', service('mysql', '10.0.0.1', '10.0.0.2')],
    ['mysql-0.mysql.shop.svc.cluster.local', service('mysql-0.mysql', '10.0.0.1')],
    ['z.mesh', external('10.0.0.3')],
    ['a.mesh', external('10.0.0.3')],
    ['db.shop.svc.cluster.local', service('db', '10.0.0.3')],
    ['*.wild.mesh', external('10.0.0.4')],
    ['v6.mesh', external('fd00::a', '::ffff:10.0.0.5')],
    [`${'x'.repeat(64)}.mesh`, external('10.0.0.6')],
    ['twice.mesh', external('10.0.0.7', '10.0.0.7')],
    ...Array.from({ length: 20 }, (_, i): [string, NamedHost] => [
      `n${String(i).padStart(2, '0')}.mesh`,
      external('10.0.0.8'),
    ]),
  ]),
)
for (const { name, ask, want } of [
  {
    name: 'a pod of a headless service before the service',
    ask: '1.0.0.10.in-addr.arpa',
    want: 'mysql-0.mysql.shop.svc.cluster.local mysql.shop.svc.cluster.local',
  },
  {
    name: 'the service where there is no name of the pod',
    ask: '2.0.0.10.in-addr.arpa',
    want: 'mysql.shop.svc.cluster.local',
  },
  {
    name: 'a service before others, which come in order',
    ask: '3.0.0.10.in-addr.arpa',
    want: 'db.shop.svc.cluster.local a.mesh z.mesh',
  },
  { name: 'a wildcard is no name', ask: '4.0.0.10.in-addr.arpa', want: undefined },
  { name: 'IPv6, nibble by nibble', ask: `a.${'0.'.repeat(27)}0.0.d.f.ip6.arpa`, want: 'v6.mesh' },
  { name: 'an IPv4 address written as IPv6', ask: '5.0.0.10.in-addr.arpa', want: 'v6.mesh' },
  { name: 'a name that no message can hold', ask: '6.0.0.10.in-addr.arpa', want: undefined },
  { name: 'the same address twice', ask: '7.0.0.10.in-addr.arpa', want: 'twice.mesh' },
  {
    name: 'eight names at most',
    ask: '8.0.0.10.in-addr.arpa',
    want: Array.from({ length: 8 }, (_, i) => `n0${i}.mesh`).join(' '),
  },
  { name: 'leading zeros', ask: '01.0.0.10.in-addr.arpa', want: undefined },
  { name: 'no byte', ask: '256.0.0.10.in-addr.arpa', want: undefined },
  { name: 'a part of an address', ask: '0.0.10.in-addr.arpa', want: undefined },
  { name: 'more than an address', ask: '1.1.0.0.10.in-addr.arpa', want: undefined },
  { name: 'a part of an IPv6 address', ask: 'd.f.ip6.arpa', want: undefined },
  { name: 'the zone itself', ask: 'in-addr.arpa', want: undefined },
])
  test(`names of an address: ${name}`, () => {
    assert.equal(find(index, ask), want)
  })

test('what is no name has no wire form', () => {
  for (const name of ['', '.', 'a..b', 'a.', `${'x'.repeat(64)}.a`, 'a b', 'ä.b', `${'a.'.repeat(127)}b`])
    assert.equal(encodeName(name), undefined, JSON.stringify(name))
  assert.equal(encodeName(`${'a.'.repeat(126)}b`)?.length, 255)
})
