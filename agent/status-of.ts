/** Collects AgentStatus from the parts. Everything that is wrong becomes a problem with a code and a remedy. */
import { hasWorkloadEntry } from '../control-sync/node.ts'
import type { HealthChecker } from '../protocols/health/checker.ts'
import type { Bridge } from '../protocols/mqtt/bridge.ts'
import type { Broker } from '../protocols/mqtt/broker.ts'
import type { Spool } from '../protocols/mqtt/spool/spool.ts'
import type { DataPath } from '../protocols/data-path.ts'
import type { DnsProxy } from '../protocols/dns/proxy.ts'
import type { AgentFacts } from './agent.ts'
import { captureProblem } from './config/capture.ts'
import { exposureProblems } from './config/exposure.ts'
import type { AgentConfig } from './config/schema.ts'
import type { Configuration } from './configuration.ts'
import type { Clock } from './core/clock.ts'
import type { Current } from './core/current.ts'
import { MeshError } from './core/errors.ts'
import type { InheritedSockets } from './core/inherited-sockets.ts'
import type { Metrics } from './core/metrics.ts'
import type { NamedFiles } from './core/named-files.ts'
import type { AgentIdentity } from './identity.ts'
import { wantedListeners } from '../protocols/wanted-listeners.ts'
import type { FilterChain, Listener } from './model/listener.ts'
import type { ResourceKind } from './model/snapshot.ts'
import type { Tables } from './model/tables.ts'
import type { OwnNode } from './own-node.ts'
import type { Readiness } from './readiness.ts'
import type { AgentStatus, Problem } from './status.ts'

export type StatusParts = {
  readonly config: AgentConfig
  readonly facts: AgentFacts
  readonly node: OwnNode
  readonly startedMs: number
  readonly clock: Clock
  readonly metrics: Metrics
  readonly tables: Current<Tables>
  readonly files: NamedFiles
  readonly readiness: Readiness
  readonly identity: AgentIdentity
  readonly configuration: Configuration
  readonly dataPath: DataPath
  /** Listeners of agent.yaml. */
  readonly own: readonly Listener[]
  readonly inherited: InheritedSockets | undefined
  readonly dns: DnsProxy | undefined
  readonly broker: Broker
  readonly bridge: Bridge
  readonly spool: Spool
  readonly workload: HealthChecker | undefined
  /** Why the admin port is not open. */
  readonly adminError: () => MeshError | undefined
  readonly isDraining: () => boolean
  /** Of the disk that holds the state; throws what the system says. */
  readonly freeBytes: () => number
}

/** Shown in a person's words; the rest is Envoy's or Istio's own. */
const KIND_NAMES: Readonly<Record<ResourceKind, string>> = {
  cluster: 'clusters', endpoint: 'endpoint sets', listener: 'listeners', route: 'route tables', extension: 'extensions', nameTable: 'name tables', proxyConfig: 'proxy configs',
}
/** More names of the same kind help nobody. */
const MAX_LISTED = 20

export function statusOf(p: StatusParts): AgentStatus {
  const now = p.clock.monotonicMs()
  const sinceSec = (ms: number): number => Math.max(0, Math.round((now - ms) / 1000))
  const sinceWallSec = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : Math.max(0, Math.round((p.clock.wallMs() - ms) / 1000)))
  const link = p.configuration.link()
  const { applier } = p.configuration
  const identity = p.identity.current()
  const { snapshot } = applier
  return {
    version: p.facts.version, node: p.node.description.id, state: p.isDraining() ? 'draining' : p.readiness.ready ? 'ready' : 'starting',
    waitingFor: p.readiness.pending, uptimeSec: sinceSec(p.startedMs),
    control: {
      mode: link.mode, address: link.address, link: link.state, sinceSec: sinceSec(link.sinceMs),
      heldClusters: link.held?.clusters ?? 0,
      lastContactSec: link.lastContactMs === undefined ? sinceWallSec(applier.contactAtMs) : sinceSec(link.lastContactMs),
    },
    certificate: identity && {
      spiffeId: identity.spiffeId.uri, serial: identity.serial, notAfter: new Date(identity.notAfterMs).toISOString(),
      expiresInSec: Math.round((identity.notAfterMs - p.identity.judge.nowMs()) / 1000),
      renewalInSec: p.identity.renewalAtMs === undefined ? undefined : Math.max(0, Math.round((p.identity.renewalAtMs - now) / 1000)),
    },
    config: {
      generation: applier.generation, stale: applier.stale,
      ageSec: snapshot.savedAtMs === 0 ? undefined : sinceWallSec(snapshot.savedAtMs),
      changedSec: Object.fromEntries(Object.entries(applier.changedAtMs).map(([kind, at]) => [KIND_NAMES[kind as ResourceKind], sinceWallSec(at)!])),
      resources: Object.fromEntries(Object.entries(KIND_NAMES).map(([kind, name]) => [name, snapshot.resources[kind as ResourceKind].size] as const).filter(([, n]) => n > 0)),
      rejected: applier.rejected.map((r) => ({ kind: r.kind, name: r.name, issues: r.issues.map((i) => `${i.path}: ${i.problem}`) })),
      ignoredFields: applier.ignored.reduce((sum, r) => sum + r.fields.length, 0),
      ignored: ignoredByField(applier.ignored).slice(0, MAX_LISTED),
      skipped: [...applier.skipped].map(([what, by]) => ({ what, resources: by.length, example: `${by[0]!.kind} ${by[0]!.name}` })).toSorted((a, b) => b.resources - a.resources).slice(0, MAX_LISTED),
    },
    listeners: p.dataPath.listeners().map((l) => ({ name: l.name, address: l.address, state: p.isDraining() ? 'draining' : l.state, connections: l.connections, error: l.error?.message })),
    dns: dnsOf(p),
    workload: workloadOf(p, sinceSec),
    http: {
      requests: p.metrics.total('mesh_http_requests_total'), retriesSent: p.metrics.total('mesh_upstream_retries_total', { result: 'sent' }),
      retriesHeldBack: p.metrics.total('mesh_upstream_retries_total', { result: 'held-back' }), denied: p.metrics.total('mesh_http_denied_total'),
    },
    mqtt: p.broker.stats,
    spool: p.spool.stats,
    bridge: p.bridge.status(),
    problems: problemsOf(p),
  }
}

function dnsOf({ dns }: StatusParts): AgentStatus['dns'] {
  if (!dns) return undefined
  const { address, names, cached, upstreams } = dns.status()
  return { address, names, cached, upstreams }
}

function workloadOf({ workload, node, configuration }: StatusParts, sinceSec: (ms: number) => number): AgentStatus['workload'] {
  if (!workload) return undefined
  const { state, reason, sinceMs } = workload.health.get()
  return { probe: workload.what, state, reason, sinceSec: sinceSec(sinceMs), told: configuration.link().mode === 'control plane' && hasWorkloadEntry(node.description) }
}

function workloadProblem({ workload }: StatusParts): MeshError | undefined {
  const health = workload?.health.get()
  return workload && health?.state === 'unhealthy' ? new MeshError('MESH_PROBE_FAILED', `the workload at ${workload.what}: ${health.reason}`) : undefined
}

function problemsOf(p: StatusParts): Problem[] {
  const { applier } = p.configuration
  const link = p.configuration.link()
  const found: (MeshError | undefined)[] = [
    ...p.identity.problems(),
    p.identity.current() || !p.configuration.needsIdentity ? undefined : new MeshError('MESH_NO_IDENTITY', 'there is no certificate yet'),
    link.error,
    link.held && new MeshError('MESH_CONTROL_SHRUNK', `the control plane took away ${link.held.clusters} of ${link.held.of} clusters at once; they serve on for ${Math.max(0, Math.round((link.held.untilMs - p.clock.monotonicMs()) / 1000))} s`),
    applier.storageError,
    captureProblem(p.config, p.inherited, p.tables.get().listeners.values()),
    ...unusedSockets(p),
    ...exposed(p),
    ...p.dataPath.listeners().map((l) => l.error),
    p.adminError(),
    workloadProblem(p),
    ...refusedOf(p).slice(0, MAX_LISTED),
    ...unknownNames(p),
    ...p.files.problems().slice(0, MAX_LISTED),
    ...p.dns?.status().problems ?? [],
    ...blockedListeners(p.tables.get()).slice(0, MAX_LISTED),
    ...p.configuration.folderProblems().slice(0, MAX_LISTED),
    ...applier.dangling().slice(0, MAX_LISTED).map((d) => new MeshError('MESH_NO_CLUSTER', `${d.holder.kind} ${d.holder.name} names the cluster ${d.name}, which does not exist`)),
    setAside('MESH_IDENTITY_DAMAGED', p.identity.setAside),
    ...p.configuration.damage,
    setAside('MESH_STORAGE_DAMAGED', p.spool.setAside),
    diskProblem(p),
    p.spool.stats.bytes >= p.spool.stats.maxBytes ? new MeshError('MESH_MQTT_QUOTA', `the spool holds ${p.spool.stats.messages} messages and takes no more`) : undefined,
    ...p.bridge.status().map((b) => (b.state === 'refused' ? new MeshError('MESH_MQTT_UPSTREAM_REFUSED', `${b.cluster}: ${b.error ?? 'refused'}`) : undefined)),
  ]
  const seen = new Set<string>()
  return found.flatMap((err) => {
    if (!err || seen.has(err.code + err.message)) return []
    seen.add(err.code + err.message)
    return [{ code: err.code, text: err.message, remedy: err.row.remedy }]
  })
}

/** A folder's own problems name file and line, too. */
function refusedOf({ configuration: { applier, folderProblems } }: StatusParts): MeshError[] {
  const told = folderProblems()
  return applier.rejected.filter(({ name }) => !told.some((t) => t.message.includes(`"${name}"`))).map(({ kind, name, issues, blocked }) => new MeshError('MESH_CONFIG_REJECTED',
    `${kind} ${name}: ${issues.slice(0, 3).map((i) => `${i.path}: ${i.problem}`).join('; ')}${blocked ? ' (what is concerned refuses, the rest is in force)' : ''}`))
}

function setAside(code: 'MESH_IDENTITY_DAMAGED' | 'MESH_STORAGE_DAMAGED', file: string | undefined): MeshError | undefined {
  return file === undefined ? undefined : new MeshError(code, `a damaged file was found at start and is now ${file}`)
}

/** A thousand clusters with the same field are one line. */
function ignoredByField(ignored: Configuration['applier']['ignored']): { field: string; resources: number; example: string }[] {
  const byField = new Map<string, { field: string; resources: number; example: string }>()
  for (const { name, fields } of ignored) {
    for (const field of new Set(fields.map((f) => f.replace(/\[\d+\]/g, '[]')))) {
      const known = byField.get(field)
      if (known) known.resources++
      else byField.set(field, { field, resources: 1, example: name })
    }
  }
  return [...byField.values()].sort((a, b) => b.resources - a.resources)
}

/** Listeners with a chain that refuses everything, because of something that is not implemented; one reason each. */
function blockedListeners({ listeners }: Tables): MeshError[] {
  return [...listeners.values()].flatMap(({ name, filterChains, defaultFilterChain }) => {
    const chains = defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains
    const reason = chains.map(blockedBy).find((r) => r !== undefined)
    return reason === undefined ? [] : [new MeshError('MESH_CHAIN_BLOCKED', `listener ${name} refuses what comes: ${reason}`)]
  })
}

function blockedBy({ codec }: FilterChain): string | undefined {
  if (codec.kind === 'blocked') return codec.reason
  return codec.kind === 'http' ? codec.http.filters.find((f) => f.kind === 'blocked')?.reason : undefined
}

/** What agent.yaml names and nobody has sent. */
function unknownNames({ config, tables }: StatusParts): MeshError[] {
  const known = tables.get()
  const cluster = (setting: string, name: string): MeshError[] => (known.cluster(name) ? [] : [new MeshError('MESH_NO_CLUSTER', `agent.yaml ${setting} names the cluster ${name}, which does not exist`)])
  return [
    ...config.listeners.flatMap((l) => {
      const setting = `listeners.${l.name}`
      if (l.kind === 'tcp') return cluster(setting, l.cluster)
      return l.kind === 'mqtt' || known.routes(l.routes) ? [] : [new MeshError('MESH_NO_ROUTE', `agent.yaml ${setting} names the route table ${l.routes}, which does not exist`)]
    }),
    ...config.mqtt.routes.flatMap((r) => cluster(`mqtt.routes ${r.match}`, r.cluster)),
  ].slice(0, MAX_LISTED)
}

/** Before the first configuration nobody knows yet. */
export function unusedSockets({ inherited, readiness }: Pick<StatusParts, 'inherited' | 'readiness'>): MeshError[] {
  return readiness.ready ? (inherited?.unused() ?? []).map((text) => new MeshError('MESH_SOCKET_UNUSED', text)) : []
}

export function exposed({ config, tables, own }: Pick<StatusParts, 'config' | 'tables' | 'own'>): MeshError[] {
  return exposureProblems(wantedListeners(tables.get(), own).values(), new Map(config.listeners.map((l) => [l.name, l])))
}

function diskProblem({ config, freeBytes }: StatusParts): MeshError | undefined {
  const { minDiskFreeBytes } = config.mqtt.spool
  try {
    if (freeBytes() >= minDiskFreeBytes) return undefined
    return new MeshError('MESH_STORAGE_FULL', `the disk of ${config.state} has less than ${minDiskFreeBytes} bytes free (mqtt.spool.minDiskFreeBytes), so the spool takes only what its file has room for`)
  } catch (cause) {
    return new MeshError('MESH_STATE_UNUSABLE', `the state directory ${config.state} cannot be looked at`, { cause })
  }
}
