/** One Istio resource of a file, checked. */
import { KINDS, type Kind, type Specs } from './kinds/kinds.ts'

export type Place = { readonly line: number; readonly column: number }
/** `resource`: kind and name as far as known; `field`: the path below the document. Both '' where the file is meant. */
export type Problem = Place & {
  readonly file: string
  readonly resource: string
  readonly field: string
  readonly problem: string
}
export type Meta = {
  readonly kind: Kind
  readonly name: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** metadata.creationTimestamp, as an API server writes it; 0 for what a person wrote. Older ones go first. */
  readonly createdMs: number
}
export type Config<K extends Kind = Kind> = Meta & {
  readonly kind: K
  readonly spec: Specs[K]
  readonly file: string
  readonly place: Place
}
export type Configs = { readonly [K in Kind]: readonly Config<K>[] }

/** One sentence: `edge/shop.yaml:12:3: VirtualService edge/orders, spec.http[0]: …`. */
export function formatProblem({ file, line, column, resource, field, problem }: Problem): string {
  const what = [resource, field].filter((part) => part !== '').join(', ')
  return `${file}:${line}:${column}: ${what === '' ? '' : `${what}: `}${problem}`
}

/** Sorted as istiod does before it looks at them: by age, then name, then namespace. */
export function groupByKind(configs: readonly Config[]): Configs {
  const sorted = [...configs].sort(
    (a, b) => a.createdMs - b.createdMs || compareText(a.name, b.name) || compareText(a.namespace, b.namespace),
  )
  const entries = (Object.keys(KINDS) as Kind[]).map((kind) => [kind, sorted.filter((c) => c.kind === kind)])
  // Each kind has those of its kind: `fromEntries` knows of none.
  return Object.fromEntries(entries) as unknown as Configs
}

/** By UTF-16 units, as Go compares the bytes of ASCII. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Metadata of what a resource made, as istiod writes it: /apis/GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME. */
export function nameConfig({ kind, namespace, name }: Meta): string {
  const { group, version } = KINDS[kind]
  const kebab = kind.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()
  return `/apis/${group}/${version}/namespaces/${namespace}/${kebab}/${name}`
}

/** A short name is one of the resource's own namespace (model/config.go ResolveShortnameToFQDN). */
export function resolveHost(host: string, namespace: string, domain: string): string {
  return host === '*' || host.includes('.') || host.includes(':') ? host : `${host}.${namespace}.svc.${domain}`
}

/** Whether all labels of a selector are among those of a workload. */
export function isSelected(
  selector: Readonly<Record<string, string>> | undefined,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value)
}
