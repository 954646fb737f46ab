import { test } from 'node:test'
import assert from 'node:assert/strict'
import { collectStatus } from '../../../agent/admin/collect-status.ts'
import type { StatusParts } from '../../../agent/admin/status-parts.ts'
import { Current } from '../../../core/current.ts'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import { EMPTY_TABLES } from '../../../model/tables.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const clock = new SimClock()
await clock.advance(100_000)
const agoMs = (sec: number): number => clock.monotonicMs() - sec * 1_000
const wallAgoMs = (sec: number): number => clock.wallMs() - sec * 1_000

const link = { mode: 'control plane', address: 'istiod:15012', state: 'waiting', sinceMs: agoMs(20), held: undefined }
const applier = {
  generation: 3,
  stale: true,
  contactAtMs: undefined,
  changedAtMs: { cluster: wallAgoMs(40) },
  snapshot: {
    savedAtMs: wallAgoMs(30),
    resources: {
      cluster: new Map([['a', {}]]),
      endpoint: new Map(),
      listener: new Map([
        ['b', {}],
        ['c', {}],
      ]),
      route: new Map(),
      extension: new Map(),
      secret: new Map(),
      nameTable: new Map(),
      proxyConfig: new Map(),
    },
  },
  rejected: [],
  ignored: [],
  skipped: new Map(),
  dangling: () => [],
  storageError: undefined,
}
const identity = {
  spiffeId: { uri: 'spiffe://mesh/ns/a/sa/b' },
  serial: '0a',
  notAfterMs: clock.wallMs() + 3_600_000,
}
/** Of an agent that serves from disk while its control plane is away. */
const PARTS = {
  facts: { version: '1.2.3' },
  config: { listeners: [], mqtt: { routes: [], spool: { minDiskFreeBytes: 0 } }, capture: 'explicit', state: '/s' },
  node: { description: { id: 'router~10.0.0.7~edge~local', metadata: {} } },
  startedMs: agoMs(60),
  clock,
  metrics: new Metrics(),
  tables: new Current(EMPTY_TABLES),
  files: { problems: () => [] },
  readiness: { ready: true, pending: [] },
  identity: {
    current: () => identity,
    problems: () => [],
    certificateClock: { nowMs: () => clock.wallMs() + 600_000 },
    renewalAtMs: clock.monotonicMs() + 90_000,
  },
  configuration: {
    link: () => link,
    quality: () => ({ rttMs: 48, connections: 2 }),
    applier,
    damage: [],
    folderProblems: () => [],
    needsIdentity: true,
  },
  dataPath: { listeners: () => [] },
  own: [],
  inherited: undefined,
  dns: undefined,
  broker: { stats: { connections: 1, sessions: 2, retained: 3 }, clones: () => [] },
  keySets: { status: () => [{ url: 'u', keys: 2, fetchedMs: clock.wallMs() - 90_000, error: 'away' }] },
  bridge: { status: () => [], unreached: () => [] },
  spool: { stats: { bytes: 0, maxBytes: 1 }, error: undefined },
  workload: undefined,
  adminError: () => undefined,
  isDraining: () => false,
  freeBytes: () => 1,
  hasFile: () => true,
}
type Over = { [K in keyof typeof PARTS]?: unknown }
const collect = (over: Over = {}): ReturnType<typeof collectStatus> =>
  collectStatus({ ...PARTS, ...over } as unknown as StatusParts)
const withApplier = (over: object): Over => ({
  configuration: { ...PARTS.configuration, applier: { ...applier, ...over } },
})
const withLink = (over: object, contactAtMs?: number): Over => ({
  configuration: { ...PARTS.configuration, link: () => ({ ...link, ...over }), applier: { ...applier, contactAtMs } },
})

test('times are told as spans, in seconds', () => {
  const { uptimeSec, control, config } = collect()
  assert.deepEqual([uptimeSec, control.sinceSec, config.ageSec, config.changedSec], [60, 20, 30, { clusters: 40 }])
})

test('an agent drains, or serves, or waits for what its latches name', () => {
  const readiness = { ready: false, pending: ['a certificate'] }
  assert.equal(collect().state, 'ready')
  assert.deepEqual([collect({ readiness }).state, collect({ readiness }).waitingFor], ['starting', ['a certificate']])
  assert.equal(collect({ readiness, isDraining: () => true }).state, 'draining')
})

test('the last contact is that of this run, else that of an earlier one, else there was none', () => {
  assert.equal(collect(withLink({ lastContactMs: agoMs(5) }, wallAgoMs(50))).control.lastContactSec, 5)
  assert.equal(collect(withLink({ lastContactMs: undefined }, wallAgoMs(50))).control.lastContactSec, 50)
  assert.equal(collect(withLink({ lastContactMs: undefined })).control.lastContactSec, undefined)
  assert.equal(collect(withLink({})).control.rttMs, 48)
})

test('clusters that serve on after a removal are counted', () => {
  assert.equal(collect().control.heldClusters, 0)
  assert.equal(collect(withLink({ held: { clusters: 9, of: 10, untilMs: 0 } })).control.heldClusters, 9)
})

test('a certificate expires by the time that certificates are checked by, not by the clock', () => {
  const { certificate } = collect()
  assert.deepEqual(
    [certificate?.expiresInSec, certificate?.renewalInSec, certificate?.notAfter],
    [3_000, 90, new Date(identity.notAfterMs).toISOString()],
  )
  assert.equal(collect({ identity: { ...PARTS.identity, current: () => undefined } }).certificate, undefined)
})

test('a renewal that is due is due now; where somebody else renews, none is told', () => {
  const at = (renewalAtMs: number | undefined): number | undefined =>
    collect({ identity: { ...PARTS.identity, renewalAtMs } }).certificate?.renewalInSec
  assert.deepEqual([at(agoMs(10)), at(undefined)], [0, undefined])
})

test('resources are counted by kind, in words, and kinds without any are left out', () => {
  assert.deepEqual(collect().config.resources, { clusters: 1, listeners: 2 })
})

test('what is not acted upon is counted by field, whatever index it stands at, most frequent first', () => {
  const ignored = [
    { name: 'one', fields: ['a[0].b', 'a[1].b'] },
    { name: 'two', fields: ['c', 'a[7].b'] },
    { name: 'three', fields: ['a[0].b'] },
  ]
  const { config } = collect(withApplier({ ignored }))
  assert.equal(config.ignoredFields, 5)
  assert.deepEqual(config.ignored, [
    { field: 'a[].b', resources: 3, example: 'one' },
    { field: 'c', resources: 1, example: 'two' },
  ])
})

test('what is left out is told with an example, of most resources first, twenty at most', () => {
  const of = (n: number): object[] => Array.from({ length: n }, (_, i) => ({ kind: 'route', name: `r${i}` }))
  const many = Array.from({ length: 25 }, (_, i) => [`thing ${i}`, of(i + 1)] as const)
  const { skipped } = collect(withApplier({ skipped: new Map(many) })).config
  assert.equal(skipped.length, 20)
  assert.deepEqual(skipped[0], { what: 'thing 24', resources: 25, example: 'route r0' })
})

test('a listener that drains says so, and one that failed says why', () => {
  const error = new MeshError('MESH_PORT_IN_USE', 'port 80 is taken')
  const dataPath = {
    listeners: () => [{ name: 'l', address: '127.0.0.1:80', state: 'failed', connections: 0, error }],
  }
  assert.deepEqual(collect({ dataPath }).listeners, [
    { name: 'l', address: '127.0.0.1:80', state: 'failed', connections: 0, error: 'port 80 is taken' },
  ])
  assert.equal(collect({ dataPath, isDraining: () => true }).listeners[0]?.state, 'draining')
})

test('the workload is told to a control plane that keeps a WorkloadEntry for this node', () => {
  const workload = {
    what: 'tcp 127.0.0.1:80',
    health: new Current({ state: 'unhealthy', reason: 'refused', sinceMs: agoMs(7) }),
  }
  const expected = { probe: 'tcp 127.0.0.1:80', state: 'unhealthy', reason: 'refused', sinceSec: 7 }
  assert.deepEqual(collect({ workload }).workload, { ...expected, told: false })
  const node = { description: { id: 'x', metadata: { AUTO_REGISTER_GROUP: 'edge' } } }
  assert.deepEqual(collect({ workload, node }).workload, { ...expected, told: true })
  assert.equal(collect().workload, undefined)
})

test('requests, retries and refusals are those that were counted', () => {
  const metrics = new Metrics()
  metrics.counter('mesh_http_requests_total', 'x', ['code']).cell({ code: '200' }).value = 4
  const retries = metrics.counter('mesh_upstream_retries_total', 'x', ['result'])
  retries.cell({ result: 'sent' }).value = 2
  retries.cell({ result: 'held-back' }).value = 1
  assert.deepEqual(collect({ metrics }).http, { requests: 4, retriesSent: 2, retriesHeldBack: 1, denied: 0 })
})

test('the age of fetched keys is told by the wall clock', () => {
  assert.deepEqual(collect().keys, [{ url: 'u', keys: 2, ageSec: 90, error: 'away' }])
})

test('what is on the wire and in no message carries them', () => {
  const metrics = new Metrics()
  const messages = metrics.counter('mesh_control_bytes_total', '', ['purpose', 'direction'])
  messages.cell({ purpose: 'cluster', direction: 'received' }).value = 300
  messages.cell({ purpose: 'report', direction: 'sent' }).value = 40
  const bytes = () => collect({ metrics }).control.bytes
  const said = [
    { purpose: 'cluster', sent: 0, received: 300 },
    { purpose: 'report', sent: 40, received: 0 },
  ]
  assert.deepEqual(bytes(), said, 'over gRPC nobody knows')
  const wire = metrics.counter('mesh_control_wire_bytes_total', '', ['direction'])
  wire.cell({ direction: 'received' }).value = 1_000
  assert.deepEqual(bytes(), [...said, { purpose: 'transport', sent: 0, received: 700 }])
})
