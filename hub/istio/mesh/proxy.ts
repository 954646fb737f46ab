/** A node among the mesh: what it imports, what arrives at it, which labels count. */
import type { IstioNode } from '../node.ts'
import type { Labels } from '../kinds/fields.ts'
import type { Mesh } from './mesh.ts'
import type { ServiceTarget } from './registry.ts'
import { chooseSidecar, makeScope, type SidecarScope } from './sidecar-scope.ts'
import type { Config } from '../config.ts'
import { addTopology, formatLocality, readLocality, type Locality } from './locality.ts'

export type Proxy = {
  readonly mesh: Mesh
  readonly node: IstioNode
  readonly labels: Labels
  readonly locality: Locality
  readonly targets: readonly ServiceTarget[]
  readonly scope: SidecarScope
}

/** A mesh makes few scopes: one for each namespace and Sidecar. */
const scopes = new WeakMap<Mesh, Map<string, SidecarScope>>()

function scopeOf(mesh: Mesh, namespace: string, sidecar: Config<'Sidecar'> | undefined): SidecarScope {
  const made = scopes.get(mesh) ?? new Map<string, SidecarScope>()
  scopes.set(mesh, made)
  const key = `${namespace} ${sidecar ? `${sidecar.namespace}/${sidecar.name}` : ''}`
  const scope = made.get(key) ?? makeScope(mesh, namespace, sidecar)
  made.set(key, scope)
  return scope
}

export function placeNode(mesh: Mesh, node: IstioNode): Proxy {
  const { namespace, ips } = node
  const known = ips.map((ip) => mesh.registry.endpointAt(ip, namespace)).find((e) => e !== undefined)
  const said = known ? { ...node.staticLabels, ...known.labels } : node.labels
  const locality = readLocality(said) ?? node.locality
  const labels = addTopology(said, { ...node, locality: formatLocality(locality) })
  const targets = ips.flatMap((ip) => mesh.registry.targetsAt(ip, namespace))
  const scope = scopeOf(mesh, namespace, chooseSidecar(mesh, namespace, labels))
  return { mesh, node, labels, locality, targets, scope }
}
