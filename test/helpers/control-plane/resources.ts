import fs from 'node:fs'
import path from 'node:path'
import { fromJson, toBinary, type JsonObject, type JsonValue } from '@bufbuild/protobuf'
import { EMPTY_SNAPSHOT } from '../../../control-sync/apply.ts'
import {
  TYPE_URLS,
  type Decoded,
  type Issue,
  type RawResource,
  type ResourceKind,
  type Snapshot,
} from '../../../model/snapshot.ts'
import { loadRegistry } from '../../../proto/registry.ts'

export type Sample = { readonly kind: ResourceKind; readonly name: string; readonly bytes: Uint8Array }

const KINDS = new Map(Object.entries(TYPE_URLS).map(([kind, url]) => [url as string, kind as ResourceKind]))
export const GOLDEN = ['istiod-sidecar', 'istiod-mode-none', 'istiod-strict-authz'] as const

/** Resource bytes from Envoy's JSON, with "@type" as in an Any. */
export function sample(json: JsonObject): Sample {
  const { '@type': typeJson, ...rest } = json
  const type = text(typeJson)
  const kind = KINDS.get(type)
  const schema = loadRegistry().getMessage(type.replace(/.*\//, ''))
  if (!kind || !schema) throw new Error(`no resource type: ${type}`)
  return {
    kind,
    name: text(rest['name'] ?? rest['cluster_name']),
    bytes: toBinary(schema, fromJson(schema, rest, { registry: loadRegistry() })),
  }
}

const text = (json: JsonValue | undefined): string => (typeof json === 'string' ? json : '')

/** What a real istiod sent to a sidecar (test/golden), names in the order of the file. */
export function golden(name: (typeof GOLDEN)[number]): Sample[] {
  const text = fs.readFileSync(path.resolve(import.meta.dirname, `../../golden/${name}.json`), 'utf8')
  return (JSON.parse(text) as { resources: JsonObject[] }).resources.map(sample)
}

/** Clusters and endpoints of what istiod sent, as they stand on disk. */
export function goldenSnapshot(name: (typeof GOLDEN)[number]): Snapshot {
  const all = golden(name)
  const of = (kind: ResourceKind): Map<string, RawResource> =>
    new Map(all.filter((s) => s.kind === kind).map((s) => [s.name, { name: s.name, value: s.bytes, version: '' }]))
  return {
    savedAtMs: 0,
    resources: { ...EMPTY_SNAPSHOT.resources, cluster: of('cluster'), endpoint: of('endpoint') },
  }
}

/** What is wrong with a resource: with pieces of it, or with all of it. */
export const issuesOf = (decoded: Decoded<unknown>): readonly Issue[] => (decoded.ok ? decoded.blocked : decoded.issues)
