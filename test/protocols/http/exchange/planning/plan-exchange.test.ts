/**
 * What a route says to filters of its listener (typed_per_filter_config). The rows' answers are Envoy's
 * (test/conformance/envoy/answers.test.ts asks it).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { SimClock } from '../../../../helpers/sim-clock.ts'
import type { JsonObject } from '@bufbuild/protobuf'
import type { HttpConnectionManager } from '../../../../../model/listener.ts'
import { decode } from '../../../../../control-sync/decode/decode.ts'
import { createPlannedReply, toAnswer } from '../../../../../protocols/http/exchange/reply/reply.ts'
import { NO_HEADER_CHANGES, type HeaderEdit, type Mutations } from '../../../../../model/route.ts'
import type { Plan, PlanInput } from '../../../../../protocols/http/exchange/planning/plan.ts'
import { planExchange } from '../../../../../protocols/http/exchange/planning/plan-exchange.ts'
import { seededRandom } from '../../../../helpers/random.ts'
import { sample } from '../../../../helpers/control-plane/resources.ts'
import { FILTER_ROWS, type FilterRow } from '../../../../helpers/control-plane/route-filters.ts'
import { cluster, forwardTo, manager, route, tablesOf } from '../../harness.ts'
import { LOCAL_CLIENT } from '../../../parts.ts'
import { HTTP as AUTH_SERVICE, SETTINGS as AUTH_SETTINGS } from '../../filters/ext-authz/rig.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const typed = (config: JsonObject | undefined): JsonObject => (config ? { typed_per_filter_config: config } : {})

function managerOf({ filters, table, host, route }: Omit<FilterRow, 'name' | 'status'>): {
  readonly http: HttpConnectionManager
  readonly ignored: readonly string[]
} {
  const decoded = decode(
    'listener',
    sample({
      '@type': type('config.listener.v3.Listener'),
      name: 'l',
      traffic_direction: 'INBOUND',
      address: { socket_address: { address: '127.0.0.1', port_value: 80 } },
      filter_chains: [
        {
          filters: [
            {
              name: 'hcm',
              typed_config: {
                '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
                stat_prefix: 's',
                http_filters: [
                  ...filters,
                  {
                    name: 'envoy.filters.http.router',
                    typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
                  },
                ],
                route_config: {
                  name: 'r',
                  ...typed(table),
                  virtual_hosts: [
                    {
                      name: 'v',
                      domains: ['*'],
                      ...typed(host),
                      routes: [{ match: { prefix: '/' }, route: { cluster: 'a' }, ...typed(route) }],
                    },
                  ],
                },
              },
            },
          ],
        },
      ],
    }).bytes,
  )
  assert.ok(decoded.ok)
  const { codec } = decoded.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  return { http: codec.http, ignored: decoded.ignored }
}
function planOf(
  http: HttpConnectionManager,
  fields: Readonly<Record<string, string>> = {},
  onHeader: (name: string) => void = () => {},
  more: Partial<PlanInput> = {},
): Plan {
  const valueOf = (name: string): string | undefined => {
    onHeader(name)
    return fields[name]
  }
  return planExchange({
    ...more,
    tables: tablesOf([cluster([], { name: 'a' })]),
    http,
    upgrade: undefined,
    random: seededRandom(1),
    clocks: { clock: new SimClock() },
    request: { method: 'GET', path: '/', authority: 'a', scheme: 'http', header: valueOf },
    client: LOCAL_CLIENT,
  })
}
/** Of `GET /`: 200 where it would be forwarded, else Envoy's status, or the code. */
function answer(http: HttpConnectionManager): number | string {
  const plan = planOf(http)
  if (plan.kind === 'refuse') return plan.error.code === 'MESH_PEER_NOT_ALLOWED' ? 403 : plan.error.code
  return plan.kind === 'answer' ? plan.status : 200
}

for (const row of FILTER_ROWS)
  test(`${row.name}: ${row.status}`, () => assert.equal(answer(managerOf(row).http), row.status))

const GUARD = { '@type': 'type.googleapis.com/xds.type.v3.TypedStruct', type_url: 'type.googleapis.com/acme.Guard' }
const guard = (more: JsonObject = {}): JsonObject => ({ name: 'g', typed_config: GUARD, ...more })
const filterConfig = (more: JsonObject): JsonObject => ({ '@type': type('config.route.v3.FilterConfig'), ...more })
for (const [name, filters, route, want] of [
  ['an inbound filter that is not implemented', [guard()], undefined, 'MESH_CHAIN_BLOCKED'],
  ['one that the route switches off', [guard()], { g: filterConfig({ disabled: true }) }, 200],
  ['a disabled one', [guard({ disabled: true })], undefined, 200],
  [
    'a disabled one that the route switches on',
    [guard({ disabled: true })],
    { g: filterConfig({ config: {} }) },
    'MESH_CHAIN_BLOCKED',
  ],
  ['a disabled one that the route has settings for', [guard({ disabled: true })], { g: GUARD }, 'MESH_CHAIN_BLOCKED'],
] as const)
  test(`${name}: ${want}`, () => assert.equal(answer(managerOf({ filters, ...(route ? { route } : {}) }).http), want))

test('what neither switches off nor says anything, which Envoy refuses, blocks the route', () =>
  assert.equal(answer(managerOf({ filters: [], route: { g: filterConfig({}) } }).http), 'MESH_ROUTE_BLOCKED'))

test('header changes apply from the cluster to the table; with most_specific_header_mutations_wins the nearest ones come last', () => {
  const add = (value: string): JsonObject => ({ request_headers_to_add: [{ header: { key: 'x', value } }] })
  const order = (more: JsonObject): unknown => {
    const decoded = decode(
      'route',
      sample({
        '@type': type('config.route.v3.RouteConfiguration'),
        name: 'r',
        ...add('table'),
        ...more,
        virtual_hosts: [
          {
            name: 'v',
            domains: ['*'],
            ...add('host'),
            routes: [
              {
                match: { prefix: '/' },
                route: { weighted_clusters: { clusters: [{ name: 'a', weight: 1, ...add('cluster') }] } },
                ...add('route'),
              },
            ],
          },
        ],
      }).bytes,
    )
    assert.ok(decoded.ok)
    const http = { ...managerOf({ filters: [] }).http, routes: { from: 'inline', config: decoded.value } as const }
    const plan = planOf(http)
    assert.ok(plan.kind === 'forward')
    return plan.requestEdits.map((edit) => edit.add[0]!.value)
  }
  assert.deepEqual(order({}), ['cluster', 'route', 'host', 'table'])
  assert.deepEqual(order({ most_specific_header_mutations_wins: true }), ['table', 'host', 'route', 'cluster'])
})
test('a cluster that is not there: the status that its route says', () => {
  for (const [notFoundStatus, want] of [
    [undefined, 503],
    [404, 404],
  ] as const) {
    const action = forwardTo({ clusters: [], clusterHeader: 'x-to', ...(notFoundStatus && { notFoundStatus }) })
    const plan = planOf(manager([route(action)]))
    assert.ok(plan.kind === 'refuse')
    const answer = (grpc: boolean) => toAnswer(createPlannedReply(plan).reply, grpc).head
    assert.equal(answer(false).status, want)
    assert.equal(answer(true).headers.includes(want === 404 ? '12' : '14'), true)
  }
})
test('cluster_header: the cluster that the request names', () => {
  const plan = planOf(manager([route(forwardTo({ clusters: [], clusterHeader: 'x-to' }))]), { 'x-to': 'a' })
  assert.equal(plan.kind === 'forward' && plan.cluster.name, 'a')
})
const A = { name: 'a', weight: 1, headers: NO_HEADER_CHANGES }
for (const [rewrite, want] of [
  [{ kind: 'literal', value: 'b' }, 'b'],
  [{ kind: 'header', name: 'x-to' }, 'to.test'],
  [{ kind: 'header', name: 'x-none' }, 'a'],
] as const)
  test(`the host after a rewrite by ${rewrite.kind}: ${want}`, () => {
    const plan = planOf(manager([route(forwardTo({ clusters: [A], rewrite: { path: undefined, host: rewrite } }))]), {
      'x-to': 'to.test',
    })
    assert.equal(plan.kind === 'forward' && plan.authority, want)
  })

for (const { name, of, want } of [
  { name: 'nobody', of: {}, want: undefined },
  { name: 'the route', of: { route: true, host: false }, want: true },
  { name: 'the virtual host', of: { host: false }, want: false },
])
  test(`whether what may have arrived is sent again says ${name}`, () => {
    const said = (value: boolean | undefined): { retriesUnsafe?: boolean } =>
      value === undefined ? {} : { retriesUnsafe: value }
    const { route: ofRoute, host } = of as { route?: boolean; host?: boolean }
    const plan = planOf(manager([route(forwardTo({ clusters: [A] }), said(ofRoute))], {}, said(host)))
    assert.equal(plan.kind === 'forward' && plan.retriesUnsafe, want)
  })

const EDIT = (value: string): HeaderEdit => ({ remove: [], add: [{ name: 'x', value, how: 'append' }] })
const mutated = (value: string): Mutations => ({ request: [EDIT(`to ${value}`)], response: [EDIT(`from ${value}`)] })
for (const { nearestWins, want } of [
  { nearestWins: false, want: ['a', 'route', 'table', 'b'] },
  { nearestWins: true, want: ['a', 'table', 'route', 'b'] },
])
  test(`header mutations, nearest ${nearestWins ? 'last' : 'first'}: before the route's own to requests, behind them to answers, back through the filters`, () => {
    const changes = { request: EDIT('to own'), response: EDIT('from own') }
    const filters = new Map([['a', { off: false, mutations: [mutated('table'), mutated('route')] }]])
    const http = manager([route(forwardTo({ clusters: [A] }), { headers: changes, filters })], {
      filters: ['a', 'b'].map((name) => ({ kind: 'mutation', name, mutations: mutated(name), nearestWins })),
    })
    const plan = planOf(http)
    assert.ok(plan.kind === 'forward')
    const values = (edits: readonly HeaderEdit[]): string[] => edits.map((e) => e.add[0]!.value)
    assert.deepEqual(values(plan.requestEdits), [...want.map((w) => `to ${w}`), 'to own'])
    const [a, first, second, b] = want
    assert.deepEqual(values(plan.responseEdits), ['from own', ...[b, a, first, second].map((w) => `from ${w}`)])
  })
test('header mutations are of every answer, also where no route matches, and of none where the filter is off', () => {
  const filter = { kind: 'mutation', name: 'm', mutations: mutated('m'), nearestWins: false } as const
  const edits = (off: boolean): (number | undefined)[] => {
    const { responseEdits, requestEdits } = planOf(manager([], { filters: [{ ...filter, off }] }))
    return [responseEdits.length, requestEdits?.length]
  }
  assert.deepEqual(
    [edits(false), edits(true)],
    [
      [1, 1],
      [0, 0],
    ],
  )
})

test('changes for filters behind are made once, when the filter is passed; what is not known then refuses', () => {
  const made: string[] = []
  const edit = (edits: readonly HeaderEdit[]): number => made.push(...edits.map((e) => e.add[0]!.value))
  const filter = { kind: 'mutation', name: 'm', mutations: mutated('own'), nearestWins: false, isEarly: true } as const
  const ofRoute = (value: string): Plan => {
    const filters = new Map([['m', { off: false, mutations: [mutated(value)] }]])
    return planOf(manager([route(forwardTo({ clusters: [A] }), { filters })], { filters: [filter] }), {}, undefined, {
      edit,
    })
  }
  assert.deepEqual(ofRoute('route').requestEdits, [])
  assert.deepEqual(made, ['to own', 'to route'])
  const refused = ofRoute('%UPSTREAM_CLUSTER%')
  assert.equal(refused.kind === 'refuse' && refused.error.code, 'MESH_CHAIN_BLOCKED')
  assert.equal(made.length, 2)
})

test('dry-run rules whose result filters behind can ask for are evaluated once', () => {
  const rules = {
    action: 'DENY',
    policies: {
      dry: { permissions: [{ header: { name: 'x', string_match: { exact: '1' } } }], principals: [{ any: true }] },
    },
  }
  const rbac = {
    name: 'rbac',
    typed_config: {
      '@type': type('extensions.filters.http.rbac.v3.RBAC'),
      shadow_rules: rules,
      shadow_rules_stat_prefix: 'dry_',
    },
  }
  let asked = 0
  const count = (name: string): void => {
    if (name === 'x') asked++
  }
  const plan = planOf(managerOf({ filters: [rbac] }).http, { x: '1' }, count)
  assert.deepEqual([plan.shadow?.map(({ rule, wouldAllow }) => [rule, wouldAllow]), asked], [[['dry', false]], 1])
})
test('a session stays where a filter behind has moved the request to another route', () => {
  const session = { kept: { in: 'header', name: 'x-session' }, isStrict: true } as const
  const authz = { ...AUTH_SETTINGS, reroutes: true, service: AUTH_SERVICE }
  const filters = [
    { kind: 'session', name: 's', session },
    { kind: 'ext-authz', name: 'a', authz },
  ] as const
  const value = Buffer.from('10.1.0.2:80').toString('base64')
  const waits = planOf(manager([route(forwardTo({ clusters: [A] }))], { filters }), { 'x-session': value })
  assert.ok(waits.kind === 'wait')
  const request = [{ name: 'x-route', value: 'b', how: 'set' }] as const
  const plan = waits.resume({ kind: 'ok', request, remove: [], response: [], query: [], metadata: undefined })
  assert.equal(plan.session?.address, '10.1.0.2:80')
})
