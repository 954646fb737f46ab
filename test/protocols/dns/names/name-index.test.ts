import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { NamedHost, Names } from '../../../../model/tables.ts'
import { NameIndex } from '../../../../protocols/dns/names/name-index.ts'

const external = (...addresses: string[]): NamedHost => ({ addresses, service: undefined })
const service = (name: string, namespace: string, ...addresses: string[]): NamedHost => ({
  addresses,
  service: { name, namespace },
})

/** The table and most cases are those of Istio's pkg/dns/client/dns_test.go. */
const names: Names = new Map([
  ['www.google.com', external('1.1.1.1')],
  ['productpage.ns1.svc.cluster.local', service('productpage', 'ns1', '9.9.9.9')],
  ['example.ns2.svc.cluster.local', service('example', 'ns2', '10.10.10.10')],
  ['details.ns2.svc.cluster.remote', service('details', 'ns2', '11.11.11.11', '12.12.12.12')],
  ['ipv6.localhost', external('2001:db8::ff00:42:8329')],
  ['*.b.wildcard', external('11.11.11.11')],
  ['*.wildcard', external('10.10.10.10')],
  ['*.svc.mesh.company.net', external('10.1.2.3')],
  ['mysql-0.mysql.ns1.svc.cluster.local', service('mysql-0.mysql', 'ns1', '10.0.0.7')],
  ['gone.ns1.svc.cluster.local', service('gone', 'ns1')],
  ['short.example.ns2', external('3.3.3.3')],
])
const index = new NameIndex(names, {
  namespace: 'ns1',
  domain: 'svc.cluster.local',
  search: ['ns1.svc.cluster.local', 'svc.cluster.local', 'lan'],
})

for (const { name, ask, want } of [
  { name: 'a host of another registry', ask: 'www.google.com', want: '1.1.1.1' },
  {
    name: 'the same behind a search domain: an alias',
    ask: 'www.google.com.ns1.svc.cluster.local',
    want: '1.1.1.1 as www.google.com',
  },
  {
    name: 'behind a search domain that is not the first',
    ask: 'www.google.com.lan',
    want: '1.1.1.1 as www.google.com',
  },
  { name: "a host that is not the mesh's", ask: 'www.bing.com', want: undefined },
  { name: 'a service in full', ask: 'productpage.ns1.svc.cluster.local', want: '9.9.9.9' },
  { name: 'a service, name.namespace', ask: 'productpage.ns1', want: '9.9.9.9' },
  { name: 'a service of the own namespace by its name alone', ask: 'productpage', want: '9.9.9.9' },
  {
    name: "the same behind the domain of this machine's network",
    ask: 'productpage.lan',
    want: '9.9.9.9 as productpage',
  },
  {
    name: 'name.namespace behind a search domain',
    ask: 'productpage.ns1.ns1.svc.cluster.local',
    want: '9.9.9.9 as productpage.ns1',
  },
  { name: 'a service of another namespace', ask: 'example.ns2', want: '10.10.10.10' },
  { name: 'a service of another namespace, name.namespace.svc', ask: 'example.ns2.svc', want: '10.10.10.10' },
  { name: 'a service of another namespace by its name alone', ask: 'example', want: undefined },
  {
    name: "a service of another cluster's domain, in full",
    ask: 'details.ns2.svc.cluster.remote',
    want: '11.11.11.11,12.12.12.12',
  },
  { name: "a service of another cluster's domain has no short names", ask: 'details.ns2', want: undefined },
  { name: 'one pod of a headless service', ask: 'mysql-0.mysql', want: '10.0.0.7' },
  { name: 'a wildcard', ask: 'foo.wildcard', want: '10.10.10.10' },
  { name: 'the longer wildcard wins', ask: 'a.b.wildcard', want: '11.11.11.11' },
  { name: 'a wildcard covers more than one label', ask: 'foo.foons.svc.mesh.company.net', want: '10.1.2.3' },
  { name: 'a wildcard does not cover its own domain', ask: 'svc.mesh.company.net', want: undefined },
  {
    name: 'a wildcard behind a search domain: the alias is the name, not the wildcard',
    ask: 'foo.svc.mesh.company.net.ns1.svc.cluster.local',
    want: '10.1.2.3 as foo.svc.mesh.company.net',
  },
  { name: "a service without addresses is not the mesh's", ask: 'gone', want: undefined },
  { name: 'a search domain alone', ask: 'lan', want: undefined },
  { name: 'what only ends in the letters of a search domain', ask: 'productpage-lan', want: undefined },
  { name: 'the root', ask: '', want: undefined },
])
  test(`names: ${name}`, () => {
    const found = index.find(ask)
    assert.equal(
      found && `${found.host.addresses.join()}${found.alias === undefined ? '' : ` as ${found.alias}`}`,
      want,
    )
  })

test('names: a name that the table has in full is never a short name of another', () => {
  const own = new NameIndex(
    new Map([
      ['db.ns1', external('1.1.1.1')],
      ['db.ns1.svc.cluster.local', service('db', 'ns1', '2.2.2.2')],
    ]),
    { namespace: 'ns1', domain: 'svc.cluster.local', search: [] },
  )
  assert.deepEqual(own.find('db.ns1')?.host.addresses, ['1.1.1.1'])
})
test('names: a name of 127 labels takes no longer than its length', () => {
  const wide = new NameIndex(names, {
    namespace: 'ns1',
    domain: 'svc.cluster.local',
    search: Array.from({ length: 8 }, (_, i) => `s${i}.example`),
  })
  assert.equal(wide.find(Array.from({ length: 127 }, () => 'a').join('.')), undefined)
})
