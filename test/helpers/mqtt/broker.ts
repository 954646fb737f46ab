import { duplexPair, type Duplex } from 'node:stream'
import { silentLog, type Log } from '../../../core/log.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { Metrics } from '../../../core/metrics.ts'
import { type MqttPolicy, createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import type { MqttProxy } from '../../../model/listener.ts'
import { parseSpiffeId, type PeerIdentity } from '../../../model/identity.ts'
import type { Version } from '../../../protocols/mqtt/codec/packet.ts'
import { createBroker, type Broker } from '../../../protocols/mqtt/broker.ts'
import type { AclFiles } from '../../../protocols/mqtt/authorization/acl-files.ts'
import type { UserDatabase, UserDatabaseOptions } from '../../../protocols/mqtt/users/user-database.ts'
import type { Upstreams } from '../../../protocols/upstream-api.ts'
import { Waiting } from '../../../protocols/waiting.ts'
import type { Connection, Outcome } from '../../../protocols/connection.ts'
import type { LogLines } from '../../../protocols/mqtt/operations/log-topics.ts'
import { MemoryDurability } from './memory-durability.ts'
import { MqttPeer } from './peer.ts'
import { seededRandom } from '../random.ts'
import { SimClock } from '../sim-clock.ts'

type PolicyInput = Parameters<ReturnType<typeof createMqttPolicySchema>['parse']>[0]
export const policyOf = (input: PolicyInput = {}): MqttPolicy => createMqttPolicySchema().parse(input)

/** `x` to the topic `w`, at once. */
export const WILL = {
  topic: 'w',
  payload: Buffer.from('x'),
  qos: 0,
  retain: false,
  properties: new Uint8Array(),
  delaySec: 0,
  messageExpirySec: undefined,
} as const

/** A broker over in-memory streams with a clock that stands still. */
export class TestBroker {
  readonly clock: SimClock
  readonly metrics = new Metrics()
  readonly durability: MemoryDurability
  readonly broker: Broker
  readonly budget: MemoryBudget
  readonly outcomes: Outcome[] = []
  /** Rules of listeners; one that is opened with a policy has that one from then on. */
  readonly policies = new Map<string, MqttPolicy>()
  #nextConn = 1

  constructor(
    p: {
      durability?: MemoryDurability
      clock?: SimClock
      policies?: ReadonlyMap<string, MqttPolicy>
      log?: Log
      budget?: MemoryBudget
      acls?: Pick<AclFiles, 'find'>
      /** Of `$SYS`, in seconds; default: there are none. */
      sysIntervalSec?: number
      logLines?: LogLines
      /** Of listeners of mode transparent. */
      upstreams?: Upstreams
      users?: (p: Pick<UserDatabaseOptions, 'clock' | 'metrics'>) => UserDatabase
    } = {},
  ) {
    for (const [name, policy] of p.policies ?? []) this.policies.set(name, policy)
    this.clock = p.clock ?? new SimClock()
    this.budget = p.budget ?? new MemoryBudget({ maxBytes: 256 * 1024 * 1024 })
    this.durability = p.durability ?? new MemoryDurability()
    this.broker = createBroker({
      ctx: { clock: this.clock, random: seededRandom(7), log: p.log ?? silentLog, metrics: this.metrics },
      durability: this.durability,
      node: 'edge',
      ...(p.logLines && { logLines: p.logLines }),
      ...(p.sysIntervalSec === undefined
        ? {}
        : { sys: { intervalSec: p.sysIntervalSec, version: '1.2.3', heapBytes: () => 1000 } }),
      users: p.users?.(this),
      budget: this.budget,
      ...(p.acls ? { acls: p.acls } : {}),
      ...(p.upstreams && {
        proxying: {
          upstreams: p.upstreams,
          clusterOf: (name) => (name === 'broker' ? ({ name } as never) : undefined),
          waiting: new Waiting({ clock: this.clock, metrics: this.metrics, ...(p.budget && { budget: p.budget }) }),
          maxBufferBytes: 64 * 1024,
        },
      }),
      policiesOf: (name) => [...this.policies].filter(([n]) => n === (name ?? n)).map(([, policy]) => policy),
    })
  }

  /** A connected stream, nothing said yet. */
  open(
    p: {
      version?: Version
      policy?: PolicyInput
      /** As it is, with what no setting says. */
      mqtt?: MqttPolicy
      spiffe?: string
      peer?: PeerIdentity
      /** What a load balancer says of its certificate. */
      proxied?: { readonly commonName: string | undefined }
      listener?: string
      host?: string
      transport?: 'tcp' | 'websocket'
      /** Mode transparent. */
      proxy?: MqttProxy
    } = {},
  ): MqttPeer & {
    readonly drain: AbortController
    readonly abort: AbortController
    readonly conn: Connection
    readonly outcome: Promise<Outcome>
  } {
    const [near, far] = socketPair()
    const [drain, abort] = [new AbortController(), new AbortController()]
    const mqtt = p.mqtt ?? policyOf(p.policy)
    const listener = p.listener ?? 'mqtt'
    this.policies.set(listener, mqtt)
    const peer = p.peer ?? (p.spiffe === undefined ? undefined : peerOf(p.spiffe))
    const conn = {
      id: `c${this.#nextConn++}`,
      local: { host: '127.0.0.1', port: 1883 },
      originalDst: undefined,
      remote: { host: p.host ?? '127.0.0.1', port: 1 },
      startedMs: 0,
      startedWallMs: 0,
      listener: { name: listener } as never,
      chain: { codec: { kind: 'mqtt', mqtt, transport: 'tcp', proxy: p.proxy } } as never,
      stream: far,
      proxied: p.proxied,
      tls: peer && { serverName: '', alpn: '', version: 'TLSv1.3', peer },
      offered: { transport: 'raw_buffer', serverName: '', alpn: [] },
      draining: drain.signal,
      aborted: abort.signal,
      receivedBytes: 0,
      sentBytes: 0,
      cluster: '-',
    } satisfies Connection
    const outcome = this.broker.serve(conn, mqtt, p.transport ?? 'tcp')
    void outcome.then((o) => {
      this.outcomes.push(o)
      if (!far.destroyed) far.end(() => far.destroy())
    })
    return Object.assign(new MqttPeer(near, p.version ?? 5), { drain, abort, conn, outcome })
  }

  /** From now on these rules, also for what is open. */
  usePolicy(input: PolicyInput, open: readonly { readonly conn: Connection }[] = [], listener = 'mqtt'): void {
    const mqtt = policyOf(input)
    this.policies.set(listener, mqtt)
    for (const { conn } of open) conn.chain = { codec: { kind: 'mqtt', mqtt, transport: 'tcp' } } as never
    this.broker.reauthorize()
  }

  /** Ended in order, and started again. */
  async stop(): Promise<TestBroker> {
    await this.broker[Symbol.asyncDispose]()
    return this.restart()
  }
  /** Killed without a word, and started again on what was durable. */
  restart(): TestBroker {
    return new TestBroker({ durability: this.durability.crash(), clock: this.clock, policies: this.policies })
  }
}

/** A duplex pair does not carry a destroy across; a socket does. */
function socketPair(): [Duplex, Duplex] {
  const [near, far] = duplexPair()
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.on('error', () => {})
    one.once('close', () => {
      if (!other.destroyed) other.destroy()
    })
  }
  return [near, far]
}

export function peerOf(uri: string): PeerIdentity {
  return { spiffeId: parseSpiffeId(uri), uriSans: [uri], dnsSans: [], subject: '', sha256: '', notAfterMs: 0 }
}
