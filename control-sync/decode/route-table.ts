/**
 * envoy.config.route.v3.RouteConfiguration → RouteTable, one virtual host at a time: a mesh has thousands of them, an edge node asks for few.
 * They are checked when they come, in steps between which traffic goes on, and decoded when they are first asked for.
 */
import { fromBinary } from '@bufbuild/protobuf'
import type { RouteConfig, VirtualHost } from '../../agent/model/route.ts'
import type { Decoded } from '../../agent/model/snapshot.ts'
import { RouteTable, type HostSource } from '../../agent/model/tables.ts'
import { VirtualHostSchema } from '../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { RouteConfigurationSchema } from '../proto/gen/envoy/config/route/v3/route_pb.ts'
import { nextField } from '../wire.ts'
import { At, noteIgnored, type ReadFile } from './at.ts'
import { NO_PER_FILTER, perFilter, type PerFilter } from './per-filter.ts'
import { routeConfig, virtualHost } from './route.ts'

/** Field numbers: RouteConfiguration.virtual_hosts, VirtualHost.domains. */
const VIRTUAL_HOSTS = 2
const DOMAINS = 2

type Span = { readonly from: number; readonly to: number }
type Outer = { readonly config: RouteConfig; readonly filters: PerFilter }

/** Undefined for what is no protobuf or has a mistake outside of its virtual hosts. A host that does not decode is there and has no routes. */
export function routeTable(bytes: Uint8Array, readFile: ReadFile | undefined): RouteTable | undefined {
  try {
    const at = At.top({ readFile })
    const { outside, hosts } = split(bytes)
    const outer = outerOf(at, outside)
    return at.issues.length > 0 ? undefined : tableOf(bytes, hosts, outer, readFile)
  } catch { return undefined }
}

/** Decodes every host once, one per step. Never throws. @param onHost is given each */
export function* checkRouteTable(bytes: Uint8Array, readFile: ReadFile | undefined, onHost: (host: VirtualHost) => void): Generator<void, Decoded<RouteTable>> {
  const at = At.top({ readFile })
  try {
    const { outside, hosts } = split(bytes)
    const outer = outerOf(at, outside)
    for (const [i, span] of hosts.entries()) {
      onHost(hostOf(at.in('virtual_hosts').item(i), bytes, span, outer.filters))
      yield
    }
    return at.issues.length > 0 ? { ok: false, issues: at.issues } : { ok: true, value: tableOf(bytes, hosts, outer, readFile), ignored: at.ignored }
  } catch (err) {
    return { ok: false, issues: [...at.issues, { path: '', problem: `cannot be read: ${err instanceof Error ? err.message : String(err)}` }] }
  }
}

function tableOf(bytes: Uint8Array, hosts: readonly Span[], { config, filters }: Outer, readFile: ReadFile | undefined): RouteTable {
  return new RouteTable(config, hosts.map((span) => new LazyHost(bytes, span, filters, readFile)))
}

function outerOf(at: At, outside: Uint8Array): Outer {
  const message = fromBinary(RouteConfigurationSchema, outside)
  noteIgnored(at, RouteConfigurationSchema, message)
  return { config: routeConfig(at, message), filters: perFilter(At.top({}), message.typedPerFilterConfig, NO_PER_FILTER) }
}

function hostOf(at: At, bytes: Uint8Array, { from, to }: Span, filters: PerFilter): VirtualHost {
  const message = fromBinary(VirtualHostSchema, bytes.subarray(from, to))
  noteIgnored(at, VirtualHostSchema, message)
  return virtualHost(at, message, filters)
}

class LazyHost implements HostSource {
  readonly domains: readonly string[]
  readonly #bytes: Uint8Array
  readonly #span: Span
  readonly #filters: PerFilter
  readonly #readFile: ReadFile | undefined
  #value: VirtualHost | undefined | 'not asked for' = 'not asked for'

  constructor(bytes: Uint8Array, span: Span, filters: PerFilter, readFile: ReadFile | undefined) {
    this.#bytes = bytes
    this.#span = span
    this.#filters = filters
    this.#readFile = readFile
    this.domains = domainsOf(bytes, span)
  }

  get value(): VirtualHost | undefined {
    if (this.#value === 'not asked for') this.#value = this.#decoded()
    return this.#value
  }
  #decoded(): VirtualHost | undefined {
    const at = At.top({ readFile: this.#readFile })
    try {
      const host = hostOf(at, this.#bytes, this.#span, this.#filters)
      return at.issues.length > 0 ? undefined : host
    } catch { return undefined }
  }
}

/** @throws RangeError for bytes that are no protobuf */
function split(bytes: Uint8Array): { outside: Uint8Array; hosts: Span[] } {
  const hosts: Span[] = []
  const outside: Uint8Array[] = []
  const cursor = { at: 0, from: 0, to: 0 }
  while (cursor.at < bytes.length) {
    const start = cursor.at
    const no = nextField(bytes, cursor, bytes.length)
    if (no === 0) throw new RangeError(`no protobuf from byte ${start} on`)
    if (no === VIRTUAL_HOSTS && cursor.to >= 0) hosts.push({ from: cursor.from, to: cursor.to })
    else outside.push(bytes.subarray(start, cursor.at))
  }
  return { outside: Buffer.concat(outside), hosts }
}

function domainsOf(bytes: Uint8Array, { from, to }: Span): string[] {
  const domains: string[] = []
  const cursor = { at: from, from: 0, to: 0 }
  while (cursor.at < to) {
    const no = nextField(bytes, cursor, to)
    if (no === 0) throw new RangeError(`no protobuf before byte ${to}`)
    if (no === DOMAINS && cursor.to >= 0) domains.push(Buffer.from(bytes.buffer, bytes.byteOffset + cursor.from, cursor.to - cursor.from).toString('utf8').toLowerCase())
  }
  return domains
}
