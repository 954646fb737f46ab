/** Which hosts a cluster has, by where it has them from. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../../core/current.ts'
import { takeLease } from '../../../../core/lease.ts'
import { Metrics } from '../../../../core/metrics.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import { EMPTY_TABLES, type Tables } from '../../../../model/tables.ts'
import { ClusterHosts } from '../../../../protocols/upstream/discovery/cluster-hosts.ts'
import { cluster, endpoint, ORIGIN } from '../../http/harness.ts'
import { byName, loadOf, realContext } from '../../parts.ts'

const wanted = { maxHostPicks: 0 }
function hostsOf(discovery: Cluster['discovery'], more: { tables?: Current<Tables>; metrics?: Metrics } = {}) {
  const removed: string[] = []
  const hosts = new ClusterHosts(realContext(more), cluster([], { discovery }), {
    resolve: async () => ['10.0.0.9'],
    removed: (host) => removed.push(host.key),
    forgotten: () => {},
  })
  return { hosts, removed }
}

test('endpoints of a discovered cluster are those of the tables now', () => {
  const tablesOf = (address: string): Tables => ({
    ...EMPTY_TABLES,
    load: (name) => (name === 'of-it' ? loadOf([endpoint(address, 80)]) : undefined),
  })
  const tables = new Current(tablesOf('10.0.0.1'))
  const { hosts, removed } = hostsOf({ kind: 'eds', serviceName: 'of-it' }, { tables })
  assert.equal(hosts.pick(wanted)?.key, '10.0.0.1:80')
  tables.swap(tablesOf('10.0.0.2'))
  assert.equal(hosts.pick(wanted)?.key, '10.0.0.2:80')
  assert.deepEqual(removed, ['10.0.0.1:80'])
})
test('a name is looked up before the first pick, and then no more', async () => {
  const { hosts } = hostsOf(byName([endpoint('origin.test', ORIGIN.port)]))
  using _hosts = hosts
  assert.equal(hosts.pick(wanted), undefined)
  await hosts.resolveFirst({})?.()
  assert.equal(hosts.resolveFirst({}), undefined)
  assert.equal(hosts.pick(wanted)?.key, `10.0.0.9:${ORIGIN.port}`)
})
test('a host that requests name is looked up for each name', async () => {
  const { hosts } = hostsOf({
    kind: 'forward-proxy',
    lookupFamily: 'all',
    refreshMs: 60_000,
    hostTtlMs: 60_000,
    maxHosts: 9,
  })
  assert.ok(hosts.areNamed)
  await hosts.resolveFirst({ host: 'one.test' })?.()
  assert.equal(hosts.pick({ ...wanted, host: 'one.test' })?.key, '10.0.0.9:80')
  assert.ok(hosts.resolveFirst({ host: 'two.test' }))
})
test('original destinations beyond the bound are refused and counted', () => {
  const metrics = new Metrics()
  const { hosts } = hostsOf({ kind: 'original-dst' }, { metrics })
  using held = new DisposableStack()
  const pick = (no: number) => hosts.pick({ ...wanted, originalDst: { host: ORIGIN.host, port: no + 1 } })
  for (let i = 0; i < 1024; i++) held.use(takeLease(pick(i)!.connections))
  assert.throws(() => pick(1024), { code: 'MESH_UPSTREAM_OVERFLOW' })
  assert.ok(pick(7), 'one that is known goes on')
  assert.equal(metrics.total('mesh_upstream_original_hosts_bound_total', { what: 'refused' }), 1)
})
