/** A folder of Istio resources as one mesh: what nodes are compiled from. */
import { resolveHost, type Config, type Configs } from '../config.ts'
import type { Destination } from '../kinds/fields.ts'
import type { VirtualService } from '../kinds/virtual-service.ts'
import { DestinationRules } from './destination-rules.ts'
import { PeerPolicies } from './peer-policies.ts'
import { Registry } from './registry.ts'
import { listEntries } from './services.ts'

/** Of an istiod's mesh configuration; everything else is as Istio's Helm chart has it. */
export type MeshOptions = {
  readonly trustDomain: string
  readonly rootNamespace: string
  /** Of names such as orders.shop.svc.cluster.local. */
  readonly domain: string
  readonly clusterId: string
}
export const DEFAULT_MESH: MeshOptions = {
  trustDomain: 'cluster.local',
  rootNamespace: 'istio-system',
  domain: 'cluster.local',
  clusterId: 'Kubernetes',
}

export type Mesh = {
  readonly options: MeshOptions
  readonly configs: Configs
  readonly registry: Registry
  readonly rules: DestinationRules
  /** VirtualServices with whole names. */
  readonly routes: readonly Config<'VirtualService'>[]
  readonly peers: PeerPolicies
}

export function makeMesh(configs: Configs, options: MeshOptions): Mesh {
  const { rootNamespace, domain } = options
  return {
    options,
    configs,
    registry: new Registry(listEntries(configs.ServiceEntry, configs.WorkloadEntry, options)),
    rules: new DestinationRules(configs.DestinationRule, { root: rootNamespace, domain }),
    routes: configs.VirtualService.map((config) => ({ ...config, spec: withWholeNames(config, domain) })),
    peers: new PeerPolicies(configs.PeerAuthentication, rootNamespace),
  }
}

function withWholeNames({ spec, namespace }: Config<'VirtualService'>, domain: string): VirtualService {
  const whole = <D extends Destination>(d: D): D => ({ ...d, host: resolveHost(d.host, namespace, domain) })
  const routes = <R extends { readonly destination: Destination }>(all: readonly R[]): R[] =>
    all.map((r) => ({ ...r, destination: whole(r.destination) }))
  return {
    ...spec,
    hosts: spec.hosts.map((host) => resolveHost(host, namespace, domain)),
    http: spec.http?.map((r) => ({
      ...r,
      route: r.route && routes(r.route),
      mirror: r.mirror && whole(r.mirror),
      mirrors: r.mirrors && routes(r.mirrors),
    })),
    tcp: spec.tcp?.map((r) => ({ ...r, route: routes(r.route) })),
    tls: spec.tls?.map((r) => ({ ...r, route: routes(r.route) })),
  }
}
