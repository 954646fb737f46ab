/** What a node imports: services, routes and rules, by its Sidecar or all that it may see (model/sidecar.go). */
import { isSelected, type Config } from '../config.ts'
import type { Labels } from '../kinds/fields.ts'
import type { Egress, Sidecar } from '../kinds/sidecar.ts'
import type { VirtualService } from '../kinds/virtual-service.ts'
import type { MergedRule } from './destination-rules.ts'
import { findMostSpecific, isWildcard, isWithin, overlaps } from './hosts.ts'
import type { Mesh } from './mesh.ts'
import { parseProtocol } from './protocols.ts'
import { isExported, isPublic } from './registry.ts'
import type { Service } from './services.ts'

type Routes = Config<'VirtualService'>
export type EgressListener = {
  readonly egress: Egress | undefined
  readonly services: readonly Service[]
  readonly routes: readonly Routes[]
  /** Host of a service → the routes whose host covers it best. */
  readonly mostSpecific: ReadonlyMap<string, Routes>
}
export type SidecarScope = {
  readonly namespace: string
  /** Of its Sidecar. */
  readonly name: string
  readonly sidecar: Sidecar | undefined
  readonly egress: readonly EgressListener[]
  readonly services: readonly Service[]
  readonly byHost: ReadonlyMap<string, Service>
  readonly allowsAny: boolean
}

const EVERYTHING: Egress = { hosts: ['*/*'] }

/** The Sidecar for a workload: one of its namespace with a selector, one without, one of the root namespace. */
export function chooseSidecar(mesh: Mesh, namespace: string, labels: Labels): Config<'Sidecar'> | undefined {
  const own = mesh.configs.Sidecar.filter((s) => s.namespace === namespace)
  const bySelector = [...own.filter((s) => s.spec.workloadSelector), ...own.filter((s) => !s.spec.workloadSelector)]
  return (
    bySelector.find((s) => isSelected(s.spec.workloadSelector?.labels, labels)) ??
    mesh.configs.Sidecar.find((s) => s.namespace === mesh.options.rootNamespace && !s.spec.workloadSelector)
  )
}

export function makeScope(mesh: Mesh, namespace: string, sidecar: Config<'Sidecar'> | undefined): SidecarScope {
  const entries = sidecar?.spec.egress?.length ? sidecar.spec.egress : [EVERYTHING]
  const egress = entries.map((entry) => makeListener(mesh, namespace, entry))
  const services = new Imported()
  for (const listener of egress) {
    for (const service of listener.services) services.add(service)
    for (const routes of listener.routes) addDestinations(mesh, { namespace, listener, routes: routes.spec, services })
  }
  return {
    namespace,
    name: sidecar?.name ?? 'default-sidecar',
    sidecar: sidecar?.spec,
    egress,
    services: services.list,
    byHost: new Map(services.list.map((s) => [s.hostname, s])),
    allowsAny: (sidecar?.spec.outboundTrafficPolicy?.mode ?? allowByDefault(sidecar)) === 'ALLOW_ANY',
  }
}

/** The mesh allows anything; a policy that names no mode has the first of the enumeration. */
function allowByDefault(sidecar: Config<'Sidecar'> | undefined): 'ALLOW_ANY' | 'REGISTRY_ONLY' {
  return sidecar?.spec.outboundTrafficPolicy ? 'REGISTRY_ONLY' : 'ALLOW_ANY'
}

function makeListener(mesh: Mesh, namespace: string, egress: Egress): EgressListener {
  const imports = Map.groupBy(
    egress.hosts.map((host) => {
      const [of = '', name = ''] = host.split('/')
      return { of: of === '.' ? namespace : of, name }
    }),
    ({ of }) => of,
  )
  const hostsOf = (of: string): string[] | undefined => imports.get(of)?.map(({ name }) => name)
  const routes = selectRoutes(mesh, namespace, hostsOf)
  const services = selectServices(mesh.registry.visibleTo(namespace), { namespace, egress, hostsOf })
  return { egress, services, routes, mostSpecific: indexRoutes(routes, services) }
}

type HostsOf = (namespace: string) => readonly string[] | undefined

function selectRoutes(mesh: Mesh, namespace: string, hostsOf: HostsOf): Routes[] {
  const visible = mesh.routes.filter((r) => r.spec.gateways === undefined || r.spec.gateways.includes('mesh'))
  const exportTo = (r: Routes): readonly string[] => r.spec.exportTo ?? []
  const isPrivate = (r: Routes): boolean =>
    r.namespace === namespace && (exportTo(r).includes('.') || exportTo(r).includes(namespace))
  const inOrder = [
    ...visible.filter((r) => !isPublic(exportTo(r)) && !exportTo(r).includes('~') && isPrivate(r)),
    ...visible.filter(
      (r) =>
        !isPublic(exportTo(r)) &&
        !isPrivate(r) &&
        isExported({ exportTo: exportTo(r), namespace: r.namespace }, namespace),
    ),
    ...visible.filter((r) => isPublic(exportTo(r))),
  ]
  return inOrder.filter((r) =>
    [hostsOf(r.namespace), hostsOf('*')].some((hosts) =>
      r.spec.hosts.some((host) => hosts?.some((imported) => overlaps(host, imported))),
    ),
  )
}

type Selection = { readonly namespace: string; readonly egress: Egress; readonly hostsOf: HostsOf }

function selectServices(services: readonly Service[], { namespace, egress, hostsOf }: Selection): Service[] {
  const port = needsPort(egress) ? egress.port!.number : undefined
  const imported = services.flatMap((service) => {
    const isImported = [hostsOf(service.namespace), hostsOf('*')].some((hosts) =>
      hosts?.some((host) => isWithin(service.hostname, host)),
    )
    const found = isImported ? (port === undefined ? service : restrictToPort(service, port)) : undefined
    return found ? [found] : []
  })
  // One host of several namespaces: the node's own one, or else the first.
  const chosen = new Map<string, string>()
  for (const { hostname, namespace: of } of imported)
    if (!chosen.has(hostname) || of === namespace) chosen.set(hostname, of)
  return imported.filter((s) => chosen.get(s.hostname) === s.namespace)
}

function needsPort({ port }: Egress): boolean {
  return port !== undefined && parseProtocol(port.protocol) !== 'HTTP_PROXY'
}

function restrictToPort(service: Service, number: number): Service | undefined {
  const port = service.ports.find((p) => p.number === number)
  if (!port) return undefined
  return service.ports.length === 1 ? service : { ...service, ports: [port] }
}

function indexRoutes(routes: readonly Routes[], services: readonly Service[]): Map<string, Routes> {
  const [exact, wild] = [new Map<string, Routes>(), new Map<string, Routes>()]
  for (const one of routes)
    for (const host of one.spec.hosts) {
      const index = isWildcard(host) ? wild : exact
      if (!index.has(host)) index.set(host, one)
    }
  const found = services.map((s) => [s.hostname, findMostSpecific(s.hostname, exact, wild)] as const)
  return new Map(found.filter((e): e is [string, Routes] => e[1] !== undefined))
}

type Destinations = {
  readonly namespace: string
  readonly listener: EgressListener
  readonly routes: VirtualService
  readonly services: Imported
}

/** What routes lead to is imported with them. */
function addDestinations(mesh: Mesh, { namespace, listener, routes, services }: Destinations): void {
  for (const [host, ports] of listDestinations(routes, namespace)) {
    const byNamespace = mesh.registry.withHost(host)
    const visible = [...byNamespace.values()].find((s) => isExported(s, namespace))
    const service = byNamespace.get(namespace) ?? visible
    if (!service) continue
    const { egress } = listener
    const found =
      egress && needsPort(egress) ? restrictToPort(service, egress.port!.number) : restrictToPorts(service, ports)
    if (found) services.add(found)
  }
}

/** 0 stands for a destination without a port. */
function restrictToPorts(service: Service, ports: ReadonlySet<number>): Service | undefined {
  if (ports.has(0)) return service
  const found = service.ports.filter((p) => ports.has(p.number))
  if (found.length === service.ports.length) return service
  return found.length > 0 ? { ...service, ports: found } : undefined
}

function listDestinations(
  { http = [], tcp = [], tls = [] }: VirtualService,
  namespace: string,
): Map<string, Set<number>> {
  const out = new Map<string, Set<number>>()
  const add = (
    d: { readonly host: string; readonly port?: { readonly number: number } | undefined } | undefined,
  ): void => {
    if (d) out.set(d.host, (out.get(d.host) ?? new Set<number>()).add(d.port?.number ?? 0))
  }
  for (const route of http) {
    const sources = (route.match ?? []).map((m) => m.sourceNamespace).filter((s) => s !== undefined)
    if (sources.length > 0 && !sources.includes(namespace)) continue
    for (const { destination } of route.route ?? []) add(destination)
    add(route.mirror)
    for (const { destination } of route.mirrors ?? []) add(destination)
  }
  for (const { route } of [...tcp, ...tls]) for (const { destination } of route) add(destination)
  return out
}

/** Services by host; of one host, the ports of all are put together where they are of one kind. */
class Imported {
  readonly list: Service[] = []

  add(service: Service): void {
    const at = this.list.findIndex((s) => s.hostname === service.hostname)
    const known = this.list[at]
    if (!known) {
      this.list.push(service)
      return
    }
    const isMergeable =
      known.namespace === service.namespace &&
      known.resolution === service.resolution &&
      known.hasSelector === service.hasSelector &&
      known.exportTo.join() === service.exportTo.join()
    const more = service.ports.filter((p) => !known.ports.some((k) => k.number === p.number))
    if (isMergeable && more.length > 0) this.list[at] = { ...known, ports: [...known.ports, ...more] }
  }
}

/** The rule that counts for a node: one whose selector is its own, or else the one without. */
export function chooseRule(
  mesh: Mesh,
  { scope, labels }: { readonly scope: SidecarScope; readonly labels: Labels },
  service: Service | undefined,
): MergedRule | undefined {
  if (!service) return undefined
  const rules = mesh.rules.rulesFor(service, scope.namespace)
  const own = rules.find(
    (r) =>
      r.config.namespace === scope.namespace &&
      r.spec.workloadSelector !== undefined &&
      isSelected(r.spec.workloadSelector.matchLabels, labels),
  )
  return own ?? rules.findLast((r) => r.spec.workloadSelector === undefined)
}
