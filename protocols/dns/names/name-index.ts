/**
 * The mesh's names as clients ask for them: as they are, shortened, behind a search domain, or covered by a wildcard.
 */
import type { NamedHost, Names } from '../../../model/tables.ts'
import { ReverseIndex } from './reverse-index.ts'

export type Found = {
  readonly host: NamedHost
  /**
   * The name without the search domain behind it, of which the asked one is an alias; undefined when the name itself
   * was found.
   */
  readonly alias: string | undefined
}
export type NameRules = {
  /** This node's: services of it are known by their name alone. */
  readonly namespace: string
  /**
   * Of the mesh's services, e.g. `svc.cluster.local`. Services of other domains have no short names: they could mean
   * two.
   */
  readonly domain: string
  /** Domains that a client's resolver puts behind a name before it asks. */
  readonly search: readonly string[]
}

/**
 * Answers what Istio's agent answers (istio pkg/dns/client: generateAltHosts, buildDNSAnswers, lookupHost), with two
 * differences: every search domain counts, not only the first, and the alias of a wildcard's name is that name and not
 * the wildcard. Where Istio's agent passes other types than A and AAAA on, so does the proxy for hosts that are no
 * Kubernetes service (answer.ts).
 */
export class NameIndex {
  readonly names: Names
  readonly rules: NameRules
  readonly #short = new Map<string, NamedHost>()
  #reverse: ReverseIndex | undefined

  constructor(names: Names, rules: NameRules) {
    this.names = names
    this.rules = rules
    const domain = `.${rules.domain}`
    const [first = ''] = rules.domain.split('.')
    for (const [name, host] of names) {
      if (!host.service || !name.endsWith(domain)) continue
      const { name: service, namespace } = host.service
      this.#short.set(`${service}.${namespace}`, host)
      this.#short.set(`${service}.${namespace}.${first}`, host)
      if (namespace === rules.namespace) this.#short.set(service, host)
    }
  }

  /** @param name lower case, without the final dot; at most 254 characters */
  find(name: string): Found | undefined {
    const { search } = this.rules
    const own = this.#exact(name)
    if (own) return { host: own, alias: undefined }
    for (const domain of search) {
      const alias = without(name, domain)
      const host = alias === undefined ? undefined : this.#exact(alias)
      if (host) return { host, alias }
    }
    // The longest wildcard wins, with a search domain behind it or without.
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const parent = name.slice(dot + 1)
      const host = this.#wildcard(parent)
      if (host) return { host, alias: undefined }
      for (const domain of search) {
        const shorter = without(parent, domain)
        const behind = shorter === undefined ? undefined : this.#wildcard(shorter)
        if (behind) return { host: behind, alias: without(name, domain) }
      }
    }
    return undefined
  }

  /**
   * Names of the address that `name` stands for (`7.0.240.240.in-addr.arpa`), in wire form; undefined for another name
   * or another's address.
   */
  pointers(name: string): readonly Buffer[] | undefined {
    return name.endsWith('.arpa') ? (this.#reverse ??= new ReverseIndex(this.names)).find(name) : undefined
  }

  #exact(name: string): NamedHost | undefined {
    return usable(this.names.get(name)) ?? usable(this.#short.get(name))
  }
  #wildcard(parent: string): NamedHost | undefined {
    return usable(this.names.get(`*.${parent}`))
  }
}

/** A host without addresses is none: its name may have some elsewhere. */
function usable(host: NamedHost | undefined): NamedHost | undefined {
  return host && host.addresses.length > 0 ? host : undefined
}

/** @returns what stands before `.domain`; undefined when nothing does */
function without(name: string, domain: string): string | undefined {
  return name.length > domain.length + 1 && name.endsWith(domain) && name[name.length - domain.length - 1] === '.'
    ? name.slice(0, -domain.length - 1)
    : undefined
}

/**
 * Names that nobody but the mesh has: one label, `svc` as a label (also of other clusters' domains), or below the
 * cluster's domain.
 */
export function isMeshOnly(name: string, domain: string): boolean {
  return !name.includes('.') || /\.svc(\.|$)/.test(name) || name.endsWith(domain.slice(domain.indexOf('.')))
}
