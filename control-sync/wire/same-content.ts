/**
 * Whether two encodings of a resource say the same, map entries in another order aside. Both are walked side by side
 * and only where their bytes differ: of a push in which nothing changed, half of the resources are as they were, and
 * the other half in all but a few bytes. Nothing is copied, hashed or left for the collector: a stream that comes back
 * brings thousands, to a process that is otherwise idle.
 */
import type { ResourceKind } from '../../model/snapshot.ts'
import { findKey, type KeySpan } from './map-entry.ts'
import { MAX_DEPTH, shapeOfAny, shapeOfKind, type Shape } from './map-shapes.ts'
import { nextField, type Cursor } from './fields.ts'

/** Each is looked for among all the others. */
const MAX_ENTRIES = 32

/** @returns true only for equal content; false also where it cannot tell: maps of more than 32 entries, no protobuf */
export function sameContent(kind: ResourceKind, a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  // Native, for the half that is as it was; with offsets Node would make an array for each.
  if (Buffer.compare(a, b) === 0) return true
  left = a
  right = b
  top = 0
  const isSame = same(0, 0, a.length, equalUntil(0, 0, a.length), shapeOfKind(kind), 0)
  left = right = NOBODY
  return isSame
}

const NOBODY = new Uint8Array(0)
/** The two that are being compared. Module-wide, as are the cursors of each level: the walk never waits. */
let left: Uint8Array = NOBODY
let right: Uint8Array = NOBODY
const cursor = (): Cursor => ({ at: 0, from: 0, to: 0 })
const leftCursors = Array.from({ length: MAX_DEPTH + 1 }, cursor)
const rightCursors = Array.from({ length: MAX_DEPTH + 1 }, cursor)

/** How many are equal from here on, of `length`. */
function equalBytes(leftFrom: number, rightFrom: number, length: number): number {
  // Behind the one place that differs mostly nothing does, and native code finds that out for less.
  const isLong = length > SHORT_BYTES
  return isLong &&
    Buffer.compare(left.subarray(leftFrom, leftFrom + length), right.subarray(rightFrom, rightFrom + length)) === 0
    ? length
    : equalUntil(leftFrom, rightFrom, length)
}
/** Below it, a call of native code costs more than it saves. */
const SHORT_BYTES = 96

function equalUntil(leftFrom: number, rightFrom: number, length: number): number {
  const l = left
  const r = right
  let i = 0
  while (i < length && l[leftFrom + i] === r[rightFrom + i]) i++
  return i
}

/**
 * Sorting the entries of a map moves bytes and adds none: what says the same is of one length, and on both sides each
 * field that is no map stands at its place.
 * @param equal so many bytes are equal, and the next is not
 */
function same(
  leftFrom: number,
  rightFrom: number,
  length: number,
  equal: number,
  shape: Shape | undefined,
  depth: number,
): boolean {
  if (!shape || depth > MAX_DEPTH) return false
  const a = left
  const l = leftCursors[depth]!
  const leftEnd = leftFrom + length
  const rightEnd = rightFrom + length
  const isAny = shape.kind === 'any'
  let differsAt = leftFrom + equal
  let urlFrom = 0
  let urlTo = 0
  l.at = leftFrom
  while (differsAt < leftEnd) {
    const start = l.at
    const no = nextField(a, l, leftEnd)
    if (no === 0) return false
    // google.protobuf.Any: type_url = 1, value = 2.
    if (isAny && no === 1) {
      urlFrom = l.from
      urlTo = l.to
    }
    if (l.at <= differsAt) continue
    const r = rightCursors[depth]!
    r.at = rightFrom + start - leftFrom
    if (l.to < 0 || nextField(right, r, rightEnd) !== no || r.to < 0) return false
    const step = shape.kind === 'message' ? shape.fields[no] : undefined
    if (step?.map) {
      if (!sameMap(no, step.shape, leftEnd, rightEnd, depth)) return false
    } else {
      const below = isAny && no === 2 ? shapeOfAny(a, urlFrom, urlTo) : step?.shape
      // Its tag and length are equal.
      if (differsAt < l.from || !same(l.from, r.from, l.to - l.from, differsAt - l.from, below, depth + 1)) return false
    }
    if (l.at - leftFrom !== r.at - rightFrom) return false
    differsAt = l.at + equalBytes(l.at, r.at, leftEnd - l.at)
  }
  return true
}

/** Entries of the maps that are open, innermost last; of each its place and that of its key. */
const entries: Entry[] = []
type Entry = KeySpan & { from: number; to: number }
let top = 0
const TAKEN = -1

/**
 * From the first entry that differs, which both cursors have read, to the last of the neighbours. Of entries with one
 * key the last wins, so they stay in their order.
 */
function sameMap(no: number, shape: Shape | undefined, leftEnd: number, rightEnd: number, depth: number): boolean {
  const lefts = top
  if (!readEntries(left, leftCursors[depth]!, leftEnd, no)) return false
  const rights = top
  if (!readEntries(right, rightCursors[depth]!, rightEnd, no) || top - rights !== rights - lefts) return false
  const end = top
  for (let i = lefts; i < rights; i++) {
    const one = entries[i]!
    let j = rights
    while (j < end && !sameKey(one, entries[j]!)) j++
    if (j === end) return false
    const other = entries[j]!
    const length = one.to - one.from
    if (length !== other.to - other.from) return false
    const equal = equalBytes(one.from, other.from, length)
    if (equal < length && !same(one.from, other.from, length, equal, shape, depth + 1)) return false
    other.from = TAKEN
  }
  top = lefts
  return true
}

function sameKey(one: Entry, other: Entry): boolean {
  const length = one.keyTo - one.keyFrom
  return (
    other.from !== TAKEN &&
    length === other.keyTo - other.keyFrom &&
    equalBytes(one.keyFrom, other.keyFrom, length) === length
  )
}

/** Moves the cursor behind the last one. @returns false when they are too many, or no protobuf */
function readEntries(bytes: Uint8Array, cursor: Cursor, end: number, no: number): boolean {
  for (let count = 1; count <= MAX_ENTRIES; count++) {
    if (!readEntry(bytes, cursor.from, cursor.to)) return false
    const at = cursor.at
    if (at < end && nextField(bytes, cursor, end) === no && cursor.to >= 0) continue
    cursor.at = at
    return true
  }
  return false
}

function readEntry(bytes: Uint8Array, from: number, to: number): boolean {
  const entry = (entries[top] ??= { from: 0, to: 0, keyFrom: 0, keyTo: 0 })
  entry.from = from
  entry.to = to
  top++
  return findKey(bytes, from, to, entry)
}
