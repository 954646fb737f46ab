/** Collects AgentStatus from the parts; what is wrong stands in conditions.ts. */
import { hasWorkloadEntry } from '../../control-sync/ads/node.ts'
import { problemsOf } from './conditions.ts'
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
  extension: 'extensions',
  nameTable: 'name tables',
  proxyConfig: 'proxy configs',
}
/** More names of the same kind help nobody. */
const MAX_LISTED = 20

export function collectStatus(p: StatusParts): AgentStatus {
  const now = p.clock.monotonicMs()
  const sinceSec = (ms: number): number => Math.max(0, Math.round((now - ms) / 1000))
  const sinceWallSec = (ms: number | undefined): number | undefined =>
    ms === undefined ? undefined : Math.max(0, Math.round((p.clock.wallMs() - ms) / 1000))
  const link = p.configuration.link()
  const { applier } = p.configuration
  const identity = p.identity.current()
  const { snapshot } = applier
  return {
    version: p.facts.version,
    node: p.node.description.id,
    state: p.isDraining() ? 'draining' : p.readiness.ready ? 'ready' : 'starting',
    waitingFor: p.readiness.pending,
    uptimeSec: sinceSec(p.startedMs),
    control: {
      mode: link.mode,
      address: link.address,
      link: link.state,
      sinceSec: sinceSec(link.sinceMs),
      heldClusters: link.held?.clusters ?? 0,
      lastContactSec:
        link.lastContactMs === undefined ? sinceWallSec(applier.contactAtMs) : sinceSec(link.lastContactMs),
    },
    certificate: identity && {
      spiffeId: identity.spiffeId.uri,
      serial: identity.serial,
      notAfter: new Date(identity.notAfterMs).toISOString(),
      expiresInSec: Math.round((identity.notAfterMs - p.identity.certificateClock.nowMs()) / 1000),
      renewalInSec:
        p.identity.renewalAtMs === undefined
          ? undefined
          : Math.max(0, Math.round((p.identity.renewalAtMs - now) / 1000)),
    },
    config: {
      generation: applier.generation,
      stale: applier.stale,
      ageSec: snapshot.savedAtMs === 0 ? undefined : sinceWallSec(snapshot.savedAtMs),
      changedSec: Object.fromEntries(
        Object.entries(applier.changedAtMs).map(([kind, at]) => [KIND_NAMES[kind as ResourceKind], sinceWallSec(at)!]),
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
    },
    listeners: p.dataPath.listeners().map((l) => ({
      name: l.name,
      address: l.address,
      state: p.isDraining() ? 'draining' : l.state,
      connections: l.connections,
      error: l.error?.message,
    })),
    dns: dnsOf(p),
    workload: workloadOf(p, sinceSec),
    http: {
      requests: p.metrics.total('mesh_http_requests_total'),
      retriesSent: p.metrics.total('mesh_upstream_retries_total', { result: 'sent' }),
      retriesHeldBack: p.metrics.total('mesh_upstream_retries_total', { result: 'held-back' }),
      denied: p.metrics.total('mesh_http_denied_total'),
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

function workloadOf(
  { workload, node, configuration }: StatusParts,
  sinceSec: (ms: number) => number,
): AgentStatus['workload'] {
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
