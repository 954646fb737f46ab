/**
 * ServiceEntry, WorkloadEntry → services with endpoints, as istiod's registry has them
 * (pilot/pkg/serviceregistry/serviceentry/conversion.go).
 */
import { ipBytes, parseRange } from '../../../model/ip.ts'
import { compareText, isSelected, type Config } from '../config.ts'
import type { Labels } from '../kinds/fields.ts'
import type { WorkloadEntry } from '../kinds/workload-entry.ts'
import { addTopology } from './locality.ts'
import { parseProtocol, type Protocol } from './protocols.ts'

export type Port = { readonly number: number; readonly name: string; readonly protocol: Protocol }
export type Resolution = 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN'
export type Service = {
  readonly hostname: string
  readonly namespace: string
  readonly isExternal: boolean
  /** IP address, CIDR, or 0.0.0.0 for one without an address. */
  readonly address: string
  readonly ports: readonly Port[]
  readonly resolution: Resolution
  readonly exportTo: readonly string[]
  readonly hasSelector: boolean
  /** Port → port of the endpoint, with resolution NONE. */
  readonly portOverrides: ReadonlyMap<number, number>
  readonly subjectAltNames: readonly string[]
  readonly createdMs: number
}
export type Endpoint = {
  readonly address: string
  readonly port: number
  readonly portName: string
  readonly labels: Labels
  /** As the label security.istio.io/tlsMode has it. */
  readonly tlsMode: string
  /** SPIFFE URI, '' for none. */
  readonly account: string
  readonly locality: string
  readonly weight: number
  readonly namespace: string
  readonly workload: string
}
/** One ServiceEntry's host at one address, and what stands behind it. */
export type Entry = {
  readonly service: Service
  readonly endpoints: readonly Endpoint[]
  readonly ports: readonly EntryPort[]
}
type EntryPort = Port & { readonly targetPort: number | undefined }

export type RegistryOptions = { readonly trustDomain: string; readonly clusterId: string }

export const ANY_ADDRESS = '0.0.0.0'
const TLS_MODE = 'security.istio.io/tlsMode'

/** In the order of istiod: older ServiceEntries first, then by host and namespace. */
export function listEntries(
  serviceEntries: readonly Config<'ServiceEntry'>[],
  workloadEntries: readonly Config<'WorkloadEntry'>[],
  o: RegistryOptions,
): Entry[] {
  const workloads = workloadEntries.map((config) => ({ config, workload: toWorkload(config, o) }))
  const entries = serviceEntries.flatMap((config) => entriesOf(config, workloads, o))
  return entries.sort(
    ({ service: a }, { service: b }) =>
      a.createdMs - b.createdMs || compareText(a.hostname, b.hostname) || compareText(a.namespace, b.namespace),
  )
}

type Workload = Omit<Endpoint, 'port' | 'portName'> & { readonly ports: Readonly<Record<string, number>> }
type Selectable = { readonly config: Config<'WorkloadEntry'>; readonly workload: Workload }

function entriesOf(config: Config<'ServiceEntry'>, workloads: readonly Selectable[], o: RegistryOptions): Entry[] {
  const { spec, namespace, name } = config
  const resolution = spec.resolution ?? 'NONE'
  const ports = (spec.ports ?? []).map((p) => ({
    number: p.number,
    name: p.name,
    protocol: parseProtocol(p.protocol),
    targetPort: p.targetPort,
  }))
  const isDns = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN'
  const behind = spec.workloadSelector
    ? selectWorkloads(config, workloads, isDns)
    : (spec.endpoints ?? []).map((endpoint, i) => describe(endpoint, { namespace, name: `${name}-${i}` }, o))
  return spec.hosts.flatMap((hostname) =>
    listAddresses(spec.addresses ?? []).map((address) => {
      const service: Service = {
        hostname,
        namespace,
        isExternal: spec.location !== 'MESH_INTERNAL',
        address,
        ports,
        resolution,
        exportTo: spec.exportTo ?? [],
        hasSelector: spec.workloadSelector !== undefined,
        portOverrides: new Map(
          resolution === 'NONE' ? ports.flatMap((p) => (p.targetPort ? [[p.number, p.targetPort]] : [])) : [],
        ),
        subjectAltNames: spec.subjectAltNames ?? [],
        createdMs: config.createdMs,
      }
      const itself = !spec.workloadSelector && behind.length === 0 && isDns
      const all = itself ? [describeHost(hostname, config)] : behind
      return { service, ports, endpoints: all.flatMap((workload) => placeAtPorts(workload, ports)) }
    }),
  )
}

/** An address of one host is a plain one. */
function listAddresses(addresses: readonly string[]): string[] {
  if (addresses.length === 0) return [ANY_ADDRESS]
  return addresses.map((address) => {
    const range = parseRange(address)
    return range && range.prefixBits === range.bytes.length * 8 ? address.split('/')[0]! : address
  })
}

function selectWorkloads(
  { spec, namespace }: Config<'ServiceEntry'>,
  all: readonly Selectable[],
  isDns: boolean,
): Workload[] {
  return all
    .filter(
      ({ config, workload }) =>
        config.namespace === namespace &&
        isSelected(spec.workloadSelector?.labels, workload.labels) &&
        (isDns || ipBytes(workload.address) !== undefined),
    )
    .sort((a, b) => compareText(a.config.name, b.config.name))
    .map(({ workload }) => workload)
}

function placeAtPorts(workload: Workload, ports: readonly EntryPort[]): Endpoint[] {
  const { ports: own, ...rest } = workload
  return ports.map((p) => ({ ...rest, portName: p.name, port: own[p.name] ?? p.targetPort ?? p.number }))
}

function toWorkload(
  { spec, labels, annotations, namespace, name }: Config<'WorkloadEntry'>,
  o: RegistryOptions,
): Workload {
  const merged = { ...spec.labels, ...labels }
  // WorkloadNameFromWorkloadEntry: of the group that registered it, of the label, its own.
  const workload = annotations['istio.io/autoRegistrationGroup'] ?? merged['service.istio.io/workload-name'] ?? name
  return describe({ ...spec, labels: merged }, { namespace, name: workload }, o)
}

function describe(
  entry: WorkloadEntry,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  { trustDomain, clusterId }: RegistryOptions,
): Workload {
  const { labels = {}, serviceAccount = '' } = entry
  const locality = entry.locality ?? labels['istio-locality']?.replaceAll('.', '/') ?? ''
  return {
    address: entry.address ?? '',
    ports: entry.ports ?? {},
    labels: addTopology(labels, { clusterId, locality, network: entry.network ?? '' }),
    tlsMode: labels[TLS_MODE] ?? (serviceAccount === '' ? 'disabled' : 'istio'),
    account: serviceAccount === '' ? '' : `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`,
    locality,
    weight: entry.weight ?? 0,
    namespace,
    workload: name,
  }
}

/** A service that is looked up by its own name. */
function describeHost(hostname: string, { namespace, name }: Config<'ServiceEntry'>): Workload {
  const nothing = { ports: {}, labels: {}, tlsMode: 'disabled', account: '', locality: '', weight: 0 }
  return { address: hostname, ...nothing, namespace, workload: name }
}

/** `service.istio.io/canonical-…`, or what stands for it (pkg/kube/labels). */
export function readCanonical(labels: Labels, workload: string): { readonly name: string; readonly revision: string } {
  return {
    name: labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels['app'] ?? workload,
    revision:
      labels['service.istio.io/canonical-revision'] ??
      labels['app.kubernetes.io/version'] ??
      labels['version'] ??
      'latest',
  }
}
