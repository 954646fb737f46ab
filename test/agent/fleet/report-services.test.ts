import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createServiceCollector } from '../../../agent/fleet/report-services.ts'
import { buildTables } from '../../../control-sync/mesh-tables.ts'
import { Current } from '../../../core/current.ts'
import type { Tables } from '../../../model/tables.ts'
import type { CheckStatus, ClusterStatus } from '../../../protocols/http/message.ts'
import { goldenSnapshot } from '../../helpers/control-plane/resources.ts'

const snapshot = goldenSnapshot('istiod-sidecar')
type Host = ClusterStatus['endpoints'][number]
const failed: CheckStatus = {
  hasFailed: true,
  isDegraded: false,
  isPending: false,
  isExcluded: false,
  isLeaving: false,
  reason: undefined,
}
const cluster = (name: string, hosts: readonly Partial<Host>[], connections = 0): ClusterStatus => ({
  name,
  activeRequests: 0,
  pendingRequests: 0,
  connections,
  endpoints: hosts.map((over) => ({
    address: '10.0.0.1',
    port: 80,
    priority: 0,
    weight: 1,
    health: 'healthy' as const,
    ejected: false,
    activeRequests: 0,
    connections: 0,
    ...over,
  })),
})

/** Counts how often a cluster is decoded for its endpoints. */
function rig(atWork: readonly ClusterStatus[], most: number) {
  const asked: string[] = []
  const count = (tables: Tables): Tables =>
    new Proxy(tables, {
      get(target, property) {
        if (property === 'cluster')
          return (name: string) => {
            asked.push(name)
            return target.cluster(name)
          }
        const value: unknown = Reflect.get(target, property, target)
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value
      },
    })
  const build = (generation: number): Tables => count(buildTables(snapshot, { generation, stale: false }))
  const tables = new Current(build(1))
  const collect = createServiceCollector({ upstreams: { clusterStatus: () => atWork }, tables }, most)
  return { asked, collect, swap: (generation: number) => tables.swap(build(generation)) }
}
const IDLE = 'outbound|80||svc-0.shop.svc.cluster.local'

test('what cannot be reached comes first, then what is not whole, what is in use, and the rest', () => {
  const { collect } = rig(
    [
      cluster('used', [{}], 2),
      cluster('whole', [{}, {}]),
      cluster('part', [{}, { ejected: true }, { health: 'draining' }, { health: 'degraded' }]),
      cluster('down', [{ check: failed }, { health: 'unhealthy' }]),
      cluster('nowhere', []),
    ],
    6,
  )
  const { rows, more } = collect()
  assert.deepEqual(
    rows.slice(0, 5).map(({ name, endpoints, healthy, connections }) => [name, endpoints, healthy, connections]),
    [
      ['down', 2, 0, 0],
      ['part', 4, 2, 0],
      ['used', 1, 1, 2],
      ['whole', 2, 2, 0],
      ['nowhere', 0, 0, 0],
    ],
  )
  assert.equal(rows.length, 6)
  assert.equal(more, 5 + snapshot.resources.cluster.size - 6)
})

test('versions of one cluster are one service, with the connections of both', () => {
  const { rows } = rig([cluster(IDLE, [{}, {}], 3), cluster(IDLE, [{}], 1)], 64).collect()
  const found = rows.filter(({ name }) => name === IDLE)
  assert.deepEqual(found, [{ name: IDLE, endpoints: 1, healthy: 1, connections: 4 }])
})

test('clusters that nobody uses are decoded for their rows alone, and once for each version of the tables', () => {
  const { asked, collect, swap } = rig([], 4)
  const first = collect()
  assert.equal(first.rows.length, 4)
  assert.equal(first.more, snapshot.resources.cluster.size - 4)
  assert.equal(asked.length, 4)
  assert.deepEqual(collect(), first)
  assert.equal(asked.length, 4)
  swap(2)
  collect()
  assert.equal(asked.length, 8)
})
