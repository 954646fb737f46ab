/**
 * Tables over a snapshot: what is asked for is decoded then and kept with its raw resource. An edge node uses few of a
 * mesh's services, and the others should cost their bytes only. A raw resource that two snapshots share has one decoded
 * value, so `===` tells what changed.
 */
import type { Listener } from '../model/listener.ts'
import type { Decoded, RawResource, Snapshot } from '../model/snapshot.ts'
import type { Names, Tables } from '../model/tables.ts'
import { closeInbound } from './authorization-age.ts'
import { decode, type DecodeOptions } from './decode/decode.ts'
import { uniteTables } from './decode/names.ts'
import { decodeRouteTable } from './decode/route/route-table.ts'
import { readBytes } from './snapshot/packed-resource.ts'
import { readNextField, type Cursor } from './wire/fields.ts'

const values = new WeakMap<RawResource, object>()
/** Results of checking a resource, which need not be computed again. */
export function rememberValue(raw: RawResource, value: object): void {
  values.set(raw, value)
}

/**
 * Undefined for what is no such resource at all: it was refused when it came, or was stored by another version of
 * meshlet.
 */
function valueOf<T extends object>(
  raw: RawResource | undefined,
  make: (raw: RawResource) => T | undefined,
): T | undefined {
  if (!raw) return undefined
  const known = values.get(raw)
  if (known) return known as T
  const made = make(raw)
  if (made) values.set(raw, made)
  return made
}

function orUndefined<T>(decoded: Decoded<T>): T | undefined {
  return decoded.ok ? decoded.value : undefined
}

/** With which extensions a listener was made. */
const madeWith = new WeakMap<Listener, ReadonlyMap<string, RawResource | undefined>>()

/**
 * A listener is made of its resource and of the extensions that its filters name: the same object while none of these
 * changes.
 */
function makeListener(
  raw: RawResource,
  extensions: ReadonlyMap<string, RawResource>,
  options: DecodeOptions,
): Listener | undefined {
  const known = values.get(raw) as Listener | undefined
  const used = known && madeWith.get(known)
  if (known && (known.extensions ?? []).every((name) => used?.get(name) === extensions.get(name))) return known
  const asked = new Map<string, RawResource | undefined>()
  const extension = (name: string): Uint8Array | undefined => {
    asked.set(name, extensions.get(name))
    return extensions.get(name)?.value
  }
  const made = orUndefined(decode('listener', raw.value, { ...options, extension }))
  if (!made) return known
  values.set(raw, made)
  madeWith.set(made, asked)
  return made
}

/** By the first resource: the same object while the same resources are there. */
const unions = new WeakMap<RawResource, { readonly of: readonly RawResource[]; readonly names: Names }>()

/** Undefined when there is no name table that decodes. Several are one, in the order of their names. */
function uniteNames(resources: ReadonlyMap<string, RawResource>, options: DecodeOptions): Names | undefined {
  const tableOf = (raw: RawResource): Names | undefined =>
    valueOf(raw, ({ value }) => orUndefined(decode('nameTable', value, options)))
  const raws = [...resources.values()]
  const [first] = raws
  if (!first || raws.length === 1) return first && tableOf(first)
  raws.sort((a, b) => (a.name < b.name ? -1 : 1))
  const known = unions.get(raws[0]!)
  if (known?.of.length === raws.length && known.of.every((raw, i) => raw === raws[i])) return known.names
  const tables = raws.flatMap((raw) => tableOf(raw) ?? [])
  if (tables.length === 0) return undefined
  const names = uniteTables(tables)
  unions.set(raws[0]!, { of: raws, names })
  return names
}

/** Makes what the tables over these resources need at once, one listener per step: a first push may bring thousands. */
export function* makeListeners(resources: Snapshot['resources'], options: DecodeOptions = {}): Generator<void> {
  for (const raw of resources.listener.values()) {
    makeListener(raw, resources.extension, options)
    yield
  }
}

/** Whether a cluster has health_checks is told without decoding it: they are few, and clusters are many. */
const hasChecks = new WeakMap<RawResource, boolean>()
const HEALTH_CHECKS = 8
/** Of clusters that no push has changed. */
const checkedNames = new WeakMap<ReadonlyMap<string, RawResource>, readonly string[]>()

function findChecked(clusters: ReadonlyMap<string, RawResource>): readonly string[] {
  const known = checkedNames.get(clusters)
  if (known) return known
  const names: string[] = []
  for (const [name, raw] of clusters) {
    let has = hasChecks.get(raw)
    if (has === undefined) {
      has = hasField(readBytes(raw), HEALTH_CHECKS)
      hasChecks.set(raw, has)
    }
    if (has) names.push(name)
  }
  checkedNames.set(clusters, names)
  return names
}
function hasField(bytes: Uint8Array, wanted: number): boolean {
  const cursor: Cursor = { at: 0, from: 0, to: 0 }
  while (cursor.at < bytes.length) {
    const no = readNextField(bytes, cursor, bytes.length)
    if (no === wanted) return true
    if (no === 0) return false
  }
  return false
}

/** @param options how resources that name files are decoded; the same for the life of a process */
export function buildTables(
  { resources }: Snapshot,
  at: { readonly generation: number; readonly stale: boolean; readonly inboundClosed?: boolean },
  options: DecodeOptions = {},
): Tables {
  const listeners = new Map<string, Listener>()
  for (const [name, raw] of resources.listener) {
    const listener = makeListener(raw, resources.extension, options)
    if (listener) listeners.set(name, at.inboundClosed ? closeInbound(listener, options.gateway) : listener)
  }
  return {
    generation: at.generation,
    stale: at.stale,
    listeners,
    cluster: (name) =>
      valueOf(resources.cluster.get(name), ({ value }) => orUndefined(decode('cluster', value, options))),
    load: (serviceName) =>
      valueOf(resources.endpoint.get(serviceName), ({ value }) => orUndefined(decode('endpoint', value, options))),
    routes: (name) => valueOf(resources.route.get(name), (raw) => decodeRouteTable(raw, options.readFile)),
    secret: (name) => valueOf(resources.secret.get(name), ({ value }) => orUndefined(decode('secret', value, options))),
    clusterNames: () => resources.cluster.keys(),
    checkedClusters: () => findChecked(resources.cluster),
    get names() {
      return uniteNames(resources.nameTable, options)
    },
  }
}
