/** What the resources of a node depend on: a change of anything else leaves them as they are. */
import { createHash } from 'node:crypto'
import type { Config } from './config.ts'
import type { Kind } from './kinds/kinds.ts'
import type { Mesh } from './mesh/mesh.ts'
import { isExported } from './mesh/registry.ts'

/** For whom a resource counts. `all`: clients in any namespace look at it. `own`: only workloads of its namespace. */
const AUDIENCE: Readonly<Record<Kind, 'all' | 'exported' | 'own' | 'nobody'>> = {
  ServiceEntry: 'exported',
  VirtualService: 'exported',
  DestinationRule: 'exported',
  WorkloadEntry: 'all',
  PeerAuthentication: 'all',
  Sidecar: 'own',
  AuthorizationPolicy: 'own',
  RequestAuthentication: 'own',
  Telemetry: 'own',
  EnvoyFilter: 'own',
  WorkloadGroup: 'nobody',
}

function concerns(config: Config, namespace: string, root: string): boolean {
  const audience = AUDIENCE[config.kind]
  if (config.namespace === namespace || config.namespace === root || audience === 'all') return audience !== 'nobody'
  if (audience !== 'exported') return false
  const { exportTo = [] } = config.spec as { readonly exportTo?: readonly string[] }
  return isExported({ exportTo, namespace: config.namespace }, namespace)
}

/** Contents of configs that did not change since an earlier revision are the same objects. */
const hashes = new WeakMap<Config, string>()
function hashConfig(config: Config): string {
  const { file: _, place: __, ...content } = config
  const known = hashes.get(config) ?? createHash('sha256').update(JSON.stringify(content)).digest('base64')
  hashes.set(config, known)
  return known
}

const fingerprints = new WeakMap<Mesh, Map<string, string>>()

/** Of all that counts for nodes of a namespace. */
export function computeFingerprint(mesh: Mesh, namespace: string): string {
  const made = fingerprints.get(mesh) ?? new Map<string, string>()
  fingerprints.set(mesh, made)
  const known = made.get(namespace)
  if (known !== undefined) return known
  const hash = createHash('sha256')
  for (const all of Object.values(mesh.configs) as (readonly Config[])[])
    for (const config of all)
      if (concerns(config, namespace, mesh.options.rootNamespace)) hash.update(hashConfig(config))
  const found = hash.digest('base64')
  made.set(namespace, found)
  return found
}

/** Those that make a workload's name in metrics and traces. */
const ALWAYS = [
  'app',
  'version',
  'app.kubernetes.io/name',
  'app.kubernetes.io/version',
  'service.istio.io/canonical-name',
  'service.istio.io/canonical-revision',
]
const SELECTORS = new Set(['matchLabels', 'labels', 'sourceLabels'])

/** Labels that anything selects by: nodes that differ in others only are sent the same. */
export function listRelevantLabels(configs: readonly Config[]): ReadonlySet<string> {
  const found = new Set(ALWAYS)
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) {
      if (SELECTORS.has(key)) for (const label of Object.keys(inner as object)) found.add(label)
      if (key === 'failoverPriority') for (const label of inner as string[]) found.add(label.split('=')[0]!)
      walk(inner)
    }
  }
  for (const { spec } of configs) walk(spec)
  return found
}
