/** Two agents with certificates that expire, one serving the other, in simulated time. */
import type { TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { createCodecs } from '../../agent/codecs.ts'
import { Current } from '../../core/current.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { Identity } from '../../model/identity.ts'
import type { Codec, Listener } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'
import type { UpstreamTls } from '../../model/tls.ts'
import { TimeFloor } from '../../control-sync/identity/time-floor.ts'
import { createValidityRules, type ExpiredSettings } from '../../control-sync/identity/validity-rules.ts'
import { DEFAULT_LIMITS, type Context } from '../../protocols/context.ts'
import { DataPath } from '../../protocols/downstream/data-path.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import { createUpstreams } from '../../protocols/upstream/upstreams.ts'
import { CrashFs } from '../helpers/disk/crash-disk.ts'
import { policyOf, TestBroker } from '../helpers/mqtt/broker.ts'
import { seededRandom } from '../helpers/random.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'
import { SimNetwork } from '../helpers/sim-network.ts'
import { testCa } from '../helpers/test-ca.ts'
import { listener, tcpChain } from './downstream/data-path-rig.ts'
import { cluster, endpoint, manager, Origin, ORIGIN, tablesOf } from './http/harness.ts'
import { MUTUAL } from './mutual-tls.ts'

export const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000]
export const mesh = testCa('mesh.test')
const STRICT: ExpiredSettings = {
  mode: 'strict',
  graceHours: 2,
  trustDomains: [],
  openConnections: 'end-with-peer',
  endWithinMs: 30_000,
}
const up: UpstreamTls = { ...MUTUAL, sni: '', autoSni: false }
const HERE = { host: '10.0.0.1', port: 8443 }
export const toServer = (more: Partial<Cluster> = {}): Cluster =>
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
export const CODECS: Record<'http1' | 'http2' | 'tcp' | 'mqtt', Codec> = {
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
    const validity = createValidityRules({
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
    this.path = new DataPath(this.ctx, [], createCodecs(this.ctx, this.upstreams, w.broker.broker))
  }
  ended(by: { peer?: string; code?: string; how?: string } = {}): number {
    return this.metrics.total('mesh_identity_connections_ended_total', by)
  }
}
/** Its time begins now, because OpenSSL knows no other. */
export class World {
  readonly startMs = Math.floor(Date.now() / SECOND) * SECOND
  readonly clock = new SimClock(this.startMs)
  readonly network = new SimNetwork()
  readonly broker = new TestBroker({ clock: this.clock })
  /** A certificate that has `ms` to live. */
  issue(name: string, ms: number): Identity {
    return mesh.issue(name, name, { notBeforeMs: this.startMs - 120_000, ttlSec: (ms + 120_000) / SECOND })
  }
}
export type Rig = { w: World; server: Node; client: Node; origin: Origin; open(): Promise<Duplex> }

export async function rig(
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
  const chain = tcpChain({ name: 'c', tls: p.plain ? undefined : MUTUAL, codec })
  const serving = listener([chain], { name: 'l', address: HERE.host, port: HERE.port })
  const server = new Node(w, w.issue('server', p.server ?? 48 * HOUR), p.settings ?? {}, [serving])
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
export async function until(what: string, is: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !is(); i++) await settle()
  assert.ok(is(), what)
}
export const isClosed = (stream: Duplex) => (): boolean => stream.destroyed || stream.readableEnded
