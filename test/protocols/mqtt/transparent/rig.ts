import { MeshError } from '../../../../core/errors.ts'
import type { Upstreams } from '../../../../protocols/upstream-api.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import type { Version } from '../../../../protocols/mqtt/codec/packet.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { FakeUpstream, type UpstreamConn } from '../../../helpers/mqtt/upstream.ts'
import { SimNetwork } from '../../../helpers/sim-network.ts'
import { settle } from '../../../helpers/sim-clock.ts'

export type Open = Parameters<TestBroker['open']>[0]
export type Device = ReturnType<TestBroker['open']>
export const PROXY = { cluster: 'broker', forwardCredentials: false }

/** A listener of mode transparent in front of a broker that does nothing by itself. */
export class Rig {
  readonly upstream = new FakeUpstream(new SimNetwork())
  readonly budget = new MemoryBudget({ maxBytes: 16 * 1024 * 1024 })
  readonly t: TestBroker

  constructor(options: ConstructorParameters<typeof TestBroker>[0] = {}) {
    this.t = new TestBroker({ budget: this.budget, ...options, upstreams: failing(this.upstream.upstreams) })
  }
  static async start(options: ConstructorParameters<typeof TestBroker>[0] = {}): Promise<Rig> {
    const rig = new Rig(options)
    await rig.upstream.listen()
    return rig
  }

  open(p: Open = {}): Device {
    return this.t.open({ proxy: PROXY, ...p })
  }
  /** A client that its broker has accepted. */
  async connected(
    p: Open & {
      readonly connect?: Parameters<Device['connect']>[0]
      readonly connack?: Parameters<UpstreamConn['connack']>[1]
    } = {},
  ): Promise<{ readonly device: Device; readonly broker: UpstreamConn }> {
    const device = this.open(p)
    const connack = device.connect(p.connect)
    const broker = await this.upstream.next()
    await broker.take('connect')
    broker.connack(0, p.connack)
    await connack
    return { device, broker }
  }
  metric(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.t.metrics.total(name, labels)
  }
}

/** As clusters say it. */
const failing = ({ connect }: Upstreams): Upstreams => ({
  connect: (cluster, options) =>
    connect(cluster, options).catch((cause: unknown) => {
      throw new MeshError('MESH_CONNECT_FAILED', 'nobody listens', { cause })
    }),
})

export async function settled(): Promise<void> {
  for (let i = 0; i < 6; i++) await settle()
}
export const VERSIONS: readonly Version[] = [4, 5]
