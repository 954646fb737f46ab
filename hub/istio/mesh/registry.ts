/** All services of a folder, with indexes: what istiod's push context knows of them. */
import { compareText } from '../config.ts'
import type { Endpoint, Entry, Port, Service } from './services.ts'

/** A service of a node, at one of its ports: something arrives there. */
export type ServiceTarget = { readonly service: Service; readonly port: Port; readonly targetPort: number }

export class Registry {
  readonly entries: readonly Entry[]
  /** Namespace/host → endpoints of all entries, in order. */
  readonly #endpoints = new Map<string, Endpoint[]>()
  readonly #accounts = new Map<string, ReadonlySet<string>>()
  readonly #byHost = new Map<string, Map<string, Service>>()

  constructor(entries: readonly Entry[]) {
    this.entries = entries
    for (const { service, endpoints } of entries) {
      const key = keyOf(service)
      const known = this.#endpoints.get(key) ?? []
      this.#endpoints.set(key, known.concat(endpoints))
      const accounts = [...endpoints.map((e) => e.account), ...service.subjectAltNames].filter((a) => a !== '')
      this.#accounts.set(key, new Set([...(this.#accounts.get(key) ?? []), ...accounts]))
      const byNamespace = this.#byHost.get(service.hostname) ?? new Map<string, Service>()
      if (!byNamespace.has(service.namespace)) byNamespace.set(service.namespace, service)
      this.#byHost.set(service.hostname, byNamespace)
    }
  }

  /** Of the port with that number; undefined labels: all. */
  endpointsOf(service: Service, port: number, labels: Readonly<Record<string, string>> = {}): Endpoint[] {
    const name = service.ports.find((p) => p.number === port)?.name
    return (this.#endpoints.get(keyOf(service)) ?? []).filter(
      (e) => e.portName === name && Object.entries(labels).every(([key, value]) => e.labels[key] === value),
    )
  }
  /** Who may answer for it, sorted. */
  accountsOf(service: Service): string[] {
    return [...(this.#accounts.get(keyOf(service)) ?? [])].sort(compareText)
  }
  /** Namespace → service of that name. */
  withHost(hostname: string): ReadonlyMap<string, Service> {
    return this.#byHost.get(hostname) ?? new Map<string, Service>()
  }

  /** What arrives at an address, for a node of that namespace, in istiod's order. */
  targetsAt(ip: string, namespace: string): ServiceTarget[] {
    const found = this.entries.flatMap(({ service, endpoints, ports }) =>
      service.namespace === namespace
        ? endpoints
            .filter((e) => e.address === ip)
            .map((e) => ({ service, port: ports.find((p) => p.name === e.portName)!, targetPort: e.port }))
        : [],
    )
    return found.sort(
      (a, b) => a.service.createdMs - b.service.createdMs || compareText(a.service.hostname, b.service.hostname),
    )
  }
  /** The first endpoint at that address: what is said of it counts more than what the node says. */
  endpointAt(ip: string, namespace: string): Endpoint | undefined {
    for (const { service, endpoints } of this.entries) {
      const found = service.namespace === namespace ? endpoints.find((e) => e.address === ip) : undefined
      if (found) return found
    }
    return undefined
  }

  /** Services that a namespace sees: exported to it first, then those for all. */
  visibleTo(namespace: string): Service[] {
    const all = this.entries.map(({ service }) => service)
    return [
      ...all.filter((s) => !isPublic(s.exportTo) && isExported(s, namespace)),
      ...all.filter((s) => isPublic(s.exportTo)),
    ]
  }
}

function keyOf({ namespace, hostname }: Service): string {
  return `${namespace}/${hostname}`
}

export const isPublic = (exportTo: readonly string[]): boolean => exportTo.length === 0 || exportTo.includes('*')

/** Whether something of a namespace is for another one. */
export function isExported(
  { exportTo, namespace }: { readonly exportTo: readonly string[]; readonly namespace: string },
  to: string,
): boolean {
  if (isPublic(exportTo)) return true
  if (exportTo.includes('~')) return false
  return exportTo.includes(to) || (exportTo.includes('.') && namespace === to)
}
