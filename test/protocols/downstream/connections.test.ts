/**
 * A connection is known from accept to its end: counted, bounded, and reached by drain, cut and configuration while its
 * first bytes are awaited.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { Connections, type TrackedConnection } from '../../../protocols/downstream/connections.ts'
import type { Duplex } from 'node:stream'
import { ENDED } from '../../../protocols/connection.ts'

import { settle } from '../../helpers/sim-clock.ts'
import { denyFrom, failures, listener, PORT, rig, tables, tcpChain } from './data-path-rig.ts'

const NOW = { monotonicMs: 1_000, wallMs: Date.UTC(2026, 0, 2) }

/** Waits for the client's first bytes. */
const SNIFFING = { sniff: { tls: true, http: true, timeoutMs: 0, onTimeout: 'close' as const } }
const acceptedFrom = (host: string): Parameters<Connections['accept']>[0] => ({
  local: { host: '127.0.0.1', port: 1 },
  remote: { host, port: 2 },
  originalDst: undefined,
  stream: new PassThrough(),
})
const gauges = (r: Awaited<ReturnType<typeof rig>>): number[] =>
  ['open', 'starting', 'sources'].map((g) => r.metrics.total(`mesh_connections_${g}`))

test('1,500 silent connections against a limit of 50: 50 are held, the others are closed at once', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)), { maxConnections: 50 })
  const clients: Duplex[] = []
  for (let i = 0; i < 1500; i++)
    clients.push((await r.network.dial(PORT, new AbortController().signal)).stream.on('error', () => {}).resume())
  await settle()
  assert.equal(clients.filter((c) => !c.destroyed).length, 50)
  assert.deepEqual(
    [
      r.path.connections,
      r.path.listeners()[0]!.connections,
      failures(r, 'MESH_LISTENER_FULL'),
      r.metrics.total('mesh_connections_limit_met_total', { limit: 'listener' }),
    ],
    [50, 50, 1450, 1450],
  )
  for (const c of clients) c.destroy()
  await settle()
  assert.deepEqual(gauges(r), [0, 0, 0])
  await r.dial()
  assert.equal(r.path.connections, 1)
})
test('each listener has its own limit, and all together have one', async () => {
  const other = { host: PORT.host, port: 7001 }
  const r = await rig(tables(listener([tcpChain()]), listener([tcpChain()], { name: 'two', port: other.port })), {
    maxConnections: 2,
    maxConnectionsTotal: 3,
  })
  const open = async (to: typeof PORT): Promise<boolean> => {
    const { stream } = await r.network.dial(to, new AbortController().signal)
    stream.on('error', () => {}).resume()
    await settle()
    return !stream.destroyed
  }
  assert.deepEqual([await open(PORT), await open(PORT), await open(PORT)], [true, true, false])
  assert.deepEqual([await open(other), await open(other)], [true, false])
  assert.deepEqual(
    r.path.listeners().map((l) => l.connections),
    [2, 1],
  )
  assert.deepEqual(
    ['listener', 'total'].map((limit) => r.metrics.total('mesh_connections_limit_met_total', { limit })),
    [1, 1],
  )
})
test('one source address cannot have everything', async () => {
  const r = await rig(tables(listener([tcpChain()])), { maxConnectionsPerSource: 2 })
  const greedy = [await r.dial('10.0.0.1'), await r.dial('10.0.0.1'), await r.dial('10.0.0.1')]
  assert.deepEqual(
    greedy.map((c) => c.destroyed),
    [false, false, true],
  )
  assert.equal((await r.dial('10.0.0.2')).destroyed, false)
  assert.equal(r.metrics.total('mesh_connections_limit_met_total', { limit: 'source' }), 1)
  greedy[0]!.destroy()
  await settle()
  assert.equal((await r.dial('10.0.0.1')).destroyed, false)
})
for (const { limit, limits } of [
  { limit: 'total', limits: { maxConnections: 99, maxConnectionsTotal: 64, maxConnectionsPerSource: 64 } },
  { limit: 'listener', limits: { maxConnections: 64, maxConnectionsTotal: 99, maxConnectionsPerSource: 64 } },
]) {
  const opened = (all: Connections, host: string, tries: number): number => {
    let count = 0
    for (let i = 0; i < tries; i++)
      try {
        all.accept(acceptedFrom(host), listener([tcpChain()], SNIFFING), NOW)
        count++
      } catch (err) {
        assert.equal((err as { code?: string }).code, 'MESH_LISTENER_FULL')
      }
    return count
  }
  test(`a few sources cannot have all of a limit (${limit}): an eighth is for who has less than an equal share`, () => {
    const met: string[] = []
    const all = new Connections(limits, (what) => met.push(what))
    const greedy = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((host) => opened(all, host, 30))
    assert.deepEqual(greedy, [30, 26, 8], 'the third has less than its share')
    assert.deepEqual([opened(all, '10.0.0.1', 5), opened(all, '10.0.0.4', 5)], [0, 0], 'there is an end')
    assert.deepEqual([...new Set(met)], [limit])
  })
  test(`a source that is alone can have all of a limit (${limit})`, () => {
    const all = new Connections(limits, () => {})
    assert.equal(opened(all, '10.0.0.1', 99), 64)
  })
}
test('when memory is short a source that has an eighth of what it may have gets no more, and others do', () => {
  const memory = { isFull: false }
  const met: string[] = []
  const all = new Connections(
    { maxConnections: 99, maxConnectionsTotal: 99, maxConnectionsPerSource: 16 },
    (limit) => met.push(limit),
    () => memory.isFull,
  )
  const come = (host: string): TrackedConnection =>
    all.accept(acceptedFrom(host), listener([tcpChain()], SNIFFING), NOW)
  const [first] = [come('10.0.0.1'), come('10.0.0.1')]
  memory.isFull = true
  assert.throws(() => come('10.0.0.1'), { code: 'MESH_LISTENER_FULL', message: /memory.*2 connections.*10\.0\.0\.1/ })
  assert.deepEqual(met, ['memory'])
  for (let i = 0; i < 2; i++) come('10.0.0.2')
  first[Symbol.dispose]()
  come('10.0.0.1')
  memory.isFull = false
  come('10.0.0.1')
  assert.deepEqual([met.length, all.size], [1, 5])
})
test('who has only just come is not sent away by a drain before its first bytes can be there', () => {
  const all = new Connections({ maxConnections: 9, maxConnectionsTotal: 9, maxConnectionsPerSource: 9 }, () => {})
  const come = (bytesRead: number): TrackedConnection =>
    all.accept(
      {
        local: { host: '127.0.0.1', port: 1 },
        remote: { host: '127.0.0.1', port: 2 },
        originalDst: undefined,
        stream: Object.assign(new PassThrough(), { bytesRead }),
      },
      listener([tcpChain()], SNIFFING),
      NOW,
    )
  assert.deepEqual(
    [come(0).hasJustCome(1_000), come(0).hasJustCome(1_249), come(0).hasJustCome(1_250), come(1).hasJustCome(1_000)],
    [true, true, false, false],
  )
})
test('a drain does not wait for a client that says nothing', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)), { drainMs: 30_000, requestHeadMs: 60_000 })
  const client = await r.dial()
  assert.equal(await r.path.drain(), 'drained')
  await settle()
  assert.deepEqual([client.destroyed, r.clock.monotonicMs()], [true, 0])
})
test('a client that stops in the middle of its first bytes holds a drain for drainMs and no longer', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)), { drainMs: 30_000, requestHeadMs: 60_000 })
  const client = await r.dial()
  client.write(Buffer.from([22, 3, 1]))
  await settle()
  const drained = r.path.drain()
  await r.clock.advance(29_999)
  assert.equal(client.destroyed, false)
  await r.clock.advance(1)
  assert.equal(await drained, 'forced')
  assert.deepEqual([client.destroyed, gauges(r)], [true, [0, 0, 0]])
})
test('the end of the agent reaches connections whose first bytes are awaited', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)))
  const client = await r.dial()
  client.write(Buffer.from([22, 3, 1]))
  await settle()
  await r.path[Symbol.asyncDispose]()
  await settle()
  assert.deepEqual([client.destroyed, gauges(r)], [true, [0, 0, 0]])
})
test('who was connected before a policy came and speaks after it is checked by it', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)))
  const client = await r.dial()
  r.current.swap(tables(listener([tcpChain({ policies: [denyFrom('10.0.0.99')] })], SNIFFING)))
  client.write('anything at all')
  await settle()
  assert.deepEqual([client.destroyed, r.served.length, failures(r, 'MESH_PEER_NOT_ALLOWED')], [true, 0, 1])
})
test('who was connected before its listener went is cut off before it speaks', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)))
  const client = await r.dial()
  r.current.swap(tables())
  await settle()
  assert.deepEqual([client.destroyed, gauges(r)], [true, [0, 0, 0]])
})
test('when the listener comes to ask for more while a client is silent, the client is looked at again', async () => {
  const http = tcpChain({
    name: 'http',
    match: { ...tcpChain().match, applicationProtocols: ['http/1.1'] },
    policies: [denyFrom('10.0.0.99')],
  })
  const r = await rig(tables(listener([tcpChain()], SNIFFING)))
  const client = await r.dial()
  r.current.swap(tables(listener([http, tcpChain()], SNIFFING)))
  client.write('GET / HTTP/1.1\r\n')
  await settle()
  assert.deepEqual([client.destroyed, failures(r, 'MESH_PEER_NOT_ALLOWED')], [true, 1])
})
test('gauges tell how many have come to a codec', async () => {
  const r = await rig(tables(listener([tcpChain()], SNIFFING)))
  const [first] = [await r.dial(), await r.dial('10.0.0.98')]
  assert.deepEqual(gauges(r), [2, 2, 2])
  first.write('x')
  await settle()
  assert.deepEqual(gauges(r), [2, 1, 2])
  r.served[0]!.end(ENDED)
  await settle()
  assert.deepEqual(gauges(r), [1, 1, 1])
})
test('a client that does not take the rest of its answer is counted until it is gone', async () => {
  const r = await rig(tables(listener([tcpChain()])))
  const { stream } = await r.network.dial(PORT, new AbortController().signal)
  stream.on('error', () => {})
  await settle()
  const [{ conn, end }] = r.served as [(typeof r.served)[0]]
  conn.stream.write(Buffer.alloc(1_000_000))
  end(ENDED)
  await settle()
  assert.deepEqual(gauges(r), [1, 0, 1])
  await r.clock.advance(31_000)
  assert.deepEqual([stream.destroyed, gauges(r)], [true, [0, 0, 0]])
})
