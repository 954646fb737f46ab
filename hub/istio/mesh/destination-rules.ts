/** Which DestinationRule counts for a service, seen from a namespace (model/destination_rule.go, push_context.go). */
import { resolveHost, type Config } from '../config.ts'
import type { DestinationRule } from '../kinds/destination-rule.ts'
import { findMostSpecific, isWildcard } from './hosts.ts'
import type { Service } from './services.ts'

type Rule = Config<'DestinationRule'>
/** One rule, or several of one host that are one. `config`: the first of them. */
export type MergedRule = { readonly config: Rule; readonly spec: DestinationRule; readonly exportTo: readonly string[] }
type ByHost = { readonly exact: Map<string, MergedRule[]>; readonly wild: Map<string, MergedRule[]> }

export class DestinationRules {
  readonly #root: string
  /** Namespace → rules that its own nodes see. */
  readonly #local = new Map<string, ByHost>()
  /** Namespace → rules that it shows to others. */
  readonly #exported = new Map<string, ByHost>()
  readonly #rootPrivate: ByHost = { exact: new Map(), wild: new Map() }

  /** @param rules oldest first */
  constructor(rules: readonly Rule[], o: { readonly root: string; readonly domain: string }) {
    this.#root = o.root
    const bySelector = [
      ...rules.filter((r) => r.spec.workloadSelector),
      ...rules.filter((r) => !r.spec.workloadSelector),
    ]
    for (const rule of bySelector) this.#add(rule, resolveHost(rule.spec.host, rule.namespace, o.domain))
  }

  #add(rule: Rule, host: string): void {
    const { namespace, spec } = rule
    const exportTo = [...new Set(spec.workloadSelector ? ['.'] : (spec.exportTo ?? []))]
    if (exportTo.length === 0 || ['*', '.', namespace].some((e) => exportTo.includes(e)))
      merge(getOrMake(this.#local, namespace), host, { config: rule, spec, exportTo })
    const isPrivate = exportTo.length === 1 && (exportTo[0] === '.' || exportTo[0] === namespace)
    if (!isPrivate) merge(getOrMake(this.#exported, namespace), host, { config: rule, spec, exportTo })
    else if (namespace === this.#root) merge(this.#rootPrivate, host, { config: rule, spec, exportTo })
  }

  /** @param from the node's namespace */
  rulesFor(service: Service, from: string): readonly MergedRule[] {
    const own = from === this.#root ? this.#rootPrivate : this.#local.get(from)
    const local = own && findMostSpecific(service.hostname, own.exact, own.wild)
    if (local) return local
    const exported = this.#exportedTo(service.namespace, service.hostname, from)
    return exported.length > 0 ? exported : this.#exportedTo(this.#root, service.hostname, from)
  }

  #exportedTo(namespace: string, host: string, from: string): readonly MergedRule[] {
    const all = this.#exported.get(namespace)
    const found = (all && findMostSpecific(host, all.exact, all.wild)) ?? []
    return found.filter(({ exportTo }) => exportTo.length === 0 || exportTo.includes('*') || exportTo.includes(from))
  }
}

function getOrMake(all: Map<string, ByHost>, namespace: string): ByHost {
  const made = all.get(namespace) ?? { exact: new Map(), wild: new Map() }
  all.set(namespace, made)
  return made
}

/** Rules of one host with the same audience are one: subsets are added, the first traffic policy counts. */
function merge(byHost: ByHost, host: string, incoming: MergedRule): void {
  const rules = isWildcard(host) ? byHost.wild : byHost.exact
  const known = rules.get(host)
  if (!known) {
    rules.set(host, [incoming])
    return
  }
  let isSeparate = true
  for (const [i, rule] of known.entries()) {
    if (!isSameSet(rule.exportTo, incoming.exportTo)) {
      isSeparate = true
      if (!(rule.exportTo.length > 0 && rule.exportTo.every((e) => incoming.exportTo.includes(e)))) continue
    } else isSeparate = false
    const [a, b] = [rule.spec.workloadSelector, incoming.spec.workloadSelector]
    if (a && b && !isSameMap(a.matchLabels, b.matchLabels)) {
      isSeparate = true
      continue
    }
    if (Boolean(a) === Boolean(b)) isSeparate = false
    known[i] = { ...rule, spec: addTo(rule.spec, incoming.spec) }
  }
  if (isSeparate) known.push(incoming)
}

function addTo(spec: DestinationRule, more: DestinationRule): DestinationRule {
  const names = new Set(spec.subsets?.map((s) => s.name))
  const subsets = [...(spec.subsets ?? []), ...(more.subsets ?? []).filter((s) => !names.has(s.name))]
  return { ...spec, subsets, trafficPolicy: spec.trafficPolicy ?? more.trafficPolicy }
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((e) => b.includes(e))
}
function isSameMap(a: Readonly<Record<string, string>> = {}, b: Readonly<Record<string, string>> = {}): boolean {
  return Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([key, value]) => b[key] === value)
}
