/** A bridge between a test's broker and an upstream broker that does nothing by itself. */
import type { TestContext } from 'node:test'
import type * as z from 'zod'
import { Current } from '../../../../core/current.ts'
import { silentLog } from '../../../../core/log.ts'
import type { createMqttPolicySchema } from '../../../../model/mqtt-policy.ts'
import type { MqttBridge } from '../../../../model/mqtt/bridge.ts'
import { EMPTY_TABLES, type Tables } from '../../../../model/tables.ts'
import { type Bridge, createBridge } from '../../../../protocols/mqtt/bridge/bridge.ts'
import type { StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { type BridgeCredentials, NO_CREDENTIALS } from '../../../../protocols/mqtt/users/bridge-credentials.ts'
import { policyOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import { FakeUpstream, type UpstreamConn } from '../../../helpers/mqtt/upstream.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { SimNetwork } from '../../../helpers/sim-network.ts'

type PolicyInput = z.input<ReturnType<typeof createMqttPolicySchema>>
type Input = NonNullable<PolicyInput['routes']>[number]
export type RouteInput = Omit<Input, 'cluster'> & Partial<Pick<Input, 'cluster'>>
export type BridgeInput = Partial<NonNullable<PolicyInput['bridges']>[number]>
export const bridgePolicy = (routes: readonly RouteInput[], ...bridges: readonly BridgeInput[]) =>
  policyOf({
    routes: routes.map((r) => ({ cluster: 'cloud', ...r })),
    bridges: bridges.map((b) => ({ cluster: 'cloud', ...b })),
  })
export const UP: RouteInput = { match: 'sensors/#', direction: 'up' }
export const DOWN: RouteInput = { match: 'commands/#', direction: 'down' }
export const tablesWith = (...names: string[]): Tables => ({
  ...EMPTY_TABLES,
  cluster: (name) => (names.includes(name) ? ({ name } as never) : undefined),
})

export class Rig {
  readonly local: TestBroker
  readonly upstream: FakeUpstream
  readonly tables = new Current<Tables>(tablesWith('cloud'))
  readonly bridge: Bridge
  /** Of the sessions to come; default: none. */
  readonly firstWaitsMs: number[] = []
  /** What the upstream is told at the next connection. */
  credentials: (settings: MqttBridge['credentials']) => BridgeCredentials = () => NO_CREDENTIALS
  constructor(
    local = new TestBroker(),
    upstream = new FakeUpstream(new SimNetwork()),
    others: Readonly<Record<string, FakeUpstream>> = {},
  ) {
    this.local = local
    this.upstream = upstream
    const { clock, metrics, broker, durability } = local
    this.bridge = createBridge({
      ctx: { clock, metrics, log: silentLog, random: seededRandom(3), tables: this.tables },
      broker,
      durability,
      budget: local.budget,
      upstreams: {
        connect: (cluster, options) => (others[cluster.name] ?? upstream).upstreams.connect(cluster, options),
      },
      readFile: (file) => `what ${file} holds`,
      node: 'edge-1',
      drawFirstWaitMs: () => this.firstWaitsMs.shift() ?? 0,
      readCredentials: ({ credentials }) => this.credentials(credentials),
    })
  }
  get clock() {
    return this.local.clock
  }
  async publish(topic: string, text: string, p: Partial<StoredMessage> = {}): Promise<void> {
    await this.local.broker.publish(
      {
        topic,
        payload: Buffer.from(text),
        qos: 1,
        retain: false,
        properties: new Uint8Array(0),
        expiresAtMs: undefined,
        ...p,
      },
      'test',
    )
  }
  /** The agent is killed and started again; the upstream sees its connection break. */
  async restart(routes: readonly RouteInput[]): Promise<Rig> {
    const durable = this.local.restart()
    await this.bridge[Symbol.asyncDispose]()
    const next = new Rig(durable, this.upstream)
    await next.bridge.apply(bridgePolicy(routes))
    return next
  }
  /** The next connection, however long the bridge waits before it. */
  async reconnected(p: Parameters<FakeUpstream['accepted']>[0] = {}): Promise<UpstreamConn> {
    if (this.upstream.isTaken) await this.nextConnection()
    return await this.upstream.accepted(p)
  }
  async nextConnection(): Promise<void> {
    const known = this.upstream.connections.length
    for (let i = 0; i < 4_000 && this.upstream.connections.length === known; i++) await this.clock.advance(100)
  }
  dropped(reason: string): number {
    return this.local.metrics.total('mesh_mqtt_bridge_dropped_total', { reason })
  }
}
export async function rig(
  t: TestContext,
  routes: readonly RouteInput[],
  ...bridges: readonly BridgeInput[]
): Promise<Rig> {
  const made = new Rig()
  await made.upstream.listen()
  t.after(() => made.bridge[Symbol.asyncDispose]())
  await made.bridge.apply(bridgePolicy(routes, ...bridges))
  return made
}
