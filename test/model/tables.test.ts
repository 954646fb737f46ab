import { test } from 'node:test'
import assert from 'node:assert/strict'
import { RouteTable, withoutPort } from '../../model/tables.ts'
import { NO_HEADER_CHANGES } from '../../model/route.ts'

const table = (ignorePortInHost: boolean, ...hosts: string[][]): RouteTable =>
  new RouteTable({
    name: 't',
    ignorePortInHost,
    headers: NO_HEADER_CHANGES,
    virtualHosts: hosts.map((domains) => ({
      name: domains[0]!,
      domains,
      routes: [],
      retry: undefined,
      headers: NO_HEADER_CHANGES,
      includeAttemptCount: false,
    })),
  })

for (const { name, ignorePort, hosts, authority, want } of [
  {
    name: 'exact before wildcards',
    ignorePort: true,
    hosts: [['*'], ['*.shop'], ['a.shop']],
    authority: 'a.shop',
    want: 'a.shop',
  },
  { name: 'case does not count', ignorePort: true, hosts: [['a.shop']], authority: 'A.SHOP', want: 'a.shop' },
  {
    name: 'the longer suffix wins',
    ignorePort: true,
    hosts: [['*.shop'], ['*.eu.shop']],
    authority: 'a.eu.shop',
    want: '*.eu.shop',
  },
  {
    name: 'a suffix wildcard needs something before it',
    ignorePort: true,
    hosts: [['*.shop'], ['*']],
    authority: '.shop',
    want: '*',
  },
  { name: 'a prefix wildcard', ignorePort: true, hosts: [['api.*']], authority: 'api.example', want: 'api.*' },
  {
    name: 'port ignored where the table says so',
    ignorePort: true,
    hosts: [['a.shop']],
    authority: 'a.shop:8080',
    want: 'a.shop',
  },
  {
    name: 'port counts otherwise',
    ignorePort: false,
    hosts: [['a.shop:8080'], ['*']],
    authority: 'a.shop:9090',
    want: '*',
  },
  { name: 'IPv6 literal with port', ignorePort: true, hosts: [['[::1]']], authority: '[::1]:80', want: '[::1]' },
  {
    name: 'a domain with a port in a table that ignores ports is for that port',
    ignorePort: true,
    hosts: [['svc:8081'], ['svc:8082'], ['*']],
    authority: 'SVC:8082',
    want: 'svc:8082',
  },
  {
    name: 'another port is not for it',
    ignorePort: true,
    hosts: [['svc:8081'], ['svc', 'svc:80'], ['*']],
    authority: 'svc:8082',
    want: 'svc',
  },
  { name: 'no port is not for it either', ignorePort: true, hosts: [['svc:8081'], ['*']], authority: 'svc', want: '*' },
  {
    name: 'an IPv6 literal with its port',
    ignorePort: true,
    hosts: [['[::1]:81'], ['[::1]:82']],
    authority: '[::1]:82',
    want: '[::1]:82',
  },
  {
    name: 'a suffix wildcard with a port',
    ignorePort: true,
    hosts: [['*.shop:81'], ['*.shop:82'], ['*.shop']],
    authority: 'a.shop:82',
    want: '*.shop:82',
  },
  { name: 'nothing matches', ignorePort: true, hosts: [['a.shop']], authority: 'b.shop', want: undefined },
])
  test(`virtual host: ${name}`, () => assert.equal(table(ignorePort, ...hosts).virtualHost(authority)?.name, want))

test('withoutPort keeps IPv6 literals whole', () => {
  assert.deepEqual(['a:1', '[::1]:1', '[::1]', '::1', 'a'].map(withoutPort), ['a', '[::1]', '[::1]', '::1', 'a'])
})
