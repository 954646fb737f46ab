/** A node, as far as an istiod's answer depends on it: what its first request says of it (pkg/model/proxy.go). */
import { ipBytes } from '../../model/ip.ts'
import type { Labels } from './kinds/fields.ts'

export type Interception = 'NONE' | 'REDIRECT' | 'TPROXY'
export type IstioNode = {
  readonly namespace: string
  readonly labels: Labels
  /** STATIC_LABELS: under those of a WorkloadEntry. */
  readonly staticLabels: Labels
  /** The first one counts where one is needed. */
  readonly ips: readonly string[]
  readonly clusterId: string
  readonly meshId: string
  readonly network: string
  readonly interception: Interception
  readonly httpProxyPort: number | undefined
  readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string }
  /** Ports that the proxy has for itself. */
  readonly reservedPorts: readonly number[]
  readonly acceptsHttp10: boolean
  readonly idleTimeout: string | undefined
  readonly isUnprivileged: boolean
}

type Metadata = Readonly<Record<string, unknown>>
/** envoy.config.core.v3.Node, as requests carry it. */
export type NodeMessage = {
  readonly id: string
  readonly metadata?: Metadata | undefined
  readonly locality?: { readonly region: string; readonly zone: string; readonly subZone: string } | undefined
}

const NOWHERE = { region: '', zone: '', subZone: '' }
const MAX_IPS = 16

/** @param namespace of the certificate: what a node says of itself does not make it another's */
export function readIstioNode({ id, metadata = {}, locality = NOWHERE }: NodeMessage, namespace: string): IstioNode {
  const text = (key: string): string | undefined => {
    const value = metadata[key]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const number = (key: string): number | undefined => {
    const value = Number(metadata[key])
    return Number.isInteger(value) && value > 0 && value <= 65_535 ? value : undefined
  }
  const ips = (text('INSTANCE_IPS') ?? id.split('~')[1] ?? '').split(',').filter((ip) => ipBytes(ip) !== undefined)
  const mode = text('INTERCEPTION_MODE')
  return {
    namespace,
    labels: readLabels(metadata['LABELS']),
    staticLabels: readLabels(metadata['STATIC_LABELS']),
    ips: ips.slice(0, MAX_IPS),
    clusterId: text('CLUSTER_ID') ?? '',
    meshId: text('MESH_ID') ?? 'unknown',
    network: text('NETWORK') ?? '',
    interception: mode === 'NONE' || mode === 'TPROXY' ? mode : 'REDIRECT',
    httpProxyPort: number('HTTP_PROXY_PORT'),
    locality: { region: locality.region, zone: locality.zone, subZone: locality.subZone },
    reservedPorts: [number('ENVOY_STATUS_PORT'), number('ENVOY_PROMETHEUS_PORT')].filter((p) => p !== undefined),
    acceptsHttp10: metadata['HTTP10'] === '1',
    idleTimeout: text('IDLE_TIMEOUT'),
    isUnprivileged: text('UNPRIVILEGED_POD') === 'true',
  }
}

function readLabels(value: unknown): Labels {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).filter((e): e is [string, string] => typeof e[1] === 'string'))
}

/** IPv6 only where no address is of IPv4. */
export function hasIpv4({ ips }: Pick<IstioNode, 'ips'>): boolean {
  return ips.length === 0 || ips.some((ip) => !ip.includes(':'))
}
export const chooseAnyAddress = (node: IstioNode): string => (hasIpv4(node) ? '0.0.0.0' : '::')
export const chooseLoopback = (node: IstioNode): string => (hasIpv4(node) ? '127.0.0.1' : '::1')
