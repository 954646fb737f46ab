/** Where the hosts of one cluster come from, and what has to be known before one of them can be picked. */
import { detach } from '../../../core/defects/guard.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { Tables } from '../../../model/tables.ts'
import type { Context } from '../../context.ts'
import type { ConnectOptions } from '../../upstream-api.ts'
import type { Host } from '../host.ts'
import { Hosts, type HostEvents, type PickOptions } from '../hosts.ts'
import { DnsLoad, type Resolve } from './dns.ts'
import { ForwardHosts, readForwardTarget, type ForwardTarget } from './forward-hosts.ts'
import { OriginalHosts } from './original-hosts.ts'

export type HostWanted = PickOptions & Pick<ConnectOptions, 'originalDst' | 'host' | 'forwardPort'>
type Told = HostEvents & {
  readonly resolve: Resolve
  /** Called for each host that requests named and that nobody gets any more. */
  readonly forgotten: (host: Host) => void
}

export class ClusterHosts implements Disposable {
  /** Those that are load balanced. */
  readonly balanced: Hosts
  readonly #ctx: Context
  readonly #cluster: Cluster
  readonly #dns: DnsLoad | undefined
  readonly #forward: ForwardHosts | undefined
  readonly #original: OriginalHosts
  #tables: Tables | undefined

  constructor(ctx: Context, cluster: Cluster, { resolve, forgotten, ...events }: Told) {
    this.#ctx = ctx
    this.#cluster = cluster
    this.balanced = new Hosts({
      cluster,
      clock: ctx.clock,
      random: ctx.random,
      isLinkDown: ctx.isLinkDown,
      ...events,
    })
    this.#original = new OriginalHosts(countOriginal(ctx.metrics))
    const { discovery } = cluster
    if (discovery.kind === 'forward-proxy') {
      this.#forward = new ForwardHosts(discovery, { clock: ctx.clock, resolve, forgotten })
    }
    if (discovery.kind === 'dns') {
      // Whoever is asked whether it is well is looked up without a request, too.
      const found = cluster.healthCheck && ((): void => this.update())
      this.#dns = new DnsLoad(discovery, { clock: ctx.clock, resolve, log: ctx.log, found })
    }
  }

  get every(): Iterable<Host> {
    if (this.#forward) return this.#forward.all
    return this.#cluster.discovery.kind === 'original-dst' ? this.#original.all : this.balanced.all
  }
  /** They are those that requests name. */
  get areNamed(): boolean {
    return this.#forward !== undefined
  }

  /** Without waiting for a request. */
  begin(): void {
    if (this.#dns) detach('upstream', this.#dns.ready())
    this.update()
  }

  /** @returns undefined: what it needs is known */
  resolveFirst(wanted: Pick<HostWanted, 'host' | 'forwardPort'>): (() => Promise<void>) | undefined {
    const [dns, forward] = [this.#dns, this.#forward]
    if (dns) return dns.current ? undefined : () => dns.ready()
    const target = forward && this.#forwardTarget(wanted)
    return !target || forward.find(target) ? undefined : () => forward.resolve(target)
  }

  /** Throws MESH_UPSTREAM_OVERFLOW for one more original destination than may be. */
  pick(wanted: HostWanted): Host | undefined {
    if (this.#cluster.discovery.kind === 'original-dst')
      return wanted.originalDst && this.#original.hostAt(wanted.originalDst, this.#cluster.discovery.portOverride)
    if (this.#forward) {
      const target = this.#forwardTarget(wanted)
      return target && this.#forward.find(target)
    }
    this.update()
    return this.balanced.pick(wanted)
  }
  /** Envoy's default ports of dynamic_forward_proxy. */
  #forwardTarget({ host, forwardPort }: Pick<HostWanted, 'host' | 'forwardPort'>): ForwardTarget | undefined {
    return readForwardTarget(host, forwardPort ?? (this.#cluster.transport.kind === 'tls' ? 443 : 80))
  }

  /** Cheap when nothing has changed. */
  update(): void {
    const { discovery } = this.#cluster
    switch (discovery.kind) {
      case 'static':
        this.balanced.update(discovery.load)
        return
      case 'dns':
        this.balanced.update(this.#dns?.current)
        return
      case 'original-dst':
      case 'forward-proxy':
      case 'internal':
        return
      case 'eds': {
        const tables = this.#ctx.tables.get()
        if (tables === this.#tables) return
        this.#tables = tables
        this.balanced.update(tables.load(discovery.serviceName))
        return
      }
      default:
        discovery satisfies never
    }
  }

  /** Names are not looked up again. */
  [Symbol.dispose](): void {
    this.#dns?.[Symbol.dispose]()
  }
}

function countOriginal(metrics: Metrics): (what: 'forgotten' | 'refused') => void {
  const family = metrics.counter(
    'mesh_upstream_original_hosts_bound_total',
    'Original destinations forgotten or refused, because a cluster knows as many as it may.',
    ['what'],
  )
  return (what) => {
    family.cell({ what }).value++
  }
}
