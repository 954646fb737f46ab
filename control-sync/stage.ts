/** From the bytes of one resource to something ready to serve, or every issue: compared with what is known first, decoding only for what changed. */
import type { RawResource, ResourceKind, Issue } from '../agent/model/snapshot.ts'
import type { Pace } from '../agent/core/pace.ts'
import { canonicalHash } from './canonical.ts'
import { decode, type DecodeOptions } from './decode/decode.ts'
import { checkRouteTable } from './decode/route-table.ts'
import { keepValue } from './mesh-tables.ts'
import { referencesOf, routeReferencesOf, type References } from './references.ts'
import { sameContent } from './same-content.ts'

export type Incoming = { readonly name: string; readonly version: string; readonly value: Uint8Array }
export type Staged =
  /** Nothing about it changed, however it is encoded. */
  | { readonly outcome: 'same' }
  | { readonly outcome: 'changed'; readonly raw: RawResource; readonly references: References; readonly ignored: readonly string[] }
  | { readonly outcome: 'refused'; readonly issues: readonly Issue[] }

/** At once, but for what takes long. @param known what is in force under this name */
export function stage(kind: ResourceKind, incoming: Incoming, known: RawResource | undefined, options: DecodeOptions, pace: Pace): Staged | Promise<Staged> {
  const { name, version, value } = incoming
  if (known && sameContent(kind, known.value, value)) return { outcome: 'same' }
  const hash = canonicalHash(kind, value)
  if (known?.hash === hash) return { outcome: 'same' }
  const raw: RawResource = { name, value: known ? detached(value) : value, hash, version }
  if (kind === 'route') return stageRoutes(raw, options, pace)
  const decoded = decode(kind, value, options)
  if (!decoded.ok) return { outcome: 'refused', issues: decoded.issues }
  return { outcome: 'changed', raw, references: referencesOf(kind, decoded.value), ignored: decoded.ignored }
}

/** A view of a message keeps all of it in memory: right for a first push, of which everything is kept, and not for one changed resource of a thousand. */
function detached(value: Uint8Array): Uint8Array { return value.byteLength * 4 < value.buffer.byteLength ? Uint8Array.from(value) : value }

/** A route table holds every service of the mesh: in slices, and the table that comes of it is the one that serves. */
async function stageRoutes(raw: RawResource, { readFile }: DecodeOptions, pace: Pace): Promise<Staged> {
  const clusters = new Set<string>()
  const steps = checkRouteTable(raw.value, readFile, (host) => { for (const name of routeReferencesOf([host])) clusters.add(name) })
  for (;;) {
    const { done, value } = steps.next()
    if (done) {
      if (!value.ok) return { outcome: 'refused', issues: value.issues }
      keepValue(raw, value.value)
      return { outcome: 'changed', raw, references: { cluster: [...clusters] }, ignored: value.ignored }
    }
    if (pace.due) await pace.rest()
  }
}
