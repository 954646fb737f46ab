import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listClusters, formatClustersAsJson, formatClusters } from '../../../agent/admin/clusters-page.ts'
import { buildTables } from '../../../control-sync/mesh-tables.ts'
import type { ClusterStatus } from '../../../protocols/http/message.ts'
import { goldenSnapshot } from '../../helpers/control-plane/resources.ts'

const snapshot = goldenSnapshot('istiod-sidecar')
const tables = buildTables(snapshot, { generation: 1, stale: false })
const NAME = 'outbound|80||svc-0.shop.svc.cluster.local'
const used: ClusterStatus = {
  name: NAME,
  activeRequests: 1,
  pendingRequests: 0,
  connections: 2,
  endpoints: [
    {
      address: '10.0.0.1',
      port: 80,
      priority: 0,
      weight: 1,
      health: 'healthy',
      ejected: true,
      activeRequests: 1,
      connections: 2,
    },
  ],
}

test('every cluster of the tables is there, with its endpoints, whether it was used or not', () => {
  const all = listClusters([], tables)
  assert.deepEqual(all.map((c) => c.name).sort(), [...snapshot.resources.cluster.keys()].sort())
  const endpoints = all.find((c) => c.name === NAME)!.endpoints
  assert.ok(endpoints.length > 0)
  assert.ok(endpoints.every((e) => e.address !== '' && e.port > 0 && e.connections === 0))
})
test('a cluster at work is shown once, as it is', () => {
  assert.deepEqual(
    listClusters([used], tables).filter((c) => c.name === NAME),
    [used],
  )
})
test("JSON is Envoy's (envoy.admin.v3.Clusters), text has a line for each fact", () => {
  assert.deepEqual(formatClustersAsJson([used]), {
    cluster_statuses: [
      {
        name: NAME,
        added_via_api: true,
        host_statuses: [
          {
            address: { socket_address: { address: '10.0.0.1', port_value: 80 } },
            stats: [
              { name: 'cx_active', type: 'GAUGE', value: '2' },
              { name: 'rq_active', type: 'GAUGE', value: '1' },
            ],
            health_status: { eds_health_status: 'HEALTHY', failed_outlier_check: true },
            weight: 1,
            priority: 0,
          },
        ],
      },
    ],
  })
  assert.match(
    formatClusters([used]),
    /^outbound\|80\|\|svc-0\.shop\.svc\.cluster\.local::10\.0\.0\.1:80::health_flags::\/failed_outlier_check$/m,
  )
})
test('a host that is asked whether it is well has the flags that Envoy gives it', () => {
  const check = { hasFailed: true, isDegraded: true, isPending: false, isExcluded: true, isLeaving: true, reason: 'no' }
  const [host] = used.endpoints
  const asked = { ...used, endpoints: [{ ...host!, ejected: false, health: 'draining' as const, check }] }
  assert.match(
    formatClusters([asked]),
    /::health_flags::\/failed_active_hc\/degraded_active_hc\/pending_dynamic_removal\/excluded_via_immediate_hc_fail\/eds_status_draining$/m,
  )
  const json = JSON.stringify(formatClustersAsJson([asked]))
  assert.match(
    json,
    /"failed_active_health_check":true,"failed_active_degraded_check":true,"pending_dynamic_removal":true/,
  )
})
