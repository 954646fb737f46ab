/** Limits for connections, on real sockets in simulated time. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type net from 'node:net'
import { Metrics } from '../../../core/metrics.ts'
import type { ConnectionLimit } from '../../../model/http/connection-limit.ts'
import { ANY_CONNECTION, type FilterChain } from '../../../model/listener.ts'
import { NO_HEADER_CHANGES } from '../../../model/route.ts'
import type { Connection } from '../../../protocols/connection.ts'
import { ConnectionLimits } from '../../../protocols/downstream/connection-limits.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { SocketOrigin, SocketRig } from './socket-rig.ts'

const BUCKET = { maxTokens: 2, tokensPerFill: 1, fillMs: 1_000 }
const rate = (shareKey = ''): ConnectionLimit => ({ kind: 'rate', statPrefix: 's', bucket: BUCKET, shareKey })
const count = (max: number, delayMs = 0): ConnectionLimit => ({ kind: 'count', statPrefix: 's', max, delayMs })
const chain = (limits: readonly ConnectionLimit[]): Pick<FilterChain, 'limits' | 'codec'> => ({
  limits,
  codec: {
    kind: 'tcp',
    tcp: { clusters: [{ name: 'origin', weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined },
  },
})

async function start(limits: readonly ConnectionLimit[]): Promise<{
  readonly rig: SocketRig
  readonly origin: SocketOrigin
  enter(): Promise<net.Socket>
  refused(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}> {
  const origin = await SocketOrigin.listen()
  const rig = await SocketRig.open(chain(limits), { clusters: [origin.cluster()] })
  return {
    rig,
    origin,
    async enter() {
      const before = origin.sockets.length
      const socket = await rig.dial()
      await rig.until('the endpoint is connected', () => origin.sockets.length > before)
      return socket
    },
    async refused() {
      const before = origin.sockets.length
      const socket = await rig.dial()
      let isOver = false
      socket
        .on('close', () => (isOver = true))
        .on('end', () => (isOver = true))
        .resume()
      await rig.until('the connection is closed', () => isOver)
      assert.equal(origin.sockets.length, before)
    },
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]()
      origin[Symbol.dispose]()
    },
  }
}
const read = (rig: SocketRig, name: string): string =>
  rig.metrics
    .text()
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .sort()
    .join(' ')

test('as many connections pass as there are tokens, and more when they have come back', async () => {
  await using held = await start([rate()])
  await held.enter()
  await held.enter()
  await held.refused()
  await held.rig.clock.advance(1_000)
  await held.enter()
  await held.refused()
  assert.equal(
    read(held.rig, 'mesh_rate_limit_total'),
    'mesh_rate_limit_total{prefix="s",result="ok"} 3 mesh_rate_limit_total{prefix="s",result="refused"} 2',
  )
  assert.match(read(held.rig, 'mesh_connections_failed_total'), /code="MESH_RATE_LIMITED"\} 2/)
})

test('limits with one key and the same bucket take from one bucket', async () => {
  await using held = await start([rate('k'), rate('k')])
  await held.enter()
  await held.refused()
})

test('one too many is closed; when one has gone, one may come, also after a push', async () => {
  await using held = await start([count(1)])
  const first = await held.enter()
  await held.refused()
  held.rig.use(chain([count(1)]), { clusters: [held.origin.cluster()] })
  await held.refused()
  first.destroy()
  held.origin.sockets[0]!.destroy()
  await held.rig.until('it is over', () => /mesh_connections_open 0/.test(held.rig.metrics.text()))
  await held.enter()
  assert.match(read(held.rig, 'mesh_connection_limit_total'), /result="ok"\} 2 .*result="refused"\} 2/)
})

test('a connection that a later limit refuses takes no place from others', async () => {
  await using held = await start([count(9), count(1)])
  const first = await held.enter()
  for (let i = 0; i < 20; i++) await held.refused()
  first.destroy()
  held.origin.sockets[0]!.destroy()
  await held.rig.until('it is over', () => /mesh_connections_open 0/.test(held.rig.metrics.text()))
  await held.enter()
})

test('a delayed refusal holds the client until the time is over, and is over when the client has gone', async () => {
  await using held = await start([count(1, 5_000)])
  await held.enter()
  const late = await held.rig.dial()
  let isOver = false
  late
    .on('close', () => (isOver = true))
    .on('end', () => (isOver = true))
    .resume()
  late.write('hello')
  await held.rig.until('it waits', () => /result="refused"\} 1/.test(held.rig.metrics.text()))
  await held.rig.clock.advance(4_900)
  assert.equal(isOver, false)
  await held.rig.clock.advance(200)
  await held.rig.until('it is closed', () => isOver)
  const other = await held.rig.dial()
  await held.rig.until('it waits', () => /result="refused"\} 2/.test(held.rig.metrics.text()))
  other.resetAndDestroy()
  await held.rig.until('one is open', () => /mesh_connections_open 1\b/.test(held.rig.metrics.text()))
  assert.equal(held.origin.sockets.length, 1)
})

test('chains count for themselves, whatever they are called: istiod names those of one port alike', async () => {
  const limits = new ConnectionLimits({ clock: new SimClock(), metrics: new Metrics() })
  const admit = (transportProtocol: string): Promise<Disposable> => {
    const match = { ...ANY_CONNECTION, transportProtocol }
    const of = { name: '0.0.0.0_80', match, tls: undefined, policies: [], ...chain([count(1)]) }
    return limits.admit({ listener: { name: 'l' }, chain: of } as unknown as Connection, {})
  }
  const first = await admit('tls')
  const other = await admit('raw_buffer')
  await assert.rejects(admit('tls'), { code: 'MESH_CONNECTION_LIMIT' })
  first[Symbol.dispose]()
  await admit('tls')
  other[Symbol.dispose]()
})
