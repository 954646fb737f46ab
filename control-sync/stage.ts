/**
 * From the bytes of one resource to something ready to serve, or every issue: compared with what is known first,
 * decoding only for what changed.
 */
import type { Decoded, Issue, RawResource, ResourceKind } from '../model/snapshot.ts'
import type { RouteTable } from '../model/tables.ts'
import type { TimeSlice } from '../core/os/time-slice.ts'
import { decode, type DecodeOptions } from './decode/decode.ts'
import { checkRouteTable } from './decode/route/route-table.ts'
import { PackedResource, readBytes } from './snapshot/packed-resource.ts'
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
  if (known && isSameContent(kind, readBytes(known), value)) return { outcome: 'same' }
  const raw = new PackedResource({ name, version, value })
  if (kind === 'route') return stageRoutes(raw, options, slice)
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
    const found = await checked(
      new PackedResource({ name: raw.name, version: raw.version, value: Uint8Array.from(readBytes(raw)) }),
      options,
      slice,
    )
    return found.value.ok ? withNotes({ cluster: [...found.clusters] }, found.value) : undefined
  }
  const decoded = decode(kind, readBytes(raw), options)
  return decoded.ok ? withNotes(collectReferences(kind, decoded.value), decoded) : undefined
}

/** A route table holds every service of the mesh: in slices, and the table that comes of it is the one that serves. */
async function stageRoutes(raw: RawResource, options: DecodeOptions, slice: TimeSlice): Promise<Staged> {
  const { value, clusters } = await checked(raw, options, slice)
  if (!value.ok) return { outcome: 'refused', issues: value.issues }
  rememberValue(raw, value.value)
  return { outcome: 'changed', raw, references: withNotes({ cluster: [...clusters] }, value) }
}

async function checked(
  raw: RawResource,
  { readFile }: DecodeOptions,
  slice: TimeSlice,
): Promise<{ readonly value: Decoded<RouteTable>; readonly clusters: ReadonlySet<string> }> {
  const clusters = new Set<string>()
  const steps = checkRouteTable(raw, readFile, (host) => {
    for (const name of collectRouteReferences([host])) clusters.add(name)
  })
  for (;;) {
    const { done, value } = steps.next()
    if (done) return { value, clusters }
    if (slice.due) await slice.yield()
  }
}
