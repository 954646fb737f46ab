/**
 * From the bytes of one resource to something ready to serve, or every issue: compared with what is known first,
 * decoding only for what changed.
 */
import type { Issue, RawResource, ResourceKind } from '../model/snapshot.ts'
import type { VirtualHost } from '../model/route.ts'
import type { TimeSlice } from '../core/os/time-slice.ts'
import { decode, type DecodeOptions } from './decode/decode.ts'
import type { CheckedHosts } from './decode/route/checked-hosts.ts'
import { checkRouteTable, type RouteTableCheck } from './decode/route/route-table.ts'
import { measureBytes, PackedResource, readBytes } from './snapshot/packed-resource.ts'
import { rememberValue } from './mesh-tables.ts'
import { collectNotes } from './notes.ts'
import { collectReferences, collectRouteReferences, type References } from './references.ts'
import { isSameContent } from './wire/same-content.ts'

export type Incoming = { readonly name: string; readonly version: string; readonly value: Uint8Array }
export type Staged =
  /** Nothing about it changed, however it is encoded. */
  | { readonly outcome: 'same' }
  | { readonly outcome: 'changed'; readonly raw: RawResource; readonly references: References }
  | { readonly outcome: 'refused'; readonly issues: readonly Issue[] }

/** At once, but for what takes long. @param known what is in force under this name */
export function stage(
  kind: ResourceKind,
  incoming: Incoming,
  known: RawResource | undefined,
  options: DecodeOptions,
  slice: TimeSlice,
): Staged | Promise<Staged> {
  const { name, version, value } = incoming
  // Of another length nothing has to be unpacked.
  if (known && measureBytes(known) === value.length && isSameContent(kind, readBytes(known), value))
    return { outcome: 'same' }
  const raw = new PackedResource({ name, version, value })
  if (kind === 'route') return stageRoutes(raw, known, options, slice)
  const decoded = decode(kind, value, options)
  if (!decoded.ok) return { outcome: 'refused', issues: decoded.issues }
  return { outcome: 'changed', raw, references: withNotes(collectReferences(kind, decoded.value), decoded) }
}

function withNotes(references: References, decoded: Parameters<typeof collectNotes>[0]): References {
  const notes = collectNotes(decoded)
  return notes ? { ...references, notes } : references
}

/** Of a resource that is in force and was decoded by others. Undefined for one that is none to these decoders. */
export async function collectReferencesAgain(
  kind: ResourceKind,
  raw: RawResource,
  options: DecodeOptions,
  slice: TimeSlice,
): Promise<References | undefined> {
  if (kind === 'route') {
    const copy = new PackedResource({ name: raw.name, version: raw.version, value: Uint8Array.from(readBytes(raw)) })
    const { decoded, clusters } = await check(copy, undefined, options, slice)
    return decoded.ok ? withNotes({ cluster: [...clusters] }, decoded) : undefined
  }
  const decoded = decode(kind, readBytes(raw), options)
  return decoded.ok ? withNotes(collectReferences(kind, decoded.value), decoded) : undefined
}

/** Of the tables that were checked in this process. */
const checkedHosts = new WeakMap<RawResource, CheckedHosts>()

/** A route table holds every service of the mesh: in slices, and the table that comes of it is the one that serves. */
async function stageRoutes(
  raw: RawResource,
  known: RawResource | undefined,
  options: DecodeOptions,
  slice: TimeSlice,
): Promise<Staged> {
  const { decoded, clusters, checked } = await check(raw, known, options, slice)
  if (!decoded.ok) return { outcome: 'refused', issues: decoded.issues }
  rememberValue(raw, decoded.value)
  if (checked) checkedHosts.set(raw, checked)
  return { outcome: 'changed', raw, references: withNotes({ cluster: [...clusters] }, decoded) }
}

async function check(
  raw: RawResource,
  known: RawResource | undefined,
  { readFile }: DecodeOptions,
  slice: TimeSlice,
): Promise<RouteTableCheck> {
  const before = known && checkedHosts.get(known)
  const clustersOf = (host: VirtualHost): Iterable<string> => collectRouteReferences([host])
  const steps = checkRouteTable(raw, { readFile, before, clustersOf })
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
    if (slice.due) await slice.yield()
  }
}
