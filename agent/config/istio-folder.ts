/**
 * The five files that `istioctl x workload entry configure` writes for a machine outside of Kubernetes, as settings of
 * agent.yaml: cluster.env, mesh.yaml, hosts, istio-token, root-cert.pem. They are Istio's: what meshlet does not act
 * upon is listed and is no mistake.
 */
import path from 'node:path'
import type { Disk } from '../../core/os/disk.ts'
import { MeshError } from '../../core/errors.ts'
import { readYaml, type ConfigProblem, type Origin } from '../../core/yaml.ts'
import { parseEnvFile, type EnvEntry } from './env-file.ts'
import { addressesOf } from './hosts-file.ts'
import { meshSettings } from './istio-mesh.ts'
import { settingsOfEnv } from './node-env.ts'

export type IstioFolder = {
  /** In agent.yaml's form, before defaults and checks. */
  readonly settings: object
  readonly problems: readonly ConfigProblem[]
  /** FILE:LINE: what stands there and why nothing is done with it. */
  readonly ignored: readonly string[]
  originOf(path: readonly PropertyKey[]): Origin | undefined
}

/** What Istio's agent asks when mesh.yaml names nothing (istio pkg/config/mesh). */
const DEFAULT_DISCOVERY = 'istiod.istio-system.svc:15012'
/** What Istio's agent calls istiod that it reaches as localhost. */
const DEFAULT_SERVER_NAME = 'istiod.istio-system.svc'
const DEFAULT_TRUST_DOMAIN = 'cluster.local'
const DEFAULT_HTTP_PROXY_PORT = 15_080

/** Used here, or said in a better place by another variable. */
const ACTED_ON = new Set([
  'POD_NAME',
  'POD_NAMESPACE',
  'SERVICE_ACCOUNT',
  'TRUST_DOMAIN',
  'ISTIO_SVC_IP',
  'ISTIOD_SAN',
  'SECRET_TTL',
  'CANONICAL_SERVICE',
  'CANONICAL_REVISION',
])

/** Throws MESH_CONFIG_INVALID when the folder has no mesh.yaml or cluster.env, or one of the files cannot be read. */
export function readIstioFolder(folder: string, disk: Disk): IstioFolder {
  const file = (name: string): string => path.join(folder, name)
  const env = parseEnvFile(readText(file('cluster.env'), disk))
  const mesh = readYaml(readText(file('mesh.yaml'), disk))
  const inMesh = meshSettings(mesh, file('mesh.yaml'))
  // istioctl writes proxyMetadata into both files; a person edits cluster.env.
  const fromMesh = inMesh.proxyMetadata.filter((m) => !env.entries.some((e) => e.key === m.key))
  const all = new Map([
    ...fromMesh.map((e) => [e.key, { ...e, file: file('mesh.yaml') }] as const),
    ...env.entries.map((e) => [e.key, { ...e, file: file('cluster.env') }] as const),
  ])
  const given = (key: string): string | undefined => all.get(key)?.value || undefined
  const meta = settingsOfEnv([...all.values()].map((e) => [e.key, e.value]))
  const origins = new Map<string, Origin>(inMesh.origins)
  const says = (setting: string, key: string): void => {
    const at = all.get(key)
    if (at) origins.set(setting, at)
  }
  for (const [setting, key] of meta.origins) says(setting, key)
  for (const [setting, key] of [
    ['node.namespace', given('POD_NAMESPACE') === undefined ? 'ISTIO_NAMESPACE' : 'POD_NAMESPACE'],
    ['node.serviceAccount', 'SERVICE_ACCOUNT'],
    ['node.ip', 'ISTIO_SVC_IP'],
    ['node.name', 'POD_NAME'],
    ['control.serverName', 'ISTIOD_SAN'],
    ['listeners.0.port', 'ISTIO_META_HTTP_PROXY_PORT'],
    ['control.certificateTtlSec', 'SECRET_TTL'],
  ] as const)
    says(setting, key)

  const discovery = inMesh.discoveryAddress ?? DEFAULT_DISCOVERY
  // Announced where there is a listener and a DNS proxy for them, and only there.
  const {
    HTTP_PROXY_PORT: _,
    DNS_CAPTURE: dnsCapture,
    ...metadata
  } = (meta.node['metadata'] ?? {}) as Record<string, unknown>
  const port = meta.httpProxyPort === undefined ? DEFAULT_HTTP_PROXY_PORT : asNumber(meta.httpProxyPort)
  return {
    settings: compact({
      ...inMesh.settings,
      dns: dnsCapture === 'true' ? {} : undefined,
      capture: meta.capture ?? inMesh.capture,
      node: compact({
        meshId: inMesh.meshId,
        ...meta.node,
        name: given('POD_NAME') ?? meta.node['name'],
        namespace: given('POD_NAMESPACE') ?? given('ISTIO_NAMESPACE') ?? meta.node['namespace'],
        serviceAccount: given('SERVICE_ACCOUNT') ?? meta.node['serviceAccount'],
        ip: given('ISTIO_SVC_IP') ?? meta.node['ip'],
        metadata: {
          TRUST_DOMAIN: given('TRUST_DOMAIN') ?? DEFAULT_TRUST_DOMAIN,
          PROXY_CONFIG: inMesh.proxyConfig,
          ...metadata,
        },
      }),
      control: compact({
        ...dialed(discovery, readText(file('hosts'), disk, ''), given('ISTIOD_SAN')),
        roots: file('root-cert.pem'),
        token: file('istio-token'),
        certificateTtlSec: seconds(given('SECRET_TTL')),
      }),
      listeners: port === '' || port === 0 ? [] : [{ name: 'http-proxy', kind: 'http_proxy', port }],
    }),
    problems: [
      ...env.problems.map((p) => ({ ...p, path: '', file: file('cluster.env') })),
      ...inMesh.problems,
      ...meta.problems.map(({ variable, problem }) => ({
        file: all.get(variable)!.file,
        line: all.get(variable)!.line,
        path: variable,
        problem,
      })),
    ],
    ignored: [
      ...[...all.values()].filter((e) => isIgnored(e, discovery)).map((e) => `${e.file}:${e.line}: ${e.key}`),
      ...inMesh.ignored,
    ],
    originOf: (at) => origins.get(at.map(String).join('.')),
  }
}

/** `hosts` stands in for /etc/hosts: the address comes from it, the name in the certificate stays. */
function dialed(
  discovery: string,
  hosts: string,
  san: string | undefined,
): { readonly address: string | readonly string[]; readonly serverName: string | undefined } {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(discovery) ?? []
  const addresses = addressesOf(host, hosts)
  const serverName = san ?? (host === 'localhost' ? DEFAULT_SERVER_NAME : addresses.length > 0 ? host : undefined)
  if (addresses.length === 0) return { address: discovery, serverName }
  return { address: addresses.map((a) => (a.includes(':') ? `[${a}]:${port}` : `${a}:${port}`)), serverName }
}

/** The CA that istioctl names is the control plane itself; another one would not be asked. */
function isIgnored({ key, value }: EnvEntry, discovery: string): boolean {
  if (key === 'CA_ADDR') return value !== discovery
  return !ACTED_ON.has(key) && key !== 'ISTIO_NAMESPACE' && !/^ISTIO_META(JSON)?_./.test(key)
}

/** A Go duration such as 72h or 1h30m; what is none is left for the schema to refuse. */
function seconds(duration: string | undefined): number | string | undefined {
  if (duration === undefined || !/^(\d+(\.\d+)?(h|m|s))+$/.test(duration)) return duration
  const unit: Readonly<Record<string, number>> = { h: 3_600, m: 60, s: 1 }
  return Math.round(
    [...duration.matchAll(/([\d.]+)(h|m|s)/g)].reduce((sum, [, n, u]) => sum + Number(n) * unit[u!]!, 0),
  )
}

const asNumber = (text: string): number | string => (/^\d{1,5}$/.test(text) ? Number(text) : text)
const compact = (settings: object): object =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))

/** @param absent what a file that is not there says; undefined = it has to be there */
function readText(file: string, disk: Disk, absent?: string): string {
  let content: Buffer | undefined
  try {
    content = disk.read(file)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be read`, { cause })
  }
  const text = content?.toString('utf8') ?? absent
  if (text === undefined)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `there is no file ${file}; istioctl x workload entry configure writes it`,
    )
  return text
}
