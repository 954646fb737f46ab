/**
 * A hash that is equal for equal content. istiod's release builds write map entries in random order, so bytes differ
 * where nothing does. The wire format is walked, never decoded: descriptors tell where maps and Anys can be, everything
 * else is skipped by its length. Sorting the entries of a map keeps all lengths, so the canonical form is a permutation
 * of the bytes, made in place on one copy. Whether two encodings say the same, same-content.ts finds out for less.
 */
import { hash } from 'node:crypto'
import type { ResourceKind } from '../../model/snapshot.ts'
import { findKey, type KeySpan } from './map-entry.ts'
import { MAX_DEPTH, shapeOfAny, shapeOfKind, type Shape, type Step } from './map-shapes.ts'
import { nextField } from './fields.ts'

/** @returns 32 hex digits of SHA-256. Bytes that are no protobuf are hashed as they are; never throws. */
export function canonicalHash(kind: ResourceKind, bytes: Uint8Array): string {
  const shape = shapeOfKind(kind)
  const copy = shape && copied(bytes)
  const canonical = copy && sortMaps(copy, 0, copy.length, shape, 0) ? copy : bytes
  // A slice of a text would keep all of it.
  return hash('sha256', canonical, 'buffer').toString('hex', 0, 16)
}

/** Where most resources are sorted: a push of thousands would leave as many copies behind. */
let scratch = new Uint8Array(0)
const MAX_SCRATCH_BYTES = 256 * 1024

/**
 * Good until the next call. A plain Uint8Array also of a Buffer, which gRPC gives: a Buffer's slice() shares its
 * memory.
 */
function copied(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_SCRATCH_BYTES) return new Uint8Array(bytes)
  if (scratch.length === 0) scratch = new Uint8Array(MAX_SCRATCH_BYTES)
  scratch.set(bytes)
  return scratch.subarray(0, bytes.length)
}

/** @returns false for bytes that are no protobuf. */
function sortMaps(bytes: Uint8Array, start: number, end: number, shape: Shape, depth: number): boolean {
  if (depth > MAX_DEPTH) return true
  return shape.kind === 'any'
    ? sortInAny(bytes, start, end, depth)
    : sortInMessage(bytes, start, end, shape.fields, depth)
}

function sortInMessage(
  bytes: Uint8Array,
  start: number,
  end: number,
  fields: readonly (Step | undefined)[],
  depth: number,
): boolean {
  let entries: Entry[] | undefined
  let mapField = 0
  const key: KeySpan = { keyFrom: 0, keyTo: 0 }
  const cursor = { at: start, from: 0, to: 0 }
  while (cursor.at < end) {
    const fieldStart = cursor.at
    const no = nextField(bytes, cursor, end)
    if (no === 0) return false
    const step = cursor.to < 0 ? undefined : fields[no]
    // Entries are sorted among neighbours; writers put a map's entries together.
    if (entries && no !== mapField) {
      sortEntries(bytes, entries)
      entries = undefined
    }
    if (!step) continue
    const { shape } = step
    if (shape && !sortMaps(bytes, cursor.from, cursor.to, shape, depth + 1)) return false
    if (!step.map) continue
    mapField = no
    if (!findKey(bytes, cursor.from, cursor.to, key)) return false
    entries ??= []
    // A copy: sorting moves the bytes.
    entries.push({ start: fieldStart, end: cursor.to, key: bytes.slice(key.keyFrom, key.keyTo) })
  }
  if (entries) sortEntries(bytes, entries)
  return cursor.at === end
}

/** google.protobuf.Any: type_url = 1, value = 2. */
function sortInAny(bytes: Uint8Array, start: number, end: number, depth: number): boolean {
  const cursor = { at: start, from: 0, to: 0 }
  let url: readonly [number, number] = [0, 0]
  let value: readonly [number, number] | undefined
  while (cursor.at < end) {
    const no = nextField(bytes, cursor, end)
    if (no === 0) return false
    if (cursor.to < 0) continue
    if (no === 1) url = [cursor.from, cursor.to]
    if (no === 2) value = [cursor.from, cursor.to]
  }
  const shape = value && shapeOfAny(bytes, ...url)
  return !shape || sortMaps(bytes, value![0], value![1], shape, depth + 1)
}

type Entry = { readonly start: number; readonly end: number; readonly key: Uint8Array }

/** Stable, so that of two entries with one key the last still wins. */
function sortEntries(bytes: Uint8Array, entries: Entry[]): void {
  if (entries.every((e, i) => i === 0 || compare(entries[i - 1]!.key, e.key) <= 0)) return
  const from = entries[0]!.start
  const old = bytes.slice(from, entries.at(-1)!.end)
  let at = from
  for (const e of entries.toSorted((a, b) => compare(a.key, b.key))) {
    bytes.set(old.subarray(e.start - from, e.end - from), at)
    at += e.end - e.start
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const shorter = Math.min(a.length, b.length)
  for (let i = 0; i < shorter; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}
