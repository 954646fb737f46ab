/**
 * Which fields of a message lead to a map or an Any: the only places where equal content can have other bytes (proto
 * descriptors, walked once per type).
 */
import type { DescMessage } from '@bufbuild/protobuf'
import { TYPE_URLS, type ResourceKind } from '../../model/snapshot.ts'
import { loadRegistry } from '../../proto/registry.ts'

/** The walk by a shape stops here: equal content may then look different, never the other way round. */
export const MAX_DEPTH = 64

/** By field number; a hole where nothing below can differ in order. */
export type Shape =
  | { readonly kind: 'message'; readonly fields: readonly (Step | undefined)[] }
  | { readonly kind: 'any' }

/** `undefined`: equal content of this kind has equal bytes. */
export function findShapeOfKind(kind: ResourceKind): Shape | undefined {
  return shapeOfUrl(TYPE_URLS[kind])
}

/** Of the value of a google.protobuf.Any. @param from where its type_url stands, in ASCII */
export function findShapeOfAny(bytes: Uint8Array, from: number, to: number): Shape | undefined {
  return shapeOfUrl(
    Buffer.from(bytes.buffer, bytes.byteOffset + from, Math.max(0, Math.min(to - from, MAX_URL_BYTES))).toString(
      'latin1',
    ),
  )
}
const MAX_URL_BYTES = 512

/** What stands before the last slash does not matter. */
function shapeOfUrl(url: string): Shape | undefined {
  const type = url.slice(url.lastIndexOf('/') + 1)
  if (shapes.has(type)) return shapes.get(type)
  const schema = loadRegistry().getMessage(type)
  return schema && shapeOf(schema)
}

const shapes = new Map<string, Shape | undefined>()

/** Made once per message type. */
function shapeOf(schema: DescMessage): Shape | undefined {
  if (shapes.has(schema.typeName)) return shapes.get(schema.typeName)
  const shape = ownShape(schema)
  shapes.set(schema.typeName, shape)
  return shape
}

function ownShape(schema: DescMessage): Shape | undefined {
  if (schema.typeName === 'google.protobuf.Any') return { kind: 'any' }
  const fields: (Step | undefined)[] = []
  for (const field of schema.fields) {
    const below = field.message && leadsToMap(field.message, new Set()) ? field.message : undefined
    if (field.fieldKind === 'map') fields[field.number] = Step.toMap(() => below && entryOf(below))
    else if (below) fields[field.number] = Step.to(() => shapeOf(below))
  }
  return fields.length === 0 ? undefined : { kind: 'message', fields }
}

/** An entry of a map is a message with key = 1 and value = 2. */
function entryOf(value: DescMessage): Shape {
  return { kind: 'message', fields: [undefined, undefined, Step.to(() => shapeOf(value))] }
}

/**
 * One field. Its shape, of a map that of an entry, is made when it is first asked for, because types contain
 * themselves.
 */
export class Step {
  readonly map: boolean
  #make: (() => Shape | undefined) | undefined
  #shape: Shape | undefined
  private constructor(make: () => Shape | undefined, { map }: { readonly map: boolean }) {
    this.map = map
    this.#make = make
  }
  static to(make: () => Shape | undefined): Step {
    return new Step(make, { map: false })
  }
  static toMap(entry: () => Shape | undefined): Step {
    return new Step(entry, { map: true })
  }

  get shape(): Shape | undefined {
    if (this.#make) {
      this.#shape = this.#make()
      this.#make = undefined
    }
    return this.#shape
  }
}

function leadsToMap(schema: DescMessage, seen: Set<string>): boolean {
  if (schema.typeName === 'google.protobuf.Any') return true
  if (seen.has(schema.typeName)) return false
  seen.add(schema.typeName)
  return schema.fields.some((f) => f.fieldKind === 'map' || (f.message !== undefined && leadsToMap(f.message, seen)))
}
