/** Collects AgentStatus from the parts; what is wrong stands in conditions.ts. */
import { hasWorkloadEntry } from '../../control-sync/ads/node.ts'
import { BYTE_PURPOSES } from '../../control-sync/connection/control-plane.ts'
import { TRANSPORT } from '../../model/fleet/report.ts'
import { findProblems } from './conditions.ts'
import type { Configuration } from '../configuration/configuration.ts'
import type { ResourceKind } from '../../model/snapshot.ts'
import type { AgentStatus } from './status.ts'
import type { StatusParts } from './status-parts.ts'

/** Shown in a person's words; the rest is Envoy's or Istio's own. */
const KIND_NAMES: Readonly<Record<ResourceKind, string>> = {
  cluster: 'clusters',
  endpoint: 'endpoint sets',
  listener: 'listeners',
  route: 'route tables',
  secret: 'secrets',
  extension: 'extensions',
  nameTable: 'name tables',
  proxyConfig: 'proxy configs',
}
/** More names of the same kind help nobody. */
const MAX_LISTED = 20

export function collectStatus(p: StatusParts): AgentStatus {
  const ages = measureAges(p.clock)
  return {
    version: p.facts.version,
    node: p.node.description.id,
    state: p.isDraining() ? 'draining' : p.readiness.ready ? 'ready' : 'starting',
    waitingFor: p.readiness.pending,
    uptimeSec: ages.sinceSec(p.startedMs),
    control: collectControl(p, ages),
    certificate: collectCertificate(p),
    config: collectConfig(p.configuration, ages),
    listeners: collectListeners(p),
    dns: collectDns(p),
    workload: collectWorkload(p, ages),
    keys: collectKeys(p, ages),
    http: collectHttp(p),
    mqtt: p.broker.stats,
    spool: p.spool.stats,
    bridge: p.bridge.status(),
    problems: findProblems(p),
  }
}

type Ages = {
  /** @param ms monotonic */
  sinceSec(ms: number): number
  /** @param ms since the epoch */
  sinceWallSec(ms: number): number
}

function measureAges(clock: StatusParts['clock']): Ages {
  const [nowMs, wallMs] = [clock.monotonicMs(), clock.wallMs()]
  return {
    sinceSec: (ms) => Math.max(0, Math.round((nowMs - ms) / 1000)),
    sinceWallSec: (ms) => Math.max(0, Math.round((wallMs - ms) / 1000)),
  }
}

function collectControl(
  { configuration, metrics }: StatusParts,
  { sinceSec, sinceWallSec }: Ages,
): AgentStatus['control'] {
  const { mode, address, state, sinceMs, held, lastContactMs } = configuration.link()
  const { contactAtMs } = configuration.applier
  const earlierSec = contactAtMs === undefined ? undefined : sinceWallSec(contactAtMs)
  return {
    mode,
    address,
    link: state,
    sinceSec: sinceSec(sinceMs),
    heldClusters: held?.clusters ?? 0,
    lastContactSec: lastContactMs === undefined ? earlierSec : sinceSec(lastContactMs),
    ...(configuration.quality() ?? { rttMs: undefined, connections: 0 }),
    bytes: collectBytes(metrics),
  }
}

/** On the wire, where that is known: what is no message carries them. */
function collectBytes(metrics: StatusParts['metrics']): AgentStatus['control']['bytes'] {
  const count = (direction: 'sent' | 'received', purpose?: string): number =>
    metrics.total('mesh_control_bytes_total', { direction, ...(purpose !== undefined && { purpose }) })
  // A message that is counted may not have left.
  const carry = (direction: 'sent' | 'received'): number =>
    Math.max(0, metrics.total('mesh_control_wire_bytes_total', { direction }) - count(direction))
  return [
    ...BYTE_PURPOSES.map((purpose) => ({
      purpose,
      sent: count('sent', purpose),
      received: count('received', purpose),
    })),
    { purpose: TRANSPORT, sent: carry('sent'), received: carry('received') },
  ].filter(({ sent, received }) => sent + received > 0)
}

function collectCertificate({ identity, clock }: StatusParts): AgentStatus['certificate'] {
  const current = identity.current()
  const { renewalAtMs } = identity
  return (
    current && {
      spiffeId: current.spiffeId.uri,
      serial: current.serial,
      notAfter: new Date(current.notAfterMs).toISOString(),
      expiresInSec: Math.round((current.notAfterMs - identity.certificateClock.nowMs()) / 1000),
      renewalInSec:
        renewalAtMs === undefined ? undefined : Math.max(0, Math.round((renewalAtMs - clock.monotonicMs()) / 1000)),
    }
  )
}

function collectConfig({ applier }: Configuration, { sinceWallSec }: Ages): AgentStatus['config'] {
  const { snapshot } = applier
  return {
    generation: applier.generation,
    stale: applier.stale,
    ageSec: snapshot.savedAtMs === 0 ? undefined : sinceWallSec(snapshot.savedAtMs),
    changedSec: Object.fromEntries(
      Object.entries(applier.changedAtMs).map(([kind, at]) => [KIND_NAMES[kind as ResourceKind], sinceWallSec(at)]),
    ),
    resources: Object.fromEntries(
      Object.entries(KIND_NAMES)
        .map(([kind, name]) => [name, snapshot.resources[kind as ResourceKind].size] as const)
        .filter(([, n]) => n > 0),
    ),
    rejected: applier.rejected.map((r) => ({
      kind: r.kind,
      name: r.name,
      blocked: r.blocked,
      issues: r.issues.map((i) => `${i.path}: ${i.problem}`),
    })),
    ignoredFields: applier.ignored.reduce((sum, r) => sum + r.fields.length, 0),
    ignored: ignoredByField(applier.ignored).slice(0, MAX_LISTED),
    skipped: [...applier.skipped]
      .map(([what, by]) => ({ what, resources: by.length, example: `${by[0]!.kind} ${by[0]!.name}` }))
      .toSorted((a, b) => b.resources - a.resources)
      .slice(0, MAX_LISTED),
  }
}

function collectListeners({ dataPath, isDraining }: StatusParts): AgentStatus['listeners'] {
  return dataPath.listeners().map((l) => ({
    name: l.name,
    address: l.address,
    state: isDraining() ? 'draining' : l.state,
    connections: l.connections,
    error: l.error?.message,
  }))
}

function collectHttp({ metrics }: StatusParts): AgentStatus['http'] {
  return {
    requests: metrics.total('mesh_http_requests_total'),
    retriesSent: metrics.total('mesh_upstream_retries_total', { result: 'sent' }),
    retriesHeldBack: metrics.total('mesh_upstream_retries_total', { result: 'held-back' }),
    denied: metrics.total('mesh_http_denied_total'),
  }
}

function collectDns({ dns }: StatusParts): AgentStatus['dns'] {
  if (!dns) return undefined
  const { address, names, cached, upstreams } = dns.status()
  return { address, names, cached, upstreams }
}

function collectKeys({ keySets }: StatusParts, { sinceWallSec }: Ages): AgentStatus['keys'] {
  return keySets.status().map(({ fetchedMs, ...rest }) => ({
    ...rest,
    ageSec: fetchedMs === undefined ? undefined : sinceWallSec(fetchedMs),
  }))
}

function collectWorkload({ workload, node, configuration }: StatusParts, { sinceSec }: Ages): AgentStatus['workload'] {
  if (!workload) return undefined
  const { state, reason, sinceMs } = workload.health.get()
  return {
    probe: workload.what,
    state,
    reason,
    sinceSec: sinceSec(sinceMs),
    told: configuration.link().mode === 'control plane' && hasWorkloadEntry(node.description),
  }
}

/** A thousand clusters with the same field are one line. */
function ignoredByField(
  ignored: Configuration['applier']['ignored'],
): { field: string; resources: number; example: string }[] {
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
