/** Compiled resources and those of an istiod, side by side, field by field. */
import { fromJson, toJson, type JsonObject } from '@bufbuild/protobuf'
import { compileNode } from '../../../hub/istio/compile-node.ts'
import { formatProblem, groupByKind } from '../../../hub/istio/config.ts'
import { findSchema, type CompiledKind } from '../../../hub/istio/encode/encode.ts'
import { loadMessages } from '../../../hub/istio/encode/messages.ts'
import { DEFAULT_MESH, makeMesh } from '../../../hub/istio/mesh/mesh.ts'
import { placeNode } from '../../../hub/istio/mesh/proxy.ts'
import { readIstioNode } from '../../../hub/istio/node.ts'
import { readConfigs } from '../../../hub/istio/read/read-configs.ts'
import { describeNode, type NodeSettings } from '../../../control-sync/ads/node.ts'
import { NODE } from './cases/case.ts'

/** Kind → name → the resource in JSON. */
export type Resources = Readonly<Record<CompiledKind, Readonly<Record<string, JsonObject>>>>
export type Difference = { readonly path: string; readonly istiod: unknown; readonly ours: unknown }

const RESOURCE_KINDS: readonly CompiledKind[] = ['cluster', 'endpoint', 'listener', 'route']

/** As bytes would bring them to a node: what the message does not have throws. Throws for YAML with mistakes. */
export function compileYaml(yaml: string, settings: Partial<NodeSettings> = {}): Resources {
  const node = describeNode({ ...NODE, ...settings })
  const { configs, problems } = readConfigs({ name: 'case.yaml', text: yaml })
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join('\n'))
  const mesh = makeMesh(groupByKind(configs), DEFAULT_MESH)
  const message = { id: node.id, metadata: node.metadata, locality: node.locality }
  const made = compileNode(placeNode(mesh, readIstioNode(message, node.metadata['NAMESPACE'] as string)))
  const registry = loadMessages()
  const entries = RESOURCE_KINDS.map((kind) => {
    const schema = findSchema(kind)
    const named = made[kind].map((json) => {
      const written = toJson(schema, fromJson(schema, json, { registry }), { registry, useProtoFieldName: true })
      return [(json['name'] ?? json['cluster_name']) as string, written as JsonObject] as const
    })
    return [kind, Object.fromEntries(named)]
  })
  return normalize(Object.fromEntries(entries) as Resources)
}

/**
 * What cannot be equal, and why:
 * - the order of query_parameters, and of filter_chains for ports of a PeerAuthentication: an istiod takes it from a
 *   map of Go, which is another one each time (a connection has one chain whatever their order);
 * - the order of keys: it means nothing.
 * Versions and nonces are not in resources.
 */
const UNORDERED = new Set(['query_parameters', 'filter_chains'])
export function normalize<T>(value: T): T {
  if (Array.isArray(value)) return value.map((one: unknown) => normalize(one)) as T
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
    .map(([key, one]: [string, unknown]): [string, unknown] => [key, normalize(one)])
    .map(([key, one]): [string, unknown] => [
      key,
      UNORDERED.has(key) && Array.isArray(one)
        ? one.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
        : one,
    ])
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1))) as T
}
/** Every field, as far down as both sides have something. */
export function listDifferences(istiod: unknown, ours: unknown, path = ''): Difference[] {
  if (JSON.stringify(istiod) === JSON.stringify(ours)) return []
  if (isInner(istiod) && isInner(ours) && Array.isArray(istiod) === Array.isArray(ours)) {
    const [a, b] = [istiod, ours]
    const keys = new Set([...Object.keys(a), ...Object.keys(b)])
    return [...keys].flatMap((key) => listDifferences(a[key], b[key], path === '' ? key : `${path} ${key}`))
  }
  return [{ path, istiod, ours }]
}
function isInner(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
