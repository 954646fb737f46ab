import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import { Metrics } from '../../../core/metrics.ts'
import { silentLog } from '../../../core/log.ts'
import { openDoor, type DoorLimits } from '../../../hub/api/door.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { CLUSTER } from '../../../hub/source/resources.ts'
import { DeltaStream, join, testHubWithRevision } from '../start-hub.ts'

async function made(t: { after(fn: () => Promise<void>): void }, limits: Partial<DoorLimits> = {}) {
  const [clock, metrics] = [new SimClock(), new Metrics()]
  const entered: net.Socket[] = []
  const door = await openDoor({
    name: 'grpc',
    listen: '127.0.0.1:0',
    limits: {
      maxConnections: 100,
      maxConnectionsPerDevice: 100,
      maxStrangers: 100,
      maxStrangersPerAddress: 100,
      strangerMs: 10_000,
      maxStrangerBytes: 100_000,
      ...limits,
    },
    clock,
    log: silentLog,
    metrics,
    enter: (socket) => {
      entered.push(socket)
    },
  })
  const opened: net.Socket[] = []
  t.after(async () => {
    for (const socket of opened) socket.destroy()
    await door[Symbol.asyncDispose]()
  })
  const come = async (from = '127.0.0.1'): Promise<net.Socket> => {
    const socket = net.connect({ host: '127.0.0.1', port: door.port, localAddress: from })
    socket.on('error', () => {})
    socket.resume()
    opened.push(socket)
    await once(socket, 'connect')
    return socket
  }
  const count = async (wanted: number): Promise<void> => {
    while (metrics.total('mesh_hub_connections') !== wanted)
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
  }
  return { door, clock, metrics, entered, come, count }
}
const peerOf = (socket: net.Socket): string => `${socket.localAddress}:${socket.localPort}`

test('who proves nothing in time is closed; who has proved itself stays', async (t) => {
  const m = await made(t)
  const [stranger, device] = [await m.come(), await m.come()]
  await m.count(2)
  m.door.proved(peerOf(device), undefined)
  m.door.proved('10.0.0.1:1', undefined)
  assert.equal(m.metrics.total('mesh_hub_strangers'), 1)
  const closed = once(stranger, 'close')
  await m.clock.advance(10_000)
  await closed
  await m.count(1)
  assert.equal(m.metrics.total('mesh_hub_connections_refused_total', { why: 'late' }), 1)
  device.destroy()
  await m.count(0)
  assert.equal(m.metrics.total('mesh_hub_strangers'), 0)
})

test('strangers are bounded: of all, of one address; devices that are known are not in their way', async (t) => {
  const m = await made(t, { maxStrangers: 3, maxStrangersPerAddress: 2 })
  const [a, b] = [await m.come(), await m.come()]
  await m.count(2)
  const third = await m.come()
  await once(third, 'close')
  assert.equal(m.metrics.total('mesh_hub_connections_refused_total', { why: 'address' }), 1)
  await m.come('127.0.0.2')
  await m.count(3)
  await once(await m.come('127.0.0.3'), 'close')
  assert.equal(m.metrics.total('mesh_hub_connections_refused_total', { why: 'strangers' }), 1)
  m.door.proved(peerOf(a), undefined)
  m.door.proved(peerOf(b), undefined)
  await m.come()
  await m.count(4)
})

test('connections in all are bounded', async (t) => {
  const m = await made(t, { maxConnections: 1 })
  const first = await m.come()
  await m.count(1)
  m.door.proved(peerOf(first), undefined)
  await once(await m.come(), 'close')
  assert.equal(m.metrics.total('mesh_hub_connections_refused_total', { why: 'connections' }), 1)
})

test('a place is given back: of an address when one of its strangers has proved itself, of a device when its connection ends', async (t) => {
  const m = await made(t, { maxStrangersPerAddress: 1, maxConnectionsPerDevice: 1 })
  const first = await m.come()
  await m.count(1)
  assert.equal(m.door.proved(peerOf(first), 'gw-1'), true)
  assert.equal(
    m.door.proved(peerOf(first), 'gw-1'),
    true,
    'one that has proved itself is counted once, however many calls come',
  )
  const second = await m.come()
  await m.count(2)
  assert.equal(m.door.proved(peerOf(second), 'gw-1'), false)
  first.destroy()
  await m.count(1)
  assert.equal(m.door.proved(peerOf(second), 'gw-1'), true)
})

test('what a stranger has sent is looked at again and again, and the end of the port is the end of its connections', async (t) => {
  const m = await made(t, { maxStrangerBytes: 1_000 })
  const [slow, device] = [await m.come(), await m.come()]
  await m.count(2)
  assert.equal(m.door.proved(peerOf(device), undefined), true)
  const arrived = async (bytes: number): Promise<void> => {
    while (m.entered[0]!.bytesRead < bytes)
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
  }
  for (const socket of m.entered) socket.resume()
  slow.write(Buffer.alloc(900))
  await arrived(900)
  await m.clock.advance(200)
  assert.equal(m.metrics.total('mesh_hub_strangers'), 1)
  const [closed, ended] = [once(slow, 'close'), once(device, 'close')]
  slow.write(Buffer.alloc(900))
  await arrived(1_800)
  await m.clock.advance(200)
  await closed
  await m.door[Symbol.asyncDispose]()
  await ended
})

test('at a hub: TLS strangers are closed in time while a device keeps its stream', async (t) => {
  const h = await testHubWithRevision(t, 'limits: {strangerMs: 300}\n')
  const stream = new DeltaStream(
    h.client(
      await join(h, (await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'edge' })).token),
    ),
  )
  stream.ask({ node: { id: 'edge' }, typeUrl: CLUSTER })
  await stream.next()
  const strangers = Array.from({ length: 20 }, (_, i) =>
    i % 2
      ? net.connect(h.hub.port, '127.0.0.1')
      : tls.connect({ host: '127.0.0.1', port: h.hub.port, rejectUnauthorized: false, ALPNProtocols: ['h2'] }),
  )
  await Promise.all(
    strangers.map((socket) => {
      socket.on('error', () => {})
      socket.resume()
      return once(socket, 'close')
    }),
  )
  while (h.metrics.total('mesh_hub_strangers') > 0)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  stream.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
  assert.deepEqual((await stream.next()).removedResources, ['none'])
})

test('one device has so many connections and streams, and the others of its identity have theirs', async (t) => {
  const h = await testHubWithRevision(
    t,
    'limits: {maxStreamsPerDevice: 2, maxConnectionsPerDevice: 3, strangerMs: 300}\n',
  )
  const { token } = await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-*' })
  const [greedy, modest] = [await join(h, token), await join(h, token)]
  const open = (shown: { keyPem: string; chainPem: string }, id: string): DeltaStream => {
    const stream = new DeltaStream(h.client(shown, h.hub.port, { 'grpc.use_local_subchannel_pool': 1 }))
    stream.ask({ node: { id }, typeUrl: CLUSTER })
    return stream
  }
  const streams = [open(greedy, 'gw-1'), open(greedy, 'gw-1')]
  for (const stream of streams) await stream.next()
  assert.match((await open(greedy, 'gw-1').error()).details, /MESH_CONTROL_SLOW_DOWN.*maxStreamsPerDevice/)
  assert.match((await open(greedy, 'gw-1').error()).details, /MESH_CONTROL_SLOW_DOWN.*maxConnectionsPerDevice/)
  await open(modest, 'gw-2').next()
  while (h.metrics.total('mesh_hub_strangers') > 0)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  for (const stream of streams) {
    stream.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
    assert.deepEqual((await stream.next()).removedResources, ['none'])
  }
})

test(
  'at a hub: halves of large messages from strangers are not gathered; a device sends large ones',
  { timeout: 20_000 },
  async (t) => {
    const h = await testHubWithRevision(t)
    const half = Buffer.alloc(3 * 1024 * 1024)
    const head = Buffer.from([0, 0, 0x3f, 0xff, 0xff]) // a message of 4 MiB less one byte
    const strangers = Array.from({ length: 3 }, () =>
      http2.connect(`https://127.0.0.1:${h.hub.port}`, { rejectUnauthorized: false }),
    )
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    for (const stranger of strangers) {
      stranger.on('error', () => {})
      for (let i = 0; i < 30; i++) {
        const call = stranger.request({
          ':method': 'POST',
          ':path': '/istio.v1.auth.IstioCertificateService/CreateCertificate',
          'content-type': 'application/grpc',
          te: 'trailers',
        })
        call.on('error', () => {})
        call.write(head)
        call.write(half)
      }
    }
    while (strangers.some((stranger) => !stranger.closed && !stranger.destroyed)) {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
    assert.equal(h.metrics.total('mesh_hub_connections_refused_total', { why: 'bytes' }), 3)
    assert.ok(most < 100 * 1024 * 1024, `${most} bytes of 270 MiB`)
    const stream = new DeltaStream(
      h.client(
        await join(h, (await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'edge' })).token),
      ),
    )
    stream.ask({
      node: { id: 'edge' },
      typeUrl: CLUSTER,
      initialResourceVersions: Object.fromEntries(
        Array.from({ length: 20_000 }, (_, i) => [`cluster-with-a-long-name-${i}`, 'x'.repeat(16)]),
      ),
    })
    assert.equal((await stream.next()).removedResources.length, 20_000)
  },
)
