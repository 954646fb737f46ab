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
import { findAddresses } from './hosts-file.ts'
import { readMeshSettings, type MeshSettings } from './istio-mesh.ts'
import { readEnvSettings, type EnvSettings } from './node-env.ts'

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
/** Server name that Istio's agent expects of an istiod that it reaches as localhost. */
const DEFAULT_SERVER_NAME = 'istiod.istio-system.svc'
const DEFAULT_TRUST_DOMAIN = 'cluster.local'
const DEFAULT_HTTP_PROXY_PORT = 15_080

/** Annotations prometheus.io/* of a pod, as pilot-agent gets them: `{"scrape":"true","port":"8080","path":"/metrics"}`. */
const ANNOTATIONS = 'ISTIO_PROMETHEUS_ANNOTATIONS'

/** Used here, or given by another variable in a better form. */
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
  ANNOTATIONS,
])
/** First argument of `pilot-agent proxy`, which istio-start.sh takes from ISTIO_AGENT_FLAGS. */
const ROLES: ReadonlySet<string> = new Set(['sidecar', 'router'])

/** Throws MESH_CONFIG_INVALID when the folder has no mesh.yaml or cluster.env, or one of the files cannot be read. */
export function readIstioFolder(folder: string, disk: Disk): IstioFolder {
  const file = (name: string): string => path.join(folder, name)
  const env = parseEnvFile(readText(file('cluster.env'), disk))
  const mesh = readMeshSettings(readYaml(readText(file('mesh.yaml'), disk)), file('mesh.yaml'))
  const variables = new Variables(
    env.entries.map((e) => ({ ...e, file: file('cluster.env') })),
    mesh.proxyMetadata.map((e) => ({ ...e, file: file('mesh.yaml') })),
  )
  const node = readEnvSettings(variables.all.map((e) => [e.key, e.value]))
  const origins = new Map([...mesh.origins, ...originsIn(variables, node)])
  const discovery = mesh.discoveryAddress ?? DEFAULT_DISCOVERY
  const scraped = readScraped(variables.value(ANNOTATIONS), metadataOf(node)['ANNOTATIONS'])
  const isRouter = variables.value('ISTIO_AGENT_FLAGS') === 'router'
  return {
    settings: compact({
      ...mesh.settings,
      telemetry: typeof scraped === 'string' ? undefined : scraped,
      dns: metadataOf(node)['DNS_CAPTURE'] === 'true' ? {} : undefined,
      capture: node.capture ?? mesh.capture,
      node: nodeSettings(variables, node, mesh),
      control: compact({
        ...dialed(discovery, readText(file('hosts'), disk, ''), variables.value('ISTIOD_SAN')),
        roots: file('root-cert.pem'),
        token: file('istio-token'),
        certificateTtlSec: seconds(variables.value('SECRET_TTL')),
      }),
      // istiod has routes of an explicit proxy for sidecars alone.
      listeners: isRouter ? [] : httpProxy(node.httpProxyPort),
    }),
    problems: [
      ...env.problems.map((p) => ({ ...p, path: '', file: file('cluster.env') })),
      ...mesh.problems,
      ...(typeof scraped === 'string' ? [{ ...originOfScraped(variables)!, path: ANNOTATIONS, problem: scraped }] : []),
      ...node.problems.map(({ variable, problem }) => ({ ...variables.origin(variable)!, path: variable, problem })),
    ],
    ignored: [
      ...variables.all.filter((e) => isIgnored(e, discovery)).map((e) => `${e.file}:${e.line}: ${e.key}`),
      ...mesh.ignored,
    ],
    originOf: (at) => origins.get(at.map(String).join('.')),
  }
}

type Variable = EnvEntry & { readonly file: string }

/** Merged from both files. istioctl writes proxyMetadata into both; people edit cluster.env, so that one takes precedence. */
class Variables {
  readonly #byKey: ReadonlyMap<string, Variable>

  constructor(ofEnv: readonly Variable[], ofMesh: readonly Variable[]) {
    const inMeshAlone = ofMesh.filter((m) => !ofEnv.some((e) => e.key === m.key))
    this.#byKey = new Map([...inMeshAlone, ...ofEnv].map((e) => [e.key, e]))
  }
  get all(): readonly Variable[] {
    return [...this.#byKey.values()]
  }
  /** Undefined also for one that is empty. */
  value(key: string): string | undefined {
    return this.#byKey.get(key)?.value || undefined
  }
  origin(key: string): Origin | undefined {
    const found = this.#byKey.get(key)
    return found && { file: found.file, line: found.line }
  }
}

/** Which line says which setting. */
function* originsIn(variables: Variables, node: EnvSettings): Generator<[setting: string, origin: Origin]> {
  const namespace = variables.value('POD_NAMESPACE') === undefined ? 'ISTIO_NAMESPACE' : 'POD_NAMESPACE'
  for (const [setting, key] of [
    ...node.origins,
    ['node.namespace', namespace],
    ['node.serviceAccount', 'SERVICE_ACCOUNT'],
    ['node.ip', 'ISTIO_SVC_IP'],
    ['node.name', 'POD_NAME'],
    ['node.type', 'ISTIO_AGENT_FLAGS'],
    ['control.serverName', 'ISTIOD_SAN'],
    ['listeners.0.port', 'ISTIO_META_HTTP_PROXY_PORT'],
    ['control.certificateTtlSec', 'SECRET_TTL'],
  ] as const) {
    const origin = variables.origin(key)
    if (origin) yield [setting, origin]
  }
}

function nodeSettings(variables: Variables, env: EnvSettings, mesh: MeshSettings): object {
  const { node } = env
  // Announced where there is a listener and a DNS proxy for them, and only there.
  const { HTTP_PROXY_PORT: _, DNS_CAPTURE: __, ...metadata } = metadataOf(env)
  const role = variables.value('ISTIO_AGENT_FLAGS')
  return compact({
    meshId: mesh.meshId,
    ...node,
    type: role !== undefined && ROLES.has(role) ? role : undefined,
    name: variables.value('POD_NAME') ?? node['name'],
    namespace: variables.value('POD_NAMESPACE') ?? variables.value('ISTIO_NAMESPACE') ?? node['namespace'],
    serviceAccount: variables.value('SERVICE_ACCOUNT') ?? node['serviceAccount'],
    ip: variables.value('ISTIO_SVC_IP') ?? node['ip'],
    metadata: {
      TRUST_DOMAIN: variables.value('TRUST_DOMAIN') ?? DEFAULT_TRUST_DOMAIN,
      PROXY_CONFIG: mesh.proxyConfig,
      ...metadata,
    },
  })
}

function metadataOf({ node }: EnvSettings): Readonly<Record<string, unknown>> {
  return (node['metadata'] ?? {}) as Record<string, unknown>
}

/** Where pilot-agent has the metrics of Envoy and of the application together. */
const MERGED_PORT = 15_020

function originOfScraped(variables: Variables): Origin | undefined {
  return variables.origin(ANNOTATIONS) ?? variables.origin('ISTIO_METAJSON_ANNOTATIONS')
}

/**
 * @param annotations of the node, which say it where the variable does not
 * @returns settings of `telemetry`, undefined where nothing is to be scraped, or what is wrong
 */
function readScraped(text: string | undefined, annotations: unknown): object | string | undefined {
  if (text === undefined) {
    const of = (annotations ?? {}) as Readonly<Record<string, unknown>>
    const [scrape, port, at] = ['scrape', 'port', 'path'].map((name) => of[`prometheus.io/${name}`])
    return port === undefined ? undefined : toTelemetry({ scrape, port, path: at })
  }
  let said: unknown
  try {
    said = JSON.parse(text)
  } catch {
    return 'is no JSON'
  }
  if (typeof said !== 'object' || said === null || Array.isArray(said))
    return 'must be an object with scrape, port and path'
  return toTelemetry(said as Readonly<Record<string, unknown>>)
}

function toTelemetry({ scrape, port, path: at }: Readonly<Record<string, unknown>>): object | string | undefined {
  if (scrape !== undefined && scrape !== 'true' && scrape !== true) return undefined
  const number = typeof port === 'string' ? asNumber(port) : (port ?? 80)
  if (typeof number !== 'number' || number === 0) return `port must be one, not ${JSON.stringify(port)}`
  // Its own metrics are there once.
  const applications = number === MERGED_PORT ? [] : [{ port: number, path: at || '/metrics' }]
  return { ports: [MERGED_PORT], applications }
}

/** None when the port is 0 or empty. */
function httpProxy(said: string | undefined): object[] {
  const port = said === undefined ? DEFAULT_HTTP_PROXY_PORT : asNumber(said)
  return port === '' || port === 0 ? [] : [{ name: 'http-proxy', kind: 'http_proxy', port }]
}

/** `hosts` stands in for /etc/hosts: the address comes from it, the name in the certificate stays. */
function dialed(
  discovery: string,
  hosts: string,
  san: string | undefined,
): { readonly address: string | readonly string[]; readonly serverName: string | undefined } {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(discovery) ?? []
  const addresses = findAddresses(host, hosts)
  const serverName = san ?? (host === 'localhost' ? DEFAULT_SERVER_NAME : addresses.length > 0 ? host : undefined)
  if (addresses.length === 0) return { address: discovery, serverName }
  return { address: addresses.map((a) => (a.includes(':') ? `[${a}]:${port}` : `${a}:${port}`)), serverName }
}

/** The CA that istioctl names is the control plane itself; another one would not be asked. */
function isIgnored({ key, value }: EnvEntry, discovery: string): boolean {
  if (key === 'ISTIO_AGENT_FLAGS') return !ROLES.has(value)
  if (key === 'CA_ADDR') return value !== discovery
  return !ACTED_ON.has(key) && key !== 'ISTIO_NAMESPACE' && !/^ISTIO_META(JSON)?_./.test(key)
}

/** A Go duration such as 72h or 1h30m. Anything else is left for the schema to refuse. */
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

/** @param absent content of a missing file; undefined = the file must exist */
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
