/**
 * envoy.config.route.v3.RouteConfiguration → RouteTable, one virtual host at a time: a mesh has thousands of them, an
 * edge node asks for few. They are checked when they come, in steps between which traffic goes on, and decoded when
 * they are first asked for.
 */
import type { RouteConfig, RouteFilters, VirtualHost } from '../../../model/route.ts'
import type { Decoded, RawResource } from '../../../model/snapshot.ts'
import { RouteTable } from '../../../model/tables.ts'
import { readBytes } from '../../snapshot/packed-resource.ts'
import { VirtualHostSchema } from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { RouteConfigurationSchema } from '../../../proto/gen/envoy/config/route/v3/route_pb.ts'
import { readNextField } from '../../wire/fields.ts'
import { DecodePath, noteIgnored, type ReadFile } from '../fields/decode-path.ts'
import { CheckedHosts, SameHosts } from './checked-hosts.ts'
import { LazyHosts, type Span } from './lazy-hosts.ts'
import { NO_PER_FILTER, decodePerFilter } from './per-filter.ts'
import { toReadable } from '../fields/readable.ts'
import { blockHost, blockTable, noteTaken, decodeRouteConfig, decodeVirtualHost } from './route.ts'

/** Field numbers. */
const VIRTUAL_HOSTS = 2
const [HOST_DOMAINS, HOST_ROUTES, HOST_PER_FILTER] = [2, 3, 15]
/** A host with some hundred routes takes milliseconds; with a hundred thousand, half a second. */
const LARGE_HOST_BYTES = 64 * 1024
const ROUTES_A_STEP = 250

/** `blocked`: why no host of the table may be served, when something outside of them is not understood. */
type Outer = { readonly config: RouteConfig; readonly filters: RouteFilters; readonly blocked?: string }

/** Undefined for what is no protobuf. A host that cannot be taken is there and refuses what is asked of it. */
export function decodeRouteTable(raw: RawResource, readFile: ReadFile | undefined): RouteTable | undefined {
  try {
    const at = DecodePath.top({ readFile })
    const { outside, spans } = split(readBytes(raw))
    const outer = outerOf(at, outside)
    const hosts = lazyHosts(raw, spans, outer, readFile)
    hosts.addAll()
    return tableOf(outer, hosts)
  } catch {
    return undefined
  }
}

export type RouteTableCheck = {
  readonly decoded: Decoded<RouteTable>
  /** That its hosts name. */
  readonly clusters: ReadonlySet<string>
  /** For the next version of the table. */
  readonly checked?: CheckedHosts
}
export type RouteTableCheckOptions = {
  readonly readFile: ReadFile | undefined
  /** Of the version before. */
  readonly before?: CheckedHosts | undefined
  readonly clustersOf: (host: VirtualHost) => Iterable<string>
}

/** Decodes every host once that the version before did not have, one per step. Never throws. @param raw not packed yet */
export function* checkRouteTable(raw: RawResource, o: RouteTableCheckOptions): Generator<void, RouteTableCheck> {
  const { readFile } = o
  const at = DecodePath.top({ readFile })
  const clusters = new Set<string>()
  try {
    const { outside, spans } = split(raw.value)
    const outer = outerOf(at, outside)
    const hosts = lazyHosts(raw, spans, outer, readFile)
    const same = o.before?.isReadAlike(outside) ? new SameHosts(o.before, hosts) : undefined
    const checked = new CheckedHosts(outside, hosts)
    const domains = new Map<number, readonly string[]>()
    for (let no = 0; no < hosts.size;) {
      const twins = same?.find(no)
      if (twins) {
        hosts.addAs(twins)
        for (const named of twins.clusters) {
          checked.add(named)
          for (const name of named) clusters.add(name)
        }
        no += twins.count
      } else {
        const found = yield* checkHost(hosts.bytesOf(no), no, { at, hosts, filters: outer.filters, o })
        hosts.add(found.domains)
        domains.set(no++, found.domains)
        checked.add(found.isClean ? found.clusters : undefined)
        for (const name of found.clusters) clusters.add(name)
      }
      yield
    }
    noteAllTaken(at, { hosts, domains, areDistinct: same !== undefined && o.before!.hosts.areDistinct })
    const { ignored, skipped, issues: blocked } = at
    return { decoded: { ok: true, value: tableOf(outer, hosts), ignored, skipped, blocked }, clusters, checked }
  } catch (err) {
    const problem = `cannot be read: ${err instanceof Error ? err.message : String(err)}`
    return { decoded: { ok: false, issues: [...at.issues, { path: '', problem }] }, clusters }
  }
}

/**
 * @param domains of the hosts that were decoded
 * @param areDistinct the others share no domain
 */
function noteAllTaken(
  at: DecodePath,
  {
    hosts,
    domains,
    areDistinct,
  }: {
    readonly hosts: LazyHosts
    readonly domains: ReadonlyMap<number, readonly string[]>
    readonly areDistinct: boolean
  },
): void {
  const taken = new Set<string>()
  for (const no of hosts.listSuspects(areDistinct ? domains.keys() : undefined))
    noteTaken(at.in('virtual_hosts').item(no), domains.get(no) ?? hosts.domainsOf(no), taken)
}

type HostCheck = {
  readonly domains: readonly string[]
  readonly clusters: readonly string[]
  /** Nothing was reported, and nothing may be the next time. */
  readonly isClean: boolean
}

function* checkHost(
  bytes: Uint8Array,
  no: number,
  table: {
    readonly at: DecodePath
    readonly hosts: LazyHosts
    readonly filters: RouteFilters
    readonly o: RouteTableCheckOptions
  },
): Generator<void, HostCheck> {
  const { readFile, clustersOf } = table.o
  let readsFiles = false
  const alone = DecodePath.top({
    readFile:
      readFile &&
      ((file) => {
        readsFiles = true
        return readFile(file)
      }),
  })
  const here = alone.in('virtual_hosts').item(no)
  const isLarge = bytes.length > LARGE_HOST_BYTES
  const host = isLarge ? yield* largeHost(here, bytes, table.filters) : hostOf(here, bytes, table.filters)
  // To decode it again when it is asked for would take as long in one go.
  if (isLarge) table.hosts.keep(no, host)
  table.at.adopt(alone)
  const isClean = alone.isClean && !readsFiles && !isLarge
  return { domains: host.domains, clusters: [...clustersOf(host)], isClean }
}

function lazyHosts(
  raw: RawResource,
  spans: readonly Span[],
  { filters }: Outer,
  readFile: ReadFile | undefined,
): LazyHosts {
  return new LazyHosts(spans, {
    view: () => readBytes(raw),
    decode: (bytes, no) => hostOf(DecodePath.top({ readFile }).in('virtual_hosts').item(no), bytes, filters),
  })
}

function tableOf({ config, blocked }: Outer, hosts: LazyHosts): RouteTable {
  return blocked === undefined ? new RouteTable(config, hosts) : new RouteTable(blockTable(config, blocked))
}

function outerOf(at: DecodePath, outside: Uint8Array): Outer {
  const { message, unreadable } = toReadable(RouteConfigurationSchema, outside)
  return at.piece(
    (): Outer => {
      for (const field of unreadable) at.in(field).issue('cannot be read')
      noteIgnored(at, RouteConfigurationSchema, message)
      return {
        config: decodeRouteConfig(at, message),
        filters: decodePerFilter(DecodePath.top({}), message.typedPerFilterConfig, NO_PER_FILTER),
      }
    },
    (blocked) => ({ config: blockTable(message, blocked), filters: NO_PER_FILTER, blocked }),
  )
}

/** Some routes per step. */
function* largeHost(at: DecodePath, bytes: Uint8Array, filters: RouteFilters): Generator<void, VirtualHost> {
  const { outside, routes, forRoutes } = splitHost(bytes)
  let host: VirtualHost | undefined
  const all: VirtualHost['routes'][number][] = []
  for (let first = 0; first < routes.length || !host; first += ROUTES_A_STEP) {
    const some = routes.slice(first, first + ROUTES_A_STEP)
    const made = hostOf(at, Buffer.concat([host ? forRoutes : outside, ...some]), filters, first)
    // Blocked as a whole.
    if (made.routes.length !== some.length) return made
    host ??= made
    for (const route of made.routes) all.push(route)
    yield
  }
  return { ...host, routes: all }
}

/** `forRoutes`: the part of `outside` that says something of routes, and what every host must have. */
function splitHost(bytes: Uint8Array): {
  readonly outside: Uint8Array
  readonly routes: Uint8Array[]
  readonly forRoutes: Uint8Array
} {
  const [outside, routes, forRoutes]: [Uint8Array[], Uint8Array[], Uint8Array[]] = [[], [], []]
  const cursor = { at: 0, from: 0, to: 0 }
  while (cursor.at < bytes.length) {
    const start = cursor.at
    const no = readNextField(bytes, cursor, bytes.length)
    if (no === 0) throw new RangeError(`no protobuf from byte ${start} on`)
    const field = bytes.subarray(start, cursor.at)
    if (no === HOST_ROUTES) routes.push(field)
    else outside.push(field)
    if (no === HOST_DOMAINS || no === HOST_PER_FILTER) forRoutes.push(field)
  }
  return { outside: Buffer.concat(outside), routes, forRoutes: Buffer.concat(forRoutes) }
}

function hostOf(at: DecodePath, bytes: Uint8Array, filters: RouteFilters, first = 0): VirtualHost {
  const { message, unreadable } = toReadable(VirtualHostSchema, bytes)
  noteIgnored(at, VirtualHostSchema, message)
  if (unreadable.length === 0) return decodeVirtualHost(at, message, filters, first)
  return at.piece(
    () => {
      for (const field of unreadable) at.in(field).issue('cannot be read')
      return decodeVirtualHost(at, message, filters)
    },
    (reason) => blockHost({ name: message.name, domains: message.domains.map((d) => d.toLowerCase()) }, reason),
  )
}

/** @throws RangeError for bytes that are no protobuf */
function split(bytes: Uint8Array): { outside: Uint8Array; spans: Span[] } {
  const spans: Span[] = []
  const outside: Uint8Array[] = []
  const cursor = { at: 0, from: 0, to: 0 }
  while (cursor.at < bytes.length) {
    const start = cursor.at
    const no = readNextField(bytes, cursor, bytes.length)
    if (no === 0) throw new RangeError(`no protobuf from byte ${start} on`)
    if (no === VIRTUAL_HOSTS && cursor.to >= 0) spans.push({ from: cursor.from, to: cursor.to })
    else outside.push(bytes.subarray(start, cursor.at))
  }
  return { outside: Buffer.concat(outside), spans }
}
