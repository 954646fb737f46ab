/** Which requests ask whether this node is well, and what they are told (beside Envoy: test/conformance/envoy/filters). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { seededRandom } from '../../../helpers/random.ts'
import type { HealthCheckFilter } from '../../../../model/http/health-check-filter.ts'
import type { Plan } from '../../../../protocols/http/exchange/planning/plan.ts'
import { planExchange } from '../../../../protocols/http/exchange/planning/plan-exchange.ts'
import { getNodeHealth, type HostCount } from '../../../../protocols/http/filters/health-check.ts'
import { cluster, manager, route, tablesOf } from '../harness.ts'
import { LOCAL_CLIENT } from '../../parts.ts'
import { Both } from '../both.ts'

const HEALTHZ: HealthCheckFilter = {
  passesThrough: false,
  headers: [
    {
      name: ':path',
      test: { kind: 'string', match: { kind: 'exact', value: '/healthz', ignoreCase: false } },
      invert: false,
      missingAsEmpty: false,
    },
  ],
  cacheMs: 0,
  clusters: [],
}
const managerWith = (health: HealthCheckFilter) =>
  manager([route()], { filters: [{ kind: 'health-check', name: 'h', health }] })

function plan(
  health: HealthCheckFilter,
  path: string,
  o: { isDraining?: boolean; isConnectionDraining?: boolean; hosts?: HostCount; clock?: SimClock } = {},
): Plan {
  const clocks = { clock: o.clock ?? new SimClock() }
  getNodeHealth(clocks).use(() => o.hosts ?? { total: 0, available: 0 })
  getNodeHealth(clocks).isDraining = o.isDraining ?? false
  return planExchange({
    tables: tablesOf([cluster()]),
    http: managerWith(health),
    upgrade: undefined,
    random: seededRandom(1),
    clocks,
    connection: { draining: { aborted: o.isConnectionDraining ?? false } },
    request: { method: 'GET', path, authority: 'a', scheme: 'http', headers: [], header: () => undefined },
    client: LOCAL_CLIENT,
  })
}
const told = (p: Plan): unknown => [
  p.kind,
  'status' in p ? p.status : undefined,
  'details' in p ? p.details : undefined,
  p.responseEdits.flatMap(({ add }) => add.map(({ name }) => name)),
]
const MARK = 'x-envoy-upstream-healthchecked-cluster'

test('a question is answered here and says whose answer it is; other requests go on', () => {
  assert.deepEqual(told(plan(HEALTHZ, '/healthz')), ['answer', 200, 'health_check_ok', [MARK]])
  assert.deepEqual(told(plan(HEALTHZ, '/other')), ['forward', undefined, undefined, []])
})

test('while it drains: 503, also where the endpoint would be asked, and every answer says so', () => {
  for (const passesThrough of [false, true])
    assert.deepEqual(told(plan({ ...HEALTHZ, passesThrough }, '/healthz', { isDraining: true })), [
      'denied',
      503,
      'health_check_failed',
      [MARK],
    ])
  assert.deepEqual(told(plan(HEALTHZ, '/other', { isDraining: true })), [
    'forward',
    undefined,
    undefined,
    ['x-envoy-immediate-health-check-fail'],
  ])
})

test('a connection that ends for reasons of its own says nothing of the node', () => {
  const o = { isConnectionDraining: true }
  assert.deepEqual(told(plan(HEALTHZ, '/healthz', o)), ['answer', 200, 'health_check_ok', [MARK]])
  assert.deepEqual(told(plan(HEALTHZ, '/other', o)), ['forward', undefined, undefined, []])
})

test('endpoints of clusters: so many percent of them have to be fit', () => {
  const asked = (name: string, minPercent: number, hosts?: HostCount): unknown => {
    const p = plan({ ...HEALTHZ, clusters: [{ name, minPercent }] }, '/healthz', hosts ? { hosts } : {})
    return 'details' in p ? p.details : undefined
  }
  assert.equal(asked('origin', 50, { total: 2, available: 1 }), 'health_check_ok_cluster_healthy')
  assert.equal(asked('origin', 51, { total: 2, available: 1 }), 'health_check_failed_cluster_unhealthy')
  assert.equal(asked('origin', 1), 'health_check_failed_cluster_empty')
  assert.equal(asked('origin', 0), 'health_check_ok_cluster_healthy')
  assert.equal(asked('other', 0), 'health_check_failed_no_cluster_found')
})

test('what the endpoint said is told again for cache_time, on other connections as well', async (t) => {
  let status = 500
  const both = await Both.start(t, managerWith({ ...HEALTHZ, passesThrough: true, cacheMs: 3_600_000 }), {
    answer: (_request, response) => response.writeHead(status, { 'x-envoy-degraded': '' }).end(),
  })
  assert.equal((await both.ask('http1', { path: '/healthz' })).status, 500)
  status = 200
  const again = await both.ask('http2', { path: '/healthz' })
  assert.deepEqual([again.status, again.saw, again.headers['x-envoy-degraded']], [500, undefined, ''])
  assert.equal((await both.ask('http1', { path: '/other' })).status, 200)
})

test('a kept answer is forgotten after cache_time', async (t) => {
  let asked = 0
  const both = await Both.start(t, managerWith({ ...HEALTHZ, passesThrough: true, cacheMs: 0.000_001 }), {
    answer: (_request, response) => {
      asked++
      response.end()
    },
  })
  await both.ask('http1', { path: '/healthz' })
  await both.ask('http1', { path: '/healthz' })
  assert.equal(asked, 2)
})
