/**
 * Clients that do not take their answers, and endpoints that do not take requests, over every codec: inside the memory
 * budget, and others are served.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type net from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Cluster } from '../../../model/cluster.ts'
import type { Codec } from '../../../model/listener.ts'
import type { GarbageWatch } from '../../../core/runtime/garbage-watch.ts'
import { frame, headers, PREFACE } from '../../helpers/raw-h2.ts'
import { cluster, endpoint, GET, manager } from '../http/harness.ts'
import { LOOPBACK, SocketOrigin, SocketRig } from './socket-rig.ts'

const MIB = 1024 * 1024
const BUDGET_BYTES = 2 * MIB
const BIG = Buffer.alloc(8 * MIB, 'x')
const ATTACKER = '127.0.0.66'
const codec: Codec = { kind: 'http', http: manager(undefined, { codec: 'auto' }) }
const SNIFF = { sniff: { tls: false, http: true, timeoutMs: 0, onTimeout: 'close' } } as const
/** Not a byte of a body may come. */
const NO_WINDOW = frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]))
const fields = (method: string, path: string): [string, string][] => [
  [':method', method],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', path],
]

/** `/big` is answered with much, everything else with little; the body of `/slow` is never read. */
async function origin(): Promise<{ port: number } & Disposable> {
  const open = new Set<net.Socket>()
  const server = http
    .createServer((req, res) => {
      if (req.url === '/big') {
        res.end(BIG)
        return
      }
      if (req.url === '/slow') return
      req.resume()
      res.end('little')
    })
    .listen(0, LOOPBACK)
  server.on('connection', (socket) => {
    open.add(socket)
    socket.on('error', () => {})
  })
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.dispose]: () => {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}
/** @returns the status line that a client gets who reads */
async function asked(rig: SocketRig): Promise<string> {
  const client = await rig.dial()
  let got = ''
  client.on('data', (d: Buffer) => {
    got += d.toString('latin1')
  })
  client.write(GET)
  await rig.until('an answer', () => got.includes('\r\n'))
  return got.split('\r\n')[0]!
}
async function settled(rig: SocketRig): Promise<void> {
  let [before, same] = [-1, 0]
  await rig.until(
    'nothing moves any more',
    () => {
      const now =
        rig.metrics.total('mesh_memory_held_bytes') +
        rig.metrics.total('mesh_memory_given_up_total') +
        rig.metrics.total('mesh_http_requests_total')
      same = now === before ? same + 1 : 0
      before = now
      return same > 20
    },
    1,
  )
}

type Stall = { readonly cluster?: Partial<Cluster>; readonly codec?: Codec; attack(rig: SocketRig): Promise<void> }
const many = async (rig: SocketRig, n: number, bytes: Buffer | string): Promise<void> => {
  for (let i = 0; i < n; i++) {
    const socket = await rig.dial({ localAddress: ATTACKER })
    socket.pause()
    socket.write(bytes)
  }
}
const upload = Buffer.concat([Buffer.from('POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n'), BIG])
const STALLS: Readonly<Record<string, Stall>> = {
  'HTTP/1 answers': { attack: (rig) => many(rig, 60, GET.replace('/', '/big')) },
  'HTTP/2 answers': {
    attack: (rig) =>
      many(
        rig,
        2,
        Buffer.concat([
          PREFACE,
          ...Array.from({ length: 60 }, (_, i) => headers(2 * i + 1, fields('GET', '/big'), true)),
        ]),
      ),
  },
  'small HTTP/2 answers': {
    attack: (rig) =>
      many(
        rig,
        8,
        Buffer.concat([
          PREFACE,
          NO_WINDOW,
          ...Array.from({ length: 100 }, (_, i) => headers(2 * i + 1, fields('GET', '/'), true)),
        ]),
      ),
  },
  'HTTP/2 refusals': {
    attack: (rig) =>
      many(
        rig,
        8,
        Buffer.concat([
          PREFACE,
          NO_WINDOW,
          ...Array.from({ length: 100 }, (_, i) => headers(2 * i + 1, fields('GET', 'no-path'), true)),
        ]),
      ),
  },
  'HTTP/1 requests': { attack: (rig) => many(rig, 60, upload) },
  'HTTP/2 requests': {
    attack: (rig) =>
      many(
        rig,
        3,
        Buffer.concat([
          PREFACE,
          ...Array.from({ length: 30 }, (_, i) =>
            Buffer.concat([
              headers(2 * i + 1, fields('POST', '/slow'), false),
              ...Array.from({ length: 4 }, () => frame(0, 0, 2 * i + 1, BIG.subarray(0, 8_000))),
            ]),
          ),
        ]),
      ),
  },
  'requests sent ahead': {
    attack: (rig) => many(rig, 60, `POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n${GET.repeat(3_000)}`),
  },
}
for (const [name, stall] of Object.entries(STALLS)) {
  test(`${name} that nobody takes: the budget holds, the others are served, and nothing stays counted`, async () => {
    using server = await origin()
    await using rig = await SocketRig.open(
      { codec: stall.codec ?? codec },
      {
        clusters: [cluster([endpoint(LOOPBACK, server.port)], stall.cluster)],
        listener: SNIFF,
        budgetBytes: BUDGET_BYTES,
      },
    )
    await stall.attack(rig)
    await settled(rig)
    const held = rig.metrics.total('mesh_stream_waiting_bytes')
    assert.ok(held <= BUDGET_BYTES, `${held} bytes wait`)
    assert.ok(rig.metrics.total('mesh_memory_given_up_total') > 0, 'something went')
    assert.ok(held > BUDGET_BYTES / 4, `no more than necessary: ${held} are left`)
    assert.equal(await asked(rig), 'HTTP/1.1 200 OK')
    await rig.path[Symbol.asyncDispose]()
    await rig.upstreams[Symbol.asyncDispose]()
    await rig.until('nothing is counted', () => rig.metrics.total('mesh_memory_held_bytes') === 0)
  })
}
test('TCP that one side does not take: the budget holds, and nothing stays counted', async () => {
  using flood = await SocketOrigin.listen((s) => {
    s.write(BIG)
  })
  const tcp: Codec = { kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1 }], idleMs: undefined } as never }
  await using rig = await SocketRig.open({ codec: tcp }, { clusters: [flood.cluster()], budgetBytes: BUDGET_BYTES })
  await many(rig, 60, 'x')
  await settled(rig)
  assert.ok(rig.metrics.total('mesh_stream_waiting_bytes') <= BUDGET_BYTES)
  assert.ok(rig.metrics.total('mesh_memory_given_up_total', { what: 'stream' }) > 0)
  await rig.path[Symbol.asyncDispose]()
  await rig.until('nothing is counted', () => rig.metrics.total('mesh_memory_held_bytes') === 0)
})
test('answers that nobody takes fill max_requests: who reads is served all the same', async () => {
  using server = await origin()
  const breakers = { ...cluster().breakers, maxRequests: 20 }
  await using rig = await SocketRig.open(
    { codec },
    { clusters: [cluster([endpoint(LOOPBACK, server.port)], { breakers })], listener: SNIFF },
  )
  await STALLS['HTTP/2 answers']!.attack(rig)
  await settled(rig)
  for (let i = 0; i < 5; i++) assert.equal(await asked(rig), 'HTTP/1.1 200 OK')
  assert.ok(rig.metrics.total('mesh_upstream_stalled_ended_total') > 0)
})
test('requests of one source fill max_requests at the endpoint: others are served all the same, and it gets no more than the limit', async () => {
  using server = await origin()
  const breakers = { ...cluster().breakers, maxRequests: 24 }
  await using rig = await SocketRig.open(
    { codec },
    { clusters: [cluster([endpoint(LOOPBACK, server.port)], { breakers })], listener: SNIFF },
  )
  await many(rig, 40, GET.replace('/', '/slow'))
  const refused = (): number => rig.metrics.total('mesh_http_requests_total')
  await rig.until(
    'the limit is reached',
    () => rig.metrics.total('mesh_upstream_requests_active') === 24 && refused() === 16,
  )
  for (let i = 0; i < 5; i++) assert.equal(await asked(rig), 'HTTP/1.1 200 OK')
  assert.equal(rig.metrics.total('mesh_upstream_requests_active'), 24)
})
test("an HTTP/2 answer that is complete and not taken ends with the stream's idle time", async () => {
  using server = await origin()
  await using rig = await SocketRig.open(
    { codec: { kind: 'http', http: manager(undefined, { codec: 'auto', streamIdleMs: 5_000 }) } },
    { clusters: [cluster([endpoint(LOOPBACK, server.port)])], listener: SNIFF },
  )
  const client = await rig.dial()
  client.write(Buffer.concat([PREFACE, NO_WINDOW, headers(1, fields('GET', '/'), true)]))
  const got: Buffer[] = []
  client.on('data', (d: Buffer) => {
    got.push(d)
  })
  await rig.until('the exchange is over', () => rig.metrics.total('mesh_http_requests_total') === 1)
  await rig.until(
    'the stream was reset',
    () => {
      const bytes = Buffer.concat(got)
      return bytes.includes(Buffer.from([0, 0, 4, 3, 0, 0, 0, 0, 1]))
    },
    100,
  )
})
test('what connections leave behind when they are over is told to whoever watches garbage', async () => {
  using server = await origin()
  await using rig = await SocketRig.open(
    { codec },
    { clusters: [cluster([endpoint(LOOPBACK, server.port)])], listener: SNIFF, budgetBytes: BUDGET_BYTES },
  )
  let told = 0
  rig.ctx.budget!.garbage = {
    received: (bytes: number) => {
      told += bytes
    },
    left: (bytes: number) => {
      told += bytes
    },
    eased: () => {},
  } as unknown as GarbageWatch
  for (let i = 0; i < 10; i++) (await rig.dial()).destroy()
  await rig.until('all are over', () => rig.metrics.total('mesh_connections_open') === 0 && told >= 10 * 16 * 1024)
})
