/** istiod's habits (istio pilot/pkg/xds; what was seen on the wire), one by one, and what the agent makes of each. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { ENDINGS } from '../../helpers/control-plane/fake-streams.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import {
  brokenCluster,
  brokenTable,
  clusterWithMistake,
  edsCluster,
  httpListener,
  load,
  SyncedAgent,
  table,
} from '../../helpers/control-plane/synced-agent.ts'
import { calm, mesh } from './quirk-rig.ts'

test('the whole of a mesh comes, nothing is asked for twice, and only the first request of each stream carries the node', async () => {
  const istiod = mesh()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport)
  await calm(agent)
  assert.deepEqual(
    [agent.synced, agent.names('cluster'), agent.names('endpoint'), agent.names('route'), istiod.log],
    [true, ['a', 'b'], ['a', 'b'], ['80'], []],
  )
  istiod.end(ENDINGS.dropped)
  await agent.clock.advance(60_000)
  assert.equal(transport.opened, 2)
  const nodes = transport.sent.filter((r) => r.withNode)
  assert.deepEqual([nodes.length, nodes.every((r) => r.kind === 'cluster'), istiod.log], [2, true, []])
})

test('a reconnect brings everything again and endpoints after the clusters: nothing is applied, only what is gone goes', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  const { generation } = agent.applier
  istiod.restart()
  await agent.clock.advance(60_000)
  assert.deepEqual([agent.sync.link.state, agent.applier.generation], ['connected', generation])
  istiod.restart()
  istiod.drop('cluster', 'b')
  istiod.put(table('80', 'a'))
  await agent.clock.advance(60_000)
  assert.deepEqual([agent.names('cluster'), agent.names('endpoint')], [['a'], ['a']])
})

test('an agent that starts from disk asks at once for all names that it knows', async () => {
  const istiod = mesh()
  await using first = new SyncedAgent(istiod.transport())
  await calm(first)
  await first[Symbol.asyncDispose]()
  istiod.drop('cluster', 'b')
  istiod.put(table('80', 'a'))
  const transport = istiod.transport()
  await using again = new SyncedAgent(transport, { before: first })
  await calm(again)
  assert.deepEqual(
    transport.sent.slice(0, 6).map((r) => [r.kind, r.subscribe, [...r.known.keys()]]),
    [
      ['cluster', [], ['a', 'b']],
      ['endpoint', ['a', 'b'], ['a', 'b']],
      ['listener', [], ['l']],
      ['route', ['80'], ['80']],
      ['nameTable', [], ['']],
      ['proxyConfig', [], []],
    ],
  )
  assert.deepEqual(
    [again.names('cluster'), again.names('endpoint'), again.synced, istiod.log],
    [['a'], ['a'], true, []],
  )
})

test('the name table is one resource with the name "", and an empty one has no bytes at all', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.equal(agent.applier.snapshot.resources.nameTable.get('')?.value.length, 0)
  assert.deepEqual([agent.tables.get().names?.size, agent.applier.rejected], [0, []])
  istiod.put({
    ...sample({ '@type': TYPE_URLS.nameTable, table: { 'a.shop.svc.cluster.local': { ips: ['240.240.0.1'] } } }),
    name: '',
  })
  istiod.push({ clusters: [] })
  await calm(agent)
  assert.deepEqual(agent.tables.get().names?.get('a.shop.svc.cluster.local')?.addresses, ['240.240.0.1'])
})

test('endpoints of a name that is gone are answered with an empty set of 43 bytes: clusters say what there is, and nothing stays behind', async () => {
  const istiod = mesh()
  // The bytes as seen: field 1, cluster_name, and nothing else.
  const name = 'outbound|80||gone.default.svc.cluster.loc'
  const seen = Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name)])
  assert.equal(seen.length, 43)
  istiod.put(edsCluster(name), { kind: 'endpoint', name, bytes: seen })
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.deepEqual([agent.tables.get().load(name)?.localities, agent.synced, agent.applier.rejected], [[], true, []])
  // A service less: clusters first, then the empty set for a name that the agent has just given up.
  istiod.drop('cluster', name)
  istiod.drop('endpoint', name)
  istiod.push({ clusters: [name] })
  await calm(agent)
  assert.deepEqual(
    [agent.names('cluster'), agent.names('endpoint')],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
  )
})

test('a cluster without endpoints counts as answered', async () => {
  const istiod = mesh()
  istiod.drop('endpoint', 'b')
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.deepEqual([agent.synced, agent.tables.get().load('b')?.localities], [true, []])
})

test('a route table that istiod does not know leads everything to PassthroughCluster, and counts as answered', async () => {
  const istiod = mesh()
  istiod.put(httpListener('other', 'nobody-knows', { port: 8081 }))
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  const host = agent.tables.get().routes('nobody-knows')?.virtualHost('anything.example')
  assert.deepEqual([agent.synced, host?.name, host?.routes[0]?.action.kind], [true, 'allow_any', 'forward'])
})

test('names that are given up are answered with silence: they are forgotten here', async () => {
  const istiod = mesh()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport)
  await calm(agent)
  istiod.put(httpListener('l', '81'), table('81', 'a'))
  istiod.push({ clusters: [] })
  await calm(agent)
  assert.deepEqual(agent.names('route'), ['81'])
  const change = transport.sent.filter((r) => r.kind === 'route').find((r) => r.unsubscribe.length > 0)
  assert.deepEqual([change?.subscribe, change?.unsubscribe, change?.nonce], [['81'], ['80'], ''])
  assert.deepEqual(istiod.log, [])
})

test('a cluster with a mistake is blocked, its version before serves no more, the others go on, and the nack names every issue', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  istiod.put(clusterWithMistake('a'), edsCluster('c'), clusterWithMistake('d'))
  istiod.push({ clusters: ['a', 'c', 'd'] })
  await calm(agent)
  assert.deepEqual(agent.names('cluster'), ['a', 'b', 'c', 'd'])
  const problem = 'connect_timeout: a duration may not be negative'
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => agent.tables.get().cluster(name)?.blocked),
    [problem, undefined, undefined, problem],
  )
  assert.deepEqual(istiod.log, [`ADS:cluster: ACK ERROR a: ${problem}; d: ${problem}`])
})

test('what is blocked is named in every nack of a push that holds it, is blocked after a start from disk, and is not asked for again', async () => {
  const istiod = mesh()
  istiod.put(clusterWithMistake('a'))
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { refusedRetryMs: 1_000 })
  await calm(agent)
  await agent.clock.advance(3_600_000)
  assert.equal(transport.sent.filter((r) => r.kind === 'cluster' && r.nonce === '').length, 1)
  istiod.log.length = 0
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(istiod.log, ['ADS:cluster: ACK ERROR a: connect_timeout: a duration may not be negative'])
  await agent[Symbol.asyncDispose]()
  istiod.refuse.push(...Array.from({ length: 100 }, () => ENDINGS.notReady))
  await using next = new SyncedAgent(istiod.transport(), { before: agent })
  assert.deepEqual(
    [
      next.tables.get().cluster('a')?.blocked !== undefined,
      next.applier.rejected.map((r) => [r.kind, r.name, r.blocked]),
    ],
    [true, [['cluster', 'a', true]]],
  )
  istiod.refuse.length = 0
})

test('bytes that are no resource leave its last good version in force, and the others go on', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  istiod.put(brokenCluster('a'), edsCluster('c'), brokenCluster('d'))
  istiod.push({ clusters: ['a', 'c', 'd'] })
  await calm(agent)
  assert.deepEqual(agent.names('cluster'), ['a', 'b', 'c'])
  assert.equal(agent.tables.get().cluster('a')?.blocked, undefined)
  assert.match(istiod.log.join(), /^ADS:cluster: ACK ERROR a: : cannot be read: .*; d: : cannot be read: /)
})

test('istiod does not send a refused resource again: a name is given up and asked for anew, in two messages, until it decodes', async () => {
  const istiod = mesh()
  istiod.put(brokenTable('80'))
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { refusedRetryMs: 30_000 })
  await calm(agent)
  assert.deepEqual([agent.names('route'), agent.applier.rejected.map((r) => r.name)], [[], ['80']])
  // Mended, but by nothing that istiod pushes for.
  istiod.put(table('80', 'a'))
  await agent.clock.advance(22_000)
  assert.deepEqual(agent.names('route'), [])
  await agent.clock.advance(1_000)
  assert.deepEqual([agent.names('route'), agent.applier.rejected], [['80'], []])
  assert.deepEqual(
    transport.sent.filter((r) => r.kind === 'route' && r.nonce === '').map((r) => [r.subscribe, r.unsubscribe]),
    [
      [['80'], []],
      [[], ['80']],
      [['80'], []],
    ],
  )
  assert.equal(istiod.log.filter((l) => !l.includes('ACK ERROR')).join(), '')
  await agent.clock.advance(3_600_000)
  assert.equal(
    transport.sent.filter((r) => r.kind === 'route' && r.unsubscribe.length > 0).length,
    1,
    'it is asked for no more',
  )
})

test('a refused cluster is asked for with an explicit *, which brings everything and the endpoints of all; with each refusal the wait doubles', async () => {
  const istiod = mesh()
  istiod.put(brokenCluster('d'))
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { refusedRetryMs: 10_000, refusedRetryMaxMs: 40_000 })
  await calm(agent)
  const asked = (): number => transport.sent.filter((r) => r.kind === 'cluster' && r.subscribe.includes('*')).length
  const { generation } = agent.applier
  const counts: number[] = []
  for (let i = 0; i < 12; i++) {
    await agent.clock.advance(10_000)
    counts.push(asked())
  }
  // Waits of 7.5, 15, 30, 30 s: half of the full time, and half of the other half by chance.
  assert.deepEqual(counts, [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5])
  assert.equal(agent.applier.generation, generation, 'the good ones are the same and are not applied again')
  istiod.put(edsCluster('d'))
  await agent.clock.advance(40_000)
  assert.deepEqual(agent.names('cluster'), ['a', 'b', 'd'])
  assert.equal(istiod.log.filter((l) => !l.includes('ACK ERROR')).join(), '')
})

test('a refused resource that is gone is not asked for any more', async () => {
  const istiod = mesh()
  istiod.put(brokenCluster('d'))
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { refusedRetryMs: 10_000 })
  await calm(agent)
  istiod.drop('cluster', 'd')
  istiod.push({ clusters: ['d'] })
  await agent.clock.advance(600_000)
  assert.deepEqual(agent.applier.rejected, [])
  assert.equal(transport.sent.filter((r) => r.subscribe.includes('*')).length, 0)
})

test('two pushes before the first is answered: each nonce is acknowledged once, in order', async () => {
  const istiod = mesh()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport)
  await calm(agent)
  const before = transport.sent.length
  istiod.pushAll()
  istiod.put(edsCluster('c'))
  istiod.push({ clusters: ['c'] })
  await calm(agent)
  const acks = transport.sent
    .slice(before)
    .filter((r) => r.nonce !== '')
    .map((r) => Number(r.nonce.slice(-8)))
  assert.deepEqual(
    acks,
    acks.toSorted((a, b) => a - b),
  )
  assert.equal(new Set(acks).size, acks.length)
  assert.deepEqual(agent.names('cluster'), ['a', 'b', 'c'])
})

test('an acknowledgement that a newer push has overtaken is ignored by istiod, and with it whatever it says: names are asked for apart from it', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  istiod.put(httpListener('m', '81', { port: 8081 }), table('81', 'b'), edsCluster('c'), load('c', '10.0.0.3'))
  istiod.pushAll()
  istiod.pushAll()
  await calm(agent)
  assert.ok(istiod.expired > 0, 'nothing was overtaken')
  assert.deepEqual(
    [agent.names('route'), agent.names('endpoint'), agent.synced, istiod.log],
    [['80', '81'], ['a', 'b', 'c'], true, []],
  )
})

test('the same content in other bytes (maps in another order) is no change', async () => {
  const istiod = mesh()
  const entry = (host: string, ip: string): Buffer => {
    const info = Buffer.concat([Buffer.from([0x0a, ip.length]), Buffer.from(ip)])
    const inner = Buffer.concat([
      Buffer.from([0x0a, host.length]),
      Buffer.from(host),
      Buffer.from([0x12, info.length]),
      info,
    ])
    return Buffer.concat([Buffer.from([0x0a, inner.length]), inner])
  }
  const [one, two] = [entry('a.svc', '1.1.1.1'), entry('b.svc', '2.2.2.2')]
  istiod.put({ kind: 'nameTable', name: '', bytes: Buffer.concat([one, two]) })
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  const [tables, { generation }] = [agent.tables.get(), agent.applier]
  istiod.put({ kind: 'nameTable', name: '', bytes: Buffer.concat([two, one]) })
  istiod.pushAll()
  await calm(agent)
  assert.equal(agent.applier.generation, generation)
  assert.equal(agent.tables.get(), tables)
})
