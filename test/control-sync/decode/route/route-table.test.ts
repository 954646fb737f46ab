import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { RouteTable } from '../../../../model/tables.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import type { ReadFile } from '../../../../control-sync/decode/fields/decode-path.ts'
import {
  checkRouteTable,
  decodeRouteTable,
  type RouteTableCheck,
  type RouteTableCheckOptions,
} from '../../../../control-sync/decode/route/route-table.ts'
import { collectRouteReferences } from '../../../../control-sync/references.ts'
import { PackedResource } from '../../../../control-sync/snapshot/packed-resource.ts'
import { golden, GOLDEN, issuesOf, sample } from '../../../helpers/control-plane/resources.ts'

const tables = GOLDEN.flatMap((name) => golden(name).filter((s) => s.kind === 'route'))
const twoHosts = (second: object, first = ['A.example']): Uint8Array =>
  sample({
    '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
    name: 't',
    virtual_hosts: [
      { name: 'a', domains: first, routes: [{ match: { prefix: '/' }, route: { cluster: 'ca' } }] },
      { name: 'b', domains: ['b.example'], ...second },
    ],
  } as Parameters<typeof sample>[0]).bytes

const raw = (bytes: Uint8Array): PackedResource => new PackedResource({ name: 't', version: '', value: bytes })

type Checked = {
  readonly steps: number
  /** Names of those that were decoded. */
  readonly hosts: readonly string[]
  readonly result: RouteTableCheck['decoded']
  readonly check: RouteTableCheck
}
function check(bytes: Uint8Array, o: Pick<RouteTableCheckOptions, 'before'> & { readFile?: ReadFile } = {}): Checked {
  const hosts: string[] = []
  const run = checkRouteTable(raw(bytes), {
    readFile: undefined,
    ...o,
    clustersOf: (host) => {
      hosts.push(host.name)
      return collectRouteReferences([host])
    },
  })
  for (let steps = 0; ; steps++) {
    const { done, value } = run.next()
    if (done) return { steps, hosts, result: value.decoded, check: value }
  }
}

test('what istiod sent gives the same virtual hosts whether it is decoded as a whole or one by one', () => {
  assert.ok(tables.length >= 4)
  for (const { bytes, name } of tables) {
    const whole = decode('route', bytes)
    assert.ok(whole.ok)
    const eager = new RouteTable(whole.value)
    const lazy = decodeRouteTable(raw(bytes), undefined)!
    for (const host of whole.value.virtualHosts)
      for (const domain of host.domains)
        assert.deepEqual(lazy.virtualHost(domain), eager.virtualHost(domain), `${name} ${domain}`)
    assert.equal(lazy.config.ignorePortInHost, whole.value.ignorePortInHost)
    assert.deepEqual(lazy.config.headers, whole.value.headers)
    const { result, hosts, steps } = check(bytes)
    assert.ok(result.ok)
    assert.deepEqual(result.ignored.toSorted(), whole.ignored.toSorted())
    assert.deepEqual(
      hosts,
      whole.value.virtualHosts.map((h) => h.name),
    )
    assert.equal(steps, hosts.length, 'one step per host')
  }
})

test('a virtual host is the same object each time', () => {
  const table = decodeRouteTable(
    raw(twoHosts({ routes: [{ match: { prefix: '/' }, route: { cluster: 'cb' } }] })),
    undefined,
  )!
  assert.equal(table.virtualHost('a.example'), table.virtualHost('A.EXAMPLE'))
})

test('hosts are found as before once the bytes of their table are packed', () => {
  const whole = decode('route', tables[0]!.bytes)
  assert.ok(whole.ok)
  const [eager, kept] = [new RouteTable(whole.value), raw(tables[0]!.bytes)]
  const lazy = decodeRouteTable(kept, undefined)!
  PackedResource.pack([kept])
  for (const host of whole.value.virtualHosts)
    for (const domain of host.domains) assert.deepEqual(lazy.virtualHost(domain), eager.virtualHost(domain), domain)
})

test('domains of one hash are told apart, those of a host that is not there are found nowhere', () => {
  // Two pairs of words with equal FNV-1a; the second of the second pair is no domain here.
  const table = decodeRouteTable(
    raw(
      twoHosts({ domains: ['liquid', 'declinate'], routes: [{ match: { prefix: '/' }, route: { cluster: 'cb' } }] }, [
        'costarring',
      ]),
    ),
    undefined,
  )!
  assert.deepEqual(
    ['costarring', 'liquid', 'declinate', 'macallums'].map((d) => table.virtualHost(d)?.name),
    ['a', 'b', 'b', undefined],
  )
})

test('of two hosts with one domain the first has it', () => {
  const table = decodeRouteTable(
    raw(
      twoHosts({ domains: ['a.EXAMPLE', 'c.example'], routes: [{ match: { prefix: '/' }, route: { cluster: 'cb' } }] }),
    ),
    undefined,
  )!
  assert.deepEqual(
    ['a.example', 'c.example'].map((d) => table.virtualHost(d)?.name),
    ['a', 'b'],
  )
})
test('of two hosts with one domain, which Envoy refuses, is told, as when decoded as a whole', () => {
  const bytes = twoHosts({
    domains: ['c.example', 'a.EXAMPLE'],
    routes: [{ match: { prefix: '/' }, route: { cluster: 'cb' } }],
  })
  const [{ result }, whole] = [check(bytes), decode('route', bytes)]
  assert.ok(result.ok && whole.ok)
  assert.deepEqual(
    [result.ignored, whole.ignored],
    [
      ['virtual_hosts[1].domains[1] (a host before this one has it already)'],
      ['virtual_hosts[1].domains[1] (a host before this one has it already)'],
    ],
  )
})

test('a mistake in one virtual host is named with its place, as when decoded as a whole', () => {
  const bytes = twoHosts({
    routes: [
      { match: { prefix: '/' }, route: { cluster: 'cb' } },
      { match: {}, route: { cluster: 'cb' } },
    ],
  })
  const whole = decode('route', bytes)
  const { result } = check(bytes)
  assert.deepEqual(issuesOf(result), issuesOf(whole))
  assert.equal(issuesOf(result)[0]!.path, 'virtual_hosts[1].routes[1].match')
})

test('a virtual host with something that cannot be taken refuses everything, and its domains go nowhere else', () => {
  const table = decodeRouteTable(
    raw(
      twoHosts({
        domains: ['b.example', '*'],
        request_headers_to_remove: ['bad name'],
        routes: [{ match: { prefix: '/' }, route: { cluster: 'cb' } }],
      }),
    ),
    undefined,
  )!
  for (const host of ['b.example', 'c.example'])
    assert.deepEqual(
      table.virtualHost(host)?.routes.map((r) => [r.match.path.kind, r.action.kind]),
      [['any', 'blocked']],
    )
  assert.equal(table.virtualHost('a.example')?.name, 'a')
})

test('a mistake outside of the virtual hosts blocks the table', () => {
  const bytes = sample({
    '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
    name: 't',
    request_headers_to_add: [{ header: { key: 'bad name', value: 'x' } }],
  }).bytes
  const { result } = check(bytes)
  assert.deepEqual(
    issuesOf(result).map((i) => i.path),
    ['request_headers_to_add[0].header.key'],
  )
  assert.deepEqual(issuesOf(decode('route', bytes)), issuesOf(result))
  for (const table of [decodeRouteTable(raw(bytes), undefined), result.ok ? result.value : undefined])
    assert.deepEqual(
      table?.virtualHost('any.example')?.routes.map((r) => r.action.kind),
      ['blocked'],
    )
})

test('any bytes: no throw, no hang, and refused where decoding as a whole refuses', () => {
  const valid = tables[0]!.bytes
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(valid.length).map((n) => valid.subarray(0, n)),
        fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([i, b]) => {
          const c = Uint8Array.from(valid)
          c[i] = b
          return c
        }),
      ),
      (bytes) => {
        const { result } = check(bytes)
        const whole = decode('route', bytes)
        if (!whole.ok) assert.equal(result.ok, false)
        decodeRouteTable(raw(bytes), undefined)?.virtualHost('orders.shop')
      },
    ),
    { numRuns: 500 },
  )
})

test("a domain keeps its port, also in a table that ignores ports: svc:8082 is not svc:8081 (istiod's http_proxy table of a service with two ports)", () => {
  const host = (name: string, ...domains: string[]): object => ({
    name,
    domains,
    routes: [{ match: { prefix: '/' }, route: { cluster: name } }],
  })
  const bytes = sample(
    JSON.parse(
      JSON.stringify({
        '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
        name: 'http_proxy',
        ignore_port_in_host_matching: true,
        virtual_hosts: [
          host('svc:8081', 'svc.shop.svc.cluster.local:8081', 'svc:8081', '10.0.0.1:8081', '[fd00::1]:8081'),
          host('svc:8082', 'svc.shop.svc.cluster.local:8082', 'svc:8082', '10.0.0.1:8082', '[fd00::1]:8082'),
          host('web:80', 'web', 'web:80'),
          host('block_all', '*'),
        ],
      }),
    ) as Parameters<typeof sample>[0],
  ).bytes
  const checked = check(bytes).result
  for (const table of [decodeRouteTable(raw(bytes), undefined)!, checked.ok ? checked.value : assert.fail()]) {
    const found = [
      'svc:8081',
      'SVC:8082',
      'svc.shop.svc.cluster.local:8082',
      '10.0.0.1:8082',
      '[fd00::1]:8082',
      'svc',
      'svc:9',
      'web',
      'web:80',
      'web:81',
    ].map((a) => table.virtualHost(a)?.name)
    assert.deepEqual(found, [
      'svc:8081',
      'svc:8082',
      'svc:8082',
      'svc:8082',
      'svc:8082',
      'block_all',
      'block_all',
      'web:80',
      'web:80',
      'web:80',
    ])
  }
})

const host = (name: string, over: object = {}): object => ({
  name,
  domains: [`${name}.example`],
  routes: [{ match: { prefix: '/' }, route: { cluster: `c-${name}` } }],
  ...over,
})
const table = (hosts: readonly object[], over: object = {}): Uint8Array =>
  sample({
    '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
    name: 't',
    virtual_hosts: hosts,
    ...over,
  } as unknown as Parameters<typeof sample>[0]).bytes
const IGNORED = { require_tls: 9 }
const BLOCKED = { require_tls: 'ALL', routes: [{ match: {}, route: { cluster: 'x' } }] }
const FROM_FILE = { routes: [{ match: { prefix: '/' }, direct_response: { status: 200, body: { filename: 'f' } } }] }

for (const { name, before, after, outside, decoded } of [
  { name: 'one more at the end', before: ['a', 'b'], after: ['a', 'b', 'c'], decoded: ['c'] },
  { name: 'one more at the begin', before: ['a', 'b'], after: ['c', 'a', 'b'], decoded: ['c'] },
  { name: 'one less', before: ['a', 'b', 'c'], after: ['a', 'c'], decoded: [] },
  { name: 'one that changed', before: ['a', 'b'], after: ['a', { of: 'b', over: IGNORED }], decoded: ['b'] },
  {
    name: 'one with an ignored field',
    before: [{ of: 'a', over: IGNORED }, 'b'],
    after: ['b', { of: 'a', over: IGNORED }],
    decoded: ['a'],
  },
  {
    name: 'a blocked one',
    before: [{ of: 'a', over: BLOCKED }, 'c', 'b'],
    after: [{ of: 'a', over: BLOCKED }, 'b'],
    decoded: ['a'],
  },
  {
    name: 'one that reads a file',
    before: [{ of: 'a', over: FROM_FILE }, 'c', 'b'],
    after: [{ of: 'a', over: FROM_FILE }, 'b'],
    decoded: ['a'],
  },
  {
    name: 'another table around them',
    before: ['a'],
    after: ['a', 'b'],
    outside: { ignore_port_in_host_matching: true },
    decoded: ['a', 'b'],
  },
] satisfies readonly {
  name: string
  before: readonly (string | { of: string; over: object })[]
  after: readonly (string | { of: string; over: object })[]
  outside?: object
  decoded: readonly string[]
}[])
  test(`of a table that comes again, only what may say something new is decoded: ${name}`, () => {
    const made = (hosts: readonly (string | { of: string; over: object })[]): object[] =>
      hosts.map((h) => (typeof h === 'string' ? host(h) : host(h.of, h.over)))
    const readFile = (): string => 'text'
    const known = check(table(made(before)), { readFile }).check.checked
    const next = table(made(after), outside)
    const [again, anew] = [check(next, { readFile, before: known }), check(next, { readFile })]
    assert.deepEqual(again.hosts, decoded)
    assert.deepEqual([...again.check.clusters], [...anew.check.clusters])
    assert.ok(again.result.ok && anew.result.ok)
    const { value: lazy, ...found } = again.result
    const { value: eager, ...all } = anew.result
    assert.deepEqual(found, all, 'and the report is the one of all of them')
    for (const h of ['a', 'b', 'c'])
      assert.deepEqual(lazy.virtualHost(`${h}.example`), eager.virtualHost(`${h}.example`))
  })
