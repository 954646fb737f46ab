import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { rememberValue, makeListeners, buildTables } from '../../control-sync/mesh-tables.ts'
import { EMPTY_SNAPSHOT } from '../../control-sync/apply.ts'
import type { RawResource, Snapshot } from '../../model/snapshot.ts'
import { sample } from '../helpers/control-plane/resources.ts'

const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`
const RBAC = 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC'
const tcp = {
  name: 'tcp',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    cluster: 'c',
  },
}
const raw = (json: JsonObject, name?: string): RawResource => {
  const made = sample(json)
  return { name: name ?? made.name, version: '', value: made.bytes }
}
const cluster = (name: string): RawResource => raw({ '@type': type('cluster.v3.Cluster'), name, type: 'STATIC' })
const listener = (name: string, direction: string, filters: JsonObject[] = [tcp]): RawResource =>
  raw({
    '@type': type('listener.v3.Listener'),
    name,
    traffic_direction: direction,
    address: { socket_address: { address: '127.0.0.1', port_value: 80 } },
    filter_chains: [{ filters }],
  })
const names = (name: string, host: string, ip: string): RawResource =>
  raw({ '@type': 'type.googleapis.com/istio.networking.nds.v1.NameTable', table: { [host]: { ips: [ip] } } }, name)

type Resources = { -readonly [K in keyof Snapshot['resources']]?: RawResource[] }
const snapshot = (resources: Resources): Snapshot => ({
  savedAtMs: 0,
  resources: {
    ...EMPTY_SNAPSHOT.resources,
    ...Object.fromEntries(Object.entries(resources).map(([kind, all]) => [kind, new Map(all.map((r) => [r.name, r]))])),
  },
})
const AT = { generation: 7, stale: false }

test('what two snapshots share is one object in both tables; what was replaced is another', () => {
  const [a, b] = [cluster('a'), cluster('b')]
  const before = buildTables(snapshot({ cluster: [a, b] }), AT)
  const after = buildTables(snapshot({ cluster: [a, cluster('b')] }), { ...AT, generation: 8, stale: true })
  assert.equal(before.cluster('a'), after.cluster('a'))
  assert.notEqual(before.cluster('b'), after.cluster('b'))
  assert.deepEqual([before.generation, after.generation, before.stale, after.stale], [7, 8, false, true])
  assert.deepEqual([...after.clusterNames()], ['a', 'b'])
})

test('what nobody sent, and what is no such resource at all, is not there', () => {
  const tables = buildTables(snapshot({ cluster: [{ name: 'x', version: '', value: Buffer.from('ff', 'hex') }] }), AT)
  assert.deepEqual(
    [tables.cluster('x'), tables.cluster('y'), tables.load('y'), tables.routes('y'), tables.names],
    [undefined, undefined, undefined, undefined, undefined],
  )
})

test('what was made while a resource was checked is not made again', () => {
  const table = raw({ '@type': type('route.v3.RouteConfiguration'), name: 'r' })
  const made = {}
  rememberValue(table, made)
  assert.equal(buildTables(snapshot({ route: [table] }), AT).routes('r') as unknown, made)
})

test('a listener is made again when an extension that it names has come, and only then', () => {
  const later = listener('l', 'INBOUND', [
    { name: 'ext', config_discovery: { config_source: { ads: {} }, type_urls: [RBAC] } },
    tcp,
  ])
  const extension = raw({
    '@type': type('core.v3.TypedExtensionConfig'),
    name: 'ext',
    typed_config: { '@type': RBAC, stat_prefix: 'x' },
  })
  const without = buildTables(snapshot({ listener: [later] }), AT).listeners.get('l')!
  assert.equal(without.filterChains[0]!.codec.kind, 'blocked')
  const come = buildTables(snapshot({ listener: [later], extension: [extension] }), AT).listeners.get('l')!
  assert.equal(come.filterChains[0]!.codec.kind, 'tcp')
  const unrelated = snapshot({ listener: [later], extension: [extension], cluster: [cluster('a')] })
  assert.equal(buildTables(unrelated, AT).listeners.get('l'), come)
})

test('listeners are made one per step, and the tables take what was made', () => {
  const all = snapshot({ listener: [listener('a', 'OUTBOUND'), listener('b', 'OUTBOUND')] })
  assert.equal([...makeListeners(all.resources)].length, 2)
  assert.equal(buildTables(all, AT).listeners.get('a'), buildTables(all, AT).listeners.get('a'))
})

test('without a control plane for too long inbound listeners are closed, outbound ones are not', () => {
  const all = snapshot({ listener: [listener('in', 'INBOUND'), listener('out', 'OUTBOUND')] })
  const { listeners } = buildTables(all, { ...AT, inboundClosed: true })
  assert.deepEqual(
    [listeners.get('in'), listeners.get('out')].map((l) => l!.filterChains[0]?.codec.kind),
    ['blocked', 'tcp'],
  )
})

test('several name tables are one, the same object while they are the same; one that does not decode is left out', () => {
  const [a, b] = [names('a', 'x.shop', '10.0.0.1'), names('b', 'y.shop', '10.0.0.2')]
  const broken = { name: 'c', version: '', value: Buffer.from('ff', 'hex') }
  const one = buildTables(snapshot({ nameTable: [a, b, broken] }), AT).names
  assert.deepEqual([...one!.keys()], ['x.shop', 'y.shop'])
  assert.equal(buildTables(snapshot({ nameTable: [b, a, broken] }), AT).names, one)
  assert.notEqual(buildTables(snapshot({ nameTable: [a, broken] }), AT).names, one)
})
