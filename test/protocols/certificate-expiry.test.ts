/**
 * Connections that are open when a certificate that they rest on expires. The handshakes are real, everything else is
 * simulated.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { codecsOf } from '../../agent/codecs.ts'
import { Current } from '../../core/current.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { Address } from '../../core/os/network.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { Identity } from '../../model/identity.ts'
import type { Codec, Listener } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'
import type { DownstreamTls, UpstreamTls } from '../../model/tls.ts'
import { TimeFloor } from '../../control-sync/identity/time-floor.ts'
import { validityRules, type ExpiredSettings } from '../../control-sync/identity/validity-rules.ts'
import { DEFAULT_LIMITS, type Context } from '../../protocols/context.ts'
import { DataPath } from '../../protocols/downstream/data-path.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import { refusalOf } from '../../protocols/tls/client.ts'
import { createUpstreams } from '../../protocols/upstream/upstreams.ts'
import { CrashFs } from '../helpers/disk/crash-disk.ts'
import { policyOf, TestBroker } from '../helpers/mqtt/broker.ts'
import { MqttPeer } from '../helpers/mqtt/peer.ts'
import { seededRandom } from '../helpers/random.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'
import { SimNetwork } from '../helpers/sim-network.ts'
import { testCa } from '../helpers/test-ca.ts'
import { cluster, endpoint, GET, manager, OK, Origin, ORIGIN, Peer, tablesOf } from './http/harness.ts'

const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000]
const mesh = testCa('mesh.test')
const STRICT: ExpiredSettings = {
  mode: 'strict',
  graceHours: 2,
  trustDomains: [],
  openConnections: 'end-with-peer',
  endWithinMs: 30_000,
}
const down: DownstreamTls = {
  certificate: { from: 'workload' },
  validation: { roots: { from: 'workload' }, sans: [] },
  requireClientCertificate: true,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
}
const up: UpstreamTls = { ...down, sni: '', autoSni: false }
const HERE = { host: '10.0.0.1', port: 8443 }
const toServer = (more: Partial<Cluster> = {}): Cluster =>
  cluster([endpoint(HERE.host, HERE.port)], {
    name: 'server',
    connectTimeoutMs: 60_000,
    idleMs: 1e9,
    outlier: {
      consecutive5xx: undefined,
      consecutiveGatewayFailures: undefined,
      consecutiveLocalFailures: 1,
      intervalMs: 10_000,
      baseEjectionMs: 5_000,
      maxEjectionMs: 60_000,
      maxEjectionPercent: 100,
    },
    transport: { kind: 'tls', tls: up },
    ...more,
  })
/** Nothing but certificates ends anything here. */
const patient = manager(undefined, { connectionIdleMs: 1e9, streamIdleMs: 1e9 })
const CODECS: Record<'http1' | 'http2' | 'tcp' | 'mqtt', Codec> = {
  http1: { kind: 'http', http: patient },
  http2: { kind: 'http', http: { ...patient, codec: 'http2' } },
  tcp: { kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1 } as never], idleMs: 0 } },
  mqtt: { kind: 'mqtt', mqtt: policyOf(), transport: 'tcp' },
}

/** One agent's data path with a certificate that runs out. */
class Node {
  readonly metrics = new Metrics()
  readonly identity: Current<Identity | undefined>
  readonly ctx: Context
  readonly upstreams: HttpUpstreams
  readonly path: DataPath
  connected = false
  constructor(w: World, identity: Identity, settings: Partial<ExpiredSettings>, listeners: readonly Listener[] = []) {
    this.identity = new Current<Identity | undefined>(identity)
    const floor = new TimeFloor({
      disk: new CrashFs().disk,
      clock: w.clock,
      log: silentLog,
      stateFolder: '/state',
      builtAtMs: undefined,
    })
    const validity = validityRules({
      settings: { ...STRICT, ...settings },
      floor,
      log: silentLog,
      metrics: this.metrics,
      identity: () => this.identity.get(),
      connected: () => this.connected,
    })
    this.ctx = {
      clock: w.clock,
      random: seededRandom(1),
      network: w.network,
      log: silentLog,
      metrics: this.metrics,
      limits: DEFAULT_LIMITS,
      tables: new Current<Tables>({
        ...tablesOf([cluster(), toServer()]),
        listeners: new Map(listeners.map((l) => [l.name, l])),
      }),
      identity: {
        current: () => this.identity.get(),
        watch: (fn) =>
          this.identity.watch((next) => {
            if (next) fn(next)
          }),
        validity,
      },
    }
    this.upstreams = createUpstreams(this.ctx)
    this.path = new DataPath(this.ctx, [], codecsOf(this.ctx, this.upstreams, w.broker.broker))
  }
  ended(by: { peer?: string; code?: string; how?: string } = {}): number {
    return this.metrics.total('mesh_identity_connections_ended_total', by)
  }
}
/** Its time begins now, because OpenSSL knows no other. */
class World {
  readonly startMs = Math.floor(Date.now() / SECOND) * SECOND
  readonly clock = new SimClock(this.startMs)
  readonly network = new SimNetwork()
  readonly broker = new TestBroker({ clock: this.clock })
  /** A certificate that has `ms` to live. */
  issue(name: string, ms: number): Identity {
    return mesh.issue(name, name, { notBeforeMs: this.startMs - 120_000, ttlSec: (ms + 120_000) / SECOND })
  }
}
type Rig = { w: World; server: Node; client: Node; origin: Origin; open(): Promise<Duplex> }

async function rig(
  t: TestContext,
  codec: Codec,
  p: {
    server?: number
    client?: number
    settings?: Partial<ExpiredSettings>
    clientSettings?: Partial<ExpiredSettings>
    plain?: boolean
  } = {},
): Promise<Rig> {
  const w = new World()
  const origin = new Origin()
  await w.network.listen(ORIGIN, ({ stream }) => origin.accept(stream))
  const chain = {
    name: 'c',
    match: {
      destinationPort: undefined,
      destinationRanges: [],
      serverNames: [],
      transportProtocol: undefined,
      applicationProtocols: [],
      sourceRanges: [],
      sourcePorts: [],
    },
    tls: p.plain ? undefined : down,
    policies: [],
    codec,
  }
  const listener: Listener = {
    name: 'l',
    address: HERE.host,
    port: HERE.port,
    bindToPort: true,
    direction: 'inbound',
    useOriginalDst: false,
    sniff: { tls: false, http: false, timeoutMs: 0, onTimeout: 'close' },
    filterChains: [chain],
    defaultFilterChain: undefined,
    source: 'test',
  }
  const server = new Node(w, w.issue('server', p.server ?? 48 * HOUR), p.settings ?? {}, [listener])
  const client = new Node(w, w.issue('client', p.client ?? 48 * HOUR), p.clientSettings ?? { openConnections: 'keep' })
  await server.path.open()
  t.after(async () => {
    for (const n of [client, server]) {
      await n.path[Symbol.asyncDispose]()
      await n.upstreams[Symbol.asyncDispose]()
    }
  })
  const open = async (): Promise<Duplex> => {
    const { stream } = await client.upstreams.connect(
      p.plain ? toServer({ transport: { kind: 'plaintext' } }) : toServer(),
      { signal: new AbortController().signal, speaks: 'tcp' },
    )
    stream.on('error', () => {})
    await until('the server serves it', () => server.path.connections > 0)
    return stream
  }
  return { w, server, client, origin, open }
}
/** Handshakes take turns of the real event loop, how many is not ours to know. */
async function until(what: string, is: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !is(); i++) await settle()
  assert.ok(is(), what)
}
const isClosed = (stream: Duplex) => (): boolean => stream.destroyed || stream.readableEnded

for (const { whose, lives, code, reason } of [
  { whose: 'our', lives: { server: HOUR }, code: 'MESH_IDENTITY_EXPIRED', reason: '0x98' },
  { whose: "the client's", lives: { client: HOUR }, code: 'MESH_PEER_EXPIRED', reason: '0x87' },
] as const) {
  test(`strict, ${whose} certificate expires: an idle HTTP/1.1 connection is closed, and not a second before`, async (t) => {
    const r = await rig(t, CODECS.http1, lives)
    const stream = (await r.open()).resume()
    await r.w.clock.advance(HOUR - SECOND)
    await settle()
    assert.equal(isClosed(stream)(), false)
    await r.w.clock.advance(SECOND)
    await until('closed', isClosed(stream))
    assert.equal(r.server.ended({ peer: 'client', code, how: 'asked' }), 1)
    stream.end()
    await until('reported', () => r.server.metrics.total('mesh_connections_failed_total', { code }) === 1)
  })

  test(`strict, ${whose} certificate expires: the answer that is under way goes out, says that it is the last one, and the connection is closed`, async (t) => {
    const r = await rig(t, CODECS.http1, lives)
    const client = new Peer(await r.open())
    await client.send(GET)
    await until('it has arrived', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR + 10 * SECOND)
    assert.equal(client.closed, false)
    await r.origin.answer(OK)
    await until('the answer', () => client.ended)
    assert.match(client.received, /^HTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n[^]*hi$/i)
  })

  test(`strict, ${whose} certificate expires: what takes too long is cut off`, async (t) => {
    const r = await rig(t, CODECS.http1, lives)
    const client = new Peer(await r.open())
    await client.send(GET)
    await until('it has arrived', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR + 29 * SECOND)
    assert.equal(client.closed, false)
    await r.w.clock.advance(2 * SECOND)
    await until('cut', () => client.closed)
    assert.equal(r.server.ended({ code, how: 'cut' }), 1)
    await until('the endpoint is not waited for', () => r.origin.last.closed)
  })

  test(`strict, ${whose} certificate expires: HTTP/2 gets GOAWAY, and its streams come to their end`, async (t) => {
    const r = await rig(t, CODECS.http2, lives)
    const stream = await r.open()
    const session = http2.connect('http://server', { createConnection: () => stream })
    let goaway: number | undefined
    session
      .on('goaway', (e) => {
        goaway = e
      })
      .on('error', () => {})
    t.after(() => session.destroy())
    const call = session.request({ ':path': '/', ':authority': 'a' })
    let status: unknown
    call
      .on('response', (h) => {
        status = h[':status']
      })
      .on('error', () => {})
      .resume()
    await until('it has arrived', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR)
    await until('GOAWAY', () => goaway === 0)
    await r.origin.answer(OK)
    await until('the answer', () => status === 200)
    await until('closed', isClosed(stream))
  })

  test(`strict, ${whose} certificate expires: MQTT 5 hears why`, async (t) => {
    const r = await rig(t, CODECS.mqtt, lives)
    const client = new MqttPeer(await r.open())
    await client.connect()
    await r.w.clock.advance(HOUR)
    await until('a packet', () => client.received.length > 0)
    assert.deepEqual(await client.seen(), [`disconnect ${reason}`])
    await until('closed', () => client.closed)
  })

  test(`strict, ${whose} certificate expires: a stream of bytes is cut off when its time is over`, async (t) => {
    const r = await rig(t, CODECS.tcp, lives)
    const client = new Peer(await r.open())
    await until('through', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR + 29 * SECOND)
    await client.send('x')
    await until('it flows', () => r.origin.last.received === 'x')
    await r.w.clock.advance(2 * SECOND)
    await until('cut', () => client.closed && r.origin.last.closed)
    assert.deepEqual([r.server.ended({ code, how: 'asked' }), r.server.ended({ code, how: 'cut' })], [1, 1])
    await until('reported', () => r.server.metrics.total('mesh_connections_failed_total', { code }) === 1)
  })
}

test('a renewal that comes before a stream of bytes is cut off lets it go on', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR })
  const client = new Peer(await r.open())
  await r.w.clock.advance(HOUR + 20 * SECOND)
  assert.equal(r.server.ended({ how: 'asked' }), 1)
  r.server.identity.swap(r.w.issue('server', 24 * HOUR))
  await r.w.clock.advance(22 * HOUR)
  assert.equal(client.closed, false)
  assert.equal(r.server.ended({ how: 'cut' }), 0)
  await r.w.clock.advance(HOUR - 10 * SECOND)
  assert.equal(client.closed, false, 'it is asked again before it is cut off')
  await r.w.clock.advance(25 * SECOND)
  await until('until that one has expired', () => client.closed)
})
test('a renewal in time touches nothing', async (t) => {
  const r = await rig(t, CODECS.http1, { server: HOUR })
  const stream = (await r.open()).resume()
  await r.w.clock.advance(HOUR / 2)
  r.server.identity.swap(r.w.issue('server', 2 * HOUR))
  await r.w.clock.advance(50 * MINUTE)
  assert.deepEqual([isClosed(stream)(), r.server.ended()], [false, 0])
})
test('a clock that is set to a later day is noticed within a minute', async (t) => {
  const r = await rig(t, CODECS.http1, { server: HOUR })
  const stream = (await r.open()).resume()
  await r.w.clock.advance(5 * SECOND)
  r.w.clock.setWallMs(r.w.startMs + 2 * HOUR)
  await r.w.clock.advance(MINUTE)
  await until('closed', isClosed(stream))
  assert.equal(r.server.ended(), 1)
})

test('site-grace: open connections share the grace of new ones, and it ends when the control plane is back', async (t) => {
  const r = await rig(t, CODECS.tcp, { client: HOUR, settings: { mode: 'site-grace' } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(3 * HOUR - MINUTE)
  assert.deepEqual([client.closed, r.server.ended()], [false, 0])
  r.server.connected = true
  await r.w.clock.advance(2 * MINUTE)
  await until('the grace is over', () => client.closed)
  assert.equal(r.server.ended({ code: 'MESH_PEER_EXPIRED', how: 'cut' }), 1)
})
test('site-grace: when the hours are over it is as strict', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { mode: 'site-grace' } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(3 * HOUR - MINUTE)
  assert.equal(client.closed, false)
  await r.w.clock.advance(2 * MINUTE)
  await until('over', () => client.closed)
})
for (const { trustDomains, want } of [
  { trustDomains: [], want: true },
  { trustDomains: ['other.test'], want: false },
]) {
  test(`site-grace is ${want ? 'not for peers of another trust domain' : 'also for aliases of the trust domain'}`, async (t) => {
    const r = await rig(t, CODECS.tcp, { settings: { mode: 'site-grace', trustDomains } })
    r.client.identity.swap(
      mesh.issue('a', 'b', {
        spiffeUri: 'spiffe://other.test/ns/a/sa/b',
        notBeforeMs: r.w.startMs - 120_000,
        ttlSec: 3_720,
      }),
    )
    const client = new Peer(await r.open())
    await r.w.clock.advance(HOUR + MINUTE)
    await until('decided', () => client.closed === want)
    assert.equal(r.server.ended({ how: 'cut' }), want ? 1 : 0)
    assert.deepEqual(
      r.server.ctx.identity.validity!.peerVerification()!.graceTrustDomains,
      ['mesh.test', ...trustDomains],
      'a new connection is asked the same',
    )
  })
}

test('serve-local: plain text from elsewhere ends with our certificate, what stays on this machine does not', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { mode: 'serve-local' }, plain: true })
  const far = new Peer(await r.open())
  const { network } = r.w
  const dial = network.dial.bind(network)
  network.dial = async (to: Address, signal: AbortSignal) => dial(to, signal, { from: to.host })
  const near = new Peer(await r.open())
  await r.w.clock.advance(HOUR + 31 * SECOND)
  await until('ended', () => far.closed)
  assert.equal(near.closed, false)
})
test("strict: plain text is nobody's certificate", async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, plain: true })
  const client = new Peer(await r.open())
  await r.w.clock.advance(2 * HOUR)
  assert.deepEqual([client.closed, r.server.ended()], [false, 0])
})
test('openConnections: end: with our certificate, and not with the one that the peer showed', async (t) => {
  const peers = await rig(t, CODECS.tcp, { server: 48 * HOUR, client: HOUR, settings: { openConnections: 'end' } })
  const lasting = new Peer(await peers.open())
  await peers.w.clock.advance(2 * HOUR)
  assert.deepEqual([lasting.closed, peers.server.ended()], [false, 0])
  const ours = await rig(t, CODECS.tcp, { server: HOUR, settings: { openConnections: 'end' } })
  const ending = new Peer(await ours.open())
  await ours.w.clock.advance(HOUR + MINUTE)
  await until('cut', () => ending.closed)
})
test('openConnections: keep', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, client: HOUR, settings: { openConnections: 'keep' } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(HOUR + 10 * MINUTE)
  assert.deepEqual([client.closed, r.server.ended()], [false, 0])
})
test('endWithinMs: 0 cuts at once', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { endWithinMs: 0 } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(HOUR)
  await until('cut', () => client.closed)
})

/** What a call of the client's own over a pooled connection came to. */
function call(
  { client }: Rig,
  to = toServerCluster,
): { error: string | undefined; status: number | undefined; over: boolean } {
  const got = { error: undefined as string | undefined, status: undefined as number | undefined, over: false }
  client.upstreams.startCall(
    to,
    { speaks: 'http1', fresh: false, maxHostPicks: 1 } as never,
    {
      onCallPicked: () => {},
      onCallMoved: () => {},
      onCall: (c: { sendHead(r: unknown, end: boolean): void; flush(): boolean }) => {
        c.sendHead(
          { method: 'GET', authority: 'a', path: '/', scheme: 'http', headers: [], bodyLength: 0, upgrade: undefined },
          true,
        )
        c.flush()
      },
      onCallFailed: (e: { code: string }) => {
        got.error = e.code
        got.over = true
      },
      onCallHead: (h: { status: number }, end: boolean) => {
        got.status = h.status
        got.over ||= end
      },
      onCallEnd: () => {
        got.over = true
      },
      onCallInformational: () => {},
      onCallData: () => {},
      onCallPause: () => {},
      onCallDrained: () => {},
      onCallUpgraded: () => {},
    } as never,
  )
  return got
}
const toServerCluster = toServer()
const toServerH2 = toServer({ protocol: 'http2' })
for (const { whose, lives, code } of [
  { whose: 'our', lives: { client: HOUR }, code: 'MESH_IDENTITY_EXPIRED' },
  { whose: "the server's", lives: { server: HOUR }, code: 'MESH_PEER_EXPIRED' },
] as const) {
  for (const [speaks, to, codec] of [
    ['HTTP/1.1', toServerCluster, CODECS.http1],
    ['HTTP/2', toServerH2, CODECS.http2],
  ] as const) {
    const opened = async (t: TestContext): Promise<Rig> => {
      const r = await rig(t, codec, { ...lives, settings: { openConnections: 'keep' }, clientSettings: {} })
      const first = call(r, to)
      await until('it has arrived', () => r.origin.connections.length === 1)
      await r.origin.answer(OK)
      await until('answered', () => first.over)
      assert.equal(first.status, 200)
      return r
    }
    test(`outbound, ${whose} certificate expires: the pool's idle ${speaks} connection ends`, async (t) => {
      const r = await opened(t)
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 1)
      await r.w.clock.advance(HOUR - SECOND)
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 1)
      await r.w.clock.advance(2 * SECOND)
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 0)
      assert.equal(r.client.ended({ peer: 'server', code, how: 'asked' }), 1)
    })
    test(`outbound, ${whose} certificate expires: a call over ${speaks} that is under way comes to its end, and is the last one`, async (t) => {
      const r = await opened(t)
      await r.w.clock.advance(HOUR - 10 * SECOND)
      const late = call(r, to)
      await until('it has arrived', () => /GET[^]*GET/.test(r.origin.connections.map((c) => c.received).join('')))
      await r.w.clock.advance(20 * SECOND)
      await r.origin.answer(OK)
      await until('answered', () => late.over)
      assert.equal(late.status, 200)
      await settle()
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 0)
    })
    test(`outbound, ${whose} certificate expires: a call over ${speaks} that takes too long fails with that reason, and not the endpoint's health`, async (t) => {
      const r = await opened(t)
      await r.w.clock.advance(HOUR - 30 * SECOND)
      // The second one needs a connection of its own where there is one call at a time.
      const [slow, other] = [call(r, to), call(r, to)]
      await until('they have arrived', () =>
        /GET[^]*GET[^]*GET/.test(r.origin.connections.map((c) => c.received).join('')),
      )
      await r.w.clock.advance(59 * SECOND)
      assert.equal(slow.over, false)
      await r.w.clock.advance(3 * SECOND)
      await until('cut', () => slow.over && other.over)
      assert.deepEqual([slow.error, other.error], [code, code])
      const [status] = r.client.upstreams.clusterStatus()
      assert.deepEqual([status!.connections, status!.activeRequests, status!.endpoints[0]!.ejected], [0, 0, false])
    })
  }
}
test('outbound: an exclusive stream is told, and cut off when its time is over', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { openConnections: 'keep' }, clientSettings: {} })
  const told: string[] = []
  const { stream, release } = await r.client.upstreams.connect(toServerCluster, {
    signal: new AbortController().signal,
    speaks: 'tcp',
    onEnding: (e) => {
      told.push(e.code)
    },
  })
  stream.on('error', () => {}).resume()
  await r.w.clock.advance(HOUR)
  assert.deepEqual([told, stream.destroyed], [['MESH_PEER_EXPIRED'], false])
  await r.w.clock.advance(31 * SECOND)
  assert.equal(stream.destroyed, true)
  assert.equal(refusalOf(stream)?.code, 'MESH_PEER_EXPIRED')
  release('failed')
  assert.deepEqual(
    r.client.upstreams.clusterStatus().map((c) => [c.connections, c.endpoints[0]!.ejected]),
    [[0, false]],
  )
})

test('one timer, however many connections there are, and none where nothing can expire', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: 48 * HOUR })
  const before = r.w.clock.pendingTimers
  await r.open()
  const one = r.w.clock.pendingTimers - before
  for (let i = 0; i < 20; i++) await r.open()
  await until('all are served', () => r.server.path.connections === 21 && r.origin.connections.length === 21)
  assert.deepEqual([one, r.w.clock.pendingTimers - before], [1, 1])
  const plain = await rig(t, CODECS.tcp, { plain: true, clientSettings: { openConnections: 'keep' } })
  const none = plain.w.clock.pendingTimers
  await plain.open()
  await until('through', () => plain.origin.connections.length === 1)
  assert.equal(plain.w.clock.pendingTimers, none)
})
