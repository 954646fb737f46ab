/** istiod's habits (istio pilot/pkg/xds; what was seen on the wire), one by one, and what the agent makes of each. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../core/log.ts'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { ENDINGS, FakeIstiod } from '../../helpers/control-plane/fake-istiod.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { settle } from '../../helpers/sim-clock.ts'
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
import { testCa } from '../../helpers/test-ca.ts'

function mesh(): FakeIstiod {
  const istiod = new FakeIstiod()
  istiod.put(
    edsCluster('a'),
    edsCluster('b'),
    load('a', '10.0.0.1'),
    load('b', '10.0.0.2'),
    httpListener('l', '80'),
    table('80', 'a', 'b'),
  )
  return istiod
}
/** Until nothing moves any more. */
async function calm(agent: SyncedAgent): Promise<void> {
  for (let i = 0; i < 12; i++) await settle()
  await agent.clock.advance(0)
}

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

const rbac = (path: string): object => ({
  '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
  rules: {
    action: 'DENY',
    policies: { p: { permissions: [{ url_path: { path: { exact: path } } }], principals: [{ any: true }] } },
  },
})
const extension = (name: string, typed_config: object): ReturnType<typeof sample> =>
  sample(
    JSON.parse(JSON.stringify({ '@type': TYPE_URLS.extension, name, typed_config })) as Parameters<typeof sample>[0],
  )
const later = (name: string): object => ({
  name,
  config_discovery: {
    config_source: { ads: {} },
    type_urls: ['type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC'],
  },
})
const filtersOf = (agent: SyncedAgent, name: string): unknown[] => {
  const codec = agent.tables.get().listeners.get(name)?.filterChains[0]?.codec
  return codec?.kind === 'http' ? codec.http.filters.map((f) => f.kind) : []
}

test('a filter whose configuration comes by itself (ECDS) lets nobody in until it has come, and works when it has', async () => {
  const istiod = mesh()
  istiod.put(httpListener('in', '80', { direction: 'INBOUND', filters: [later('shop.policy')] }))
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport)
  await calm(agent)
  assert.deepEqual(
    transport.sent.filter((r) => r.kind === 'extension').map((r) => r.subscribe),
    [['shop.policy']],
  )
  assert.deepEqual([filtersOf(agent, 'in'), agent.synced], [['blocked'], false])
  await agent.clock.advance(15_000)
  assert.equal(agent.synced, true, 'it is waited for as Envoy does')
  istiod.put(extension('shop.policy', rbac('/secret')))
  istiod.pushAll()
  await calm(agent)
  const before = agent.tables.get().listeners.get('in')
  assert.deepEqual(filtersOf(agent, 'in'), ['rbac'])
  istiod.pushAll()
  await calm(agent)
  assert.equal(agent.tables.get().listeners.get('in'), before, 'nothing changed, no connection is disturbed')
  istiod.put(extension('shop.policy', rbac('/other')))
  istiod.pushAll()
  await calm(agent)
  assert.notEqual(agent.tables.get().listeners.get('in'), before)
})

test('ECDS is never removed by istiod: what no listener names any more is forgotten here', async () => {
  const istiod = mesh()
  istiod.put(
    httpListener('in', '80', { direction: 'INBOUND', filters: [later('shop.policy')] }),
    extension('shop.policy', rbac('/secret')),
  )
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.deepEqual([agent.names('extension'), agent.synced], [['shop.policy'], true])
  istiod.put(httpListener('in', '80', { direction: 'INBOUND' }))
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual([agent.names('extension'), istiod.log], [[], []])
})

test('an extension with a mistake blocks the filter that it configures, as one of another type than the listener allows does', async () => {
  const istiod = mesh()
  istiod.put(
    httpListener('in', '80', { direction: 'INBOUND', filters: [later('shop.policy')] }),
    extension('shop.policy', rbac('/secret')),
  )
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  istiod.put(
    extension('shop.policy', {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault',
      abort: { http_status: 999, percentage: { numerator: 100 } },
    }),
  )
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(
    [filtersOf(agent, 'in'), agent.applier.rejected.map((r) => `${r.kind} ${r.name}`)],
    [['blocked'], ['extension shop.policy']],
  )
  istiod.put(
    extension('shop.policy', { '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault' }),
  )
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(filtersOf(agent, 'in'), ['blocked'])
})

test('names (NDS) are asked for only where DNS is served; a table of an earlier run serves until the control plane is heard of, and is gone then', async () => {
  const istiod = mesh()
  istiod.put({
    ...sample({ '@type': TYPE_URLS.nameTable, table: { 'a.shop.svc.cluster.local': { ips: ['240.240.0.1'] } } }),
    name: '',
  })
  await using served = new SyncedAgent(istiod.transport())
  await calm(served)
  await served[Symbol.asyncDispose]()
  assert.deepEqual([served.names('nameTable'), served.applier.heard.has('nameTable')], [[''], true])

  const transport = istiod.transport()
  await using off = new SyncedAgent(transport, { before: served, names: false })
  assert.equal(off.tables.get().names?.size, 1)
  await calm(off)
  assert.deepEqual(
    [off.synced, transport.sent.filter((r) => r.kind === 'nameTable'), off.names('nameTable'), off.tables.get().names],
    [true, [], [], undefined],
  )
  const { generation } = off.applier
  istiod.pushAll()
  await calm(off)
  assert.deepEqual([off.names('nameTable'), off.applier.generation], [[], generation], 'dropped once')
  await off[Symbol.asyncDispose]()

  await using again = new SyncedAgent(istiod.transport(), { before: off })
  assert.deepEqual(
    [again.tables.get().stale, again.applier.heard.has('cluster'), again.applier.heard.has('nameTable')],
    [true, true, false],
    'the first table is still to come',
  )
  await calm(again)
  assert.deepEqual([again.applier.heard.has('nameTable'), again.tables.get().names?.size], [true, 1])
})

test('trust bundles (PCDS) are asked for only when agent.yaml says so: istiod would show the kind as never sent', async () => {
  const istiod = mesh()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { trustBundle: false })
  await calm(agent)
  assert.deepEqual([agent.synced, transport.sent.filter((r) => r.kind === 'proxyConfig')], [true, []])
})

test('trust bundles (PCDS) come only from an istiod with several roots; without one nothing is waited for', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.deepEqual([agent.synced, agent.names('proxyConfig')], [true, []])
  istiod.multiRoot = true
  const { rootsPem } = testCa()
  istiod.put({ ...sample({ '@type': TYPE_URLS.proxyConfig, ca_certificates_pem: [rootsPem] }), name: '' })
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(agent.names('proxyConfig'), [''])
  istiod.put({
    ...sample({ '@type': TYPE_URLS.proxyConfig, ca_certificates_pem: [rootsPem, 'no certificate'] }),
    name: '',
  })
  istiod.pushAll()
  await calm(agent)
  assert.match(istiod.log.at(-1) ?? '', /ca_certificates_pem\[1\]: is no certificate/)
})

/** Lines that the agent logged, as `level evt`. */
function logged(): { readonly lines: string[]; readonly log: ReturnType<typeof createLog> } {
  const lines: string[] = []
  return {
    lines,
    log: createLog('info', {
      write: (line) => {
        const { level, evt } = JSON.parse(line) as { level: string; evt: string }
        lines.push(`${level} ${evt}`)
      },
    }),
  }
}

test('the age limit of connections (30 min) is the normal end of a stream: no warning, no problem, the next stream within a second', async () => {
  const istiod = mesh()
  const { lines, log } = logged()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { log })
  await calm(agent)
  await agent.clock.advance(1_800_000)
  istiod.end(ENDINGS.dropped)
  await calm(agent)
  assert.deepEqual([agent.sync.link.state, agent.sync.link.error], ['waiting', undefined])
  await agent.clock.advance(1_000)
  assert.deepEqual(
    [agent.sync.link.state, transport.opened, lines.filter((l) => l.startsWith('warn'))],
    ['connected', 2, []],
  )
})

test('a stream that is cut soon after it came up, and one that never came up, are warnings', async () => {
  const istiod = mesh()
  const { lines, log } = logged()
  await using agent = new SyncedAgent(istiod.transport(), { log })
  await calm(agent)
  istiod.end(ENDINGS.dropped)
  istiod.refuse.push(ENDINGS.notReady)
  await agent.clock.advance(60_000)
  assert.deepEqual(
    [agent.sync.link.state, lines.filter((l) => l.startsWith('warn'))],
    ['connected', ['warn control.lost', 'warn control.lost']],
  )
})

test('a link that is cut again and again: the waits begin anew after each stream that stood for a second; what breaks at once is opened more and more seldom', async () => {
  /** How many streams were opened, half a second (the first wait at most) after each of eight cuts. */
  const opened = async (stoodMs: number): Promise<number> => {
    const istiod = mesh()
    const transport = istiod.transport()
    await using agent = new SyncedAgent(transport, { random: { float: () => 0.99 } })
    await calm(agent)
    for (let i = 0; i < 8; i++) {
      await agent.clock.advance(stoodMs)
      istiod.end(ENDINGS.dropped)
      await calm(agent)
      await agent.clock.advance(500)
      await calm(agent)
    }
    return transport.opened
  }
  assert.equal(await opened(1_100), 9)
  const few = await opened(0)
  assert.ok(few < 6, `${few} streams`)
})

test('a region that returns: "request rate limit exceeded" is waited out, at least a second each time', async () => {
  const istiod = mesh()
  istiod.refuse.push(ENDINGS.rate, ENDINGS.rate)
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { random: { float: () => 0 } })
  await calm(agent)
  assert.deepEqual([agent.sync.link.error?.code, transport.opened], ['MESH_CONTROL_SLOW_DOWN', 1])
  await agent.clock.advance(999)
  assert.equal(transport.opened, 1)
  await agent.clock.advance(1)
  assert.equal(transport.opened, 2)
  await agent.clock.advance(1_000)
  assert.deepEqual([transport.opened, agent.synced], [3, true])
})

for (const [ending, code] of [
  ['noIdentity', 'MESH_CONTROL_UNAUTHENTICATED'],
  ['otherIdentity', 'MESH_CONTROL_FORBIDDEN'],
  ['noGroup', 'MESH_CONTROL_REFUSED'],
  ['missingNode', 'MESH_CONTROL_REFUSED'],
] as const) {
  test(`${ending}: the agent says ${code}, serves on and tries again at a slow pace`, async () => {
    const istiod = mesh()
    const transport = istiod.transport()
    await using agent = new SyncedAgent(transport)
    await calm(agent)
    istiod.refuse.push(...Array.from({ length: 40 }, () => ENDINGS[ending]))
    istiod.end(ENDINGS.dropped)
    await agent.clock.advance(600_000)
    assert.equal(agent.sync.link.error?.code, code)
    assert.deepEqual(agent.names('cluster'), ['a', 'b'])
    assert.ok(transport.opened > 5 && transport.opened < 20, `${transport.opened} tries in ten minutes`)
  })
}

test('an istiod that has restarted with a broken registry does not empty a site: clusters, endpoints and routes serve on until the time is over', async () => {
  const istiod = mesh()
  const services = Array.from({ length: 20 }, (_, i) => `s${i}`)
  istiod.put(...services.flatMap((s) => [edsCluster(s), load(s, '10.1.0.1')]), table('80', 'a', ...services))
  await using agent = new SyncedAgent(istiod.transport(), { shrinkHoldMs: 120_000 })
  await calm(agent)
  istiod.restart()
  istiod.drop('cluster', ...services)
  istiod.drop('endpoint', ...services)
  istiod.put(table('80', 'a'), httpListener('new', '80', { direction: 'INBOUND', port: 8081 }))
  await agent.clock.advance(2_000)
  assert.deepEqual(
    [agent.sync.link.state, agent.sync.link.held?.clusters, agent.names('cluster').length],
    ['connected', 20, 22],
  )
  assert.equal(agent.tables.get().load('s7')?.localities.length, 1, 'its endpoints serve on')
  assert.equal(agent.tables.get().routes('80')?.virtualHost('s7')?.name, 's7', 'and so does its route')
  assert.ok(agent.tables.get().listeners.has('new'), 'what is new counts at once')
  assert.equal(agent.metrics.total('mesh_control_held_clusters'), 20)
  await agent.clock.advance(120_000)
  assert.deepEqual(
    [agent.names('cluster'), agent.names('endpoint'), agent.sync.link.held],
    [['a', 'b'], ['a', 'b'], undefined],
  )
  assert.equal(agent.tables.get().routes('80')?.virtualHost('s7'), undefined)
  assert.deepEqual(istiod.log, [])
})

test('what is refused when its time has come is asked for anew, too', async () => {
  const istiod = mesh()
  const services = Array.from({ length: 20 }, (_, i) => `s${i}`)
  istiod.put(...services.map((s) => edsCluster(s)), table('80', 'a', ...services))
  await using agent = new SyncedAgent(istiod.transport(), { shrinkHoldMs: 60_000, refusedRetryMs: 10_000 })
  await calm(agent)
  istiod.restart()
  istiod.drop('cluster', ...services)
  istiod.put(brokenTable('80'))
  await agent.clock.advance(2_000)
  istiod.put(table('80', 'b'))
  await agent.clock.advance(59_000)
  assert.deepEqual([agent.names('cluster'), agent.applier.rejected.map((r) => r.name)], [['a', 'b'], ['80']])
  await agent.clock.advance(10_000)
  assert.deepEqual([agent.applier.rejected, agent.tables.get().routes('80')?.virtualHost('b')?.name], [[], 'b'])
})

for (const flavour of ['delta', 'sotw'] as const) {
  test(`a registry that comes back within the time: nothing was ever gone (${flavour})`, async () => {
    const istiod = mesh()
    const services = Array.from({ length: 20 }, (_, i) => `s${i}`)
    const all = [...services.flatMap((s) => [edsCluster(s), load(s, '10.1.0.1')]), table('80', 'a', ...services)]
    istiod.put(...all)
    await using agent = new SyncedAgent(istiod.transport(flavour), { shrinkHoldMs: 120_000 })
    await calm(agent)
    const { generation } = agent.applier
    istiod.restart()
    istiod.drop('cluster', ...services)
    istiod.drop('endpoint', ...services)
    istiod.put(table('80', 'a'))
    await agent.clock.advance(2_000)
    assert.equal(agent.sync.link.held?.clusters, 20)
    istiod.put(...all)
    istiod.push({ clusters: services })
    await agent.clock.advance(300_000)
    assert.deepEqual(
      [agent.sync.link.held, agent.applier.generation, agent.names('endpoint').length],
      [undefined, generation, 22],
    )
    assert.equal(agent.tables.get().routes('80')?.virtualHost('s7')?.name, 's7')
  })
}
