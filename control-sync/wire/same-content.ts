/**
 * Whether two encodings of a resource say the same. istiod's release builds write the entries of a map in random order,
 * so bytes differ where nothing does. Both are walked side by side, never decoded, and only where their bytes differ: of
 * a push in which nothing changed, half of the resources are as they were, and the other half in all but a few bytes.
 * Nothing is copied or hashed, and only large maps leave something for the collector: a stream that comes back brings
 * thousands of resources to a process that is otherwise idle.
 */
import type { ResourceKind } from '../../model/snapshot.ts'
import { findKey, type KeySpan } from './map-entry.ts'
import { MAX_DEPTH, findShapeOfAny, findShapeOfKind, type Shape } from './map-shapes.ts'
import { readNextField, type Cursor } from './fields.ts'

/** @returns true only for equal content; false also for bytes that are no protobuf, unless they are equal */
export function isSameContent(kind: ResourceKind, a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  // Native, for the half that is as it was; with offsets Node would make an array for each.
  if (Buffer.compare(a, b) === 0) return true
  left = a
  right = b
  top = 0
  level = 0
  const isSame = isSameMessage(0, 0, a.length, countEqualOneByOne(0, 0, a.length), findShapeOfKind(kind))
  left = right = NOBODY
  if (entries.length > MAX_RETAINED_ENTRIES) entries.length = MAX_RETAINED_ENTRIES
  return isSame
}

const NOBODY = new Uint8Array(0)
/** The two that are being compared. Module-wide, as are the cursors of each level: the walk never waits. */
let left: Uint8Array = NOBODY
let right: Uint8Array = NOBODY
/** How many messages lie around the one that is walked. */
let level = 0
const makeCursor = (): Cursor => ({ at: 0, from: 0, to: 0 })
const leftCursors = Array.from({ length: MAX_DEPTH + 1 }, makeCursor)
const rightCursors = Array.from({ length: MAX_DEPTH + 1 }, makeCursor)

/** How many are equal from here on, of `length`. */
function countEqual(leftFrom: number, rightFrom: number, length: number): number {
  // Behind the one place that differs mostly nothing does, and native code finds that out for less.
  const isLong = length > SHORT_BYTES
  return isLong &&
    Buffer.compare(left.subarray(leftFrom, leftFrom + length), right.subarray(rightFrom, rightFrom + length)) === 0
    ? length
    : countEqualOneByOne(leftFrom, rightFrom, length)
}
/** Below it, a call of native code costs more than it saves. */
const SHORT_BYTES = 96

function countEqualOneByOne(leftFrom: number, rightFrom: number, length: number): number {
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
 * @returns false also ends the walk: `level` is then not what it was
 */
function isSameMessage(
  leftFrom: number,
  rightFrom: number,
  length: number,
  equal: number,
  shape: Shape | undefined,
): boolean {
  if (!shape || level > MAX_DEPTH) return false
  const a = left
  const l = leftCursors[level]!
  const r = rightCursors[level]!
  level++
  const leftEnd = leftFrom + length
  const rightEnd = rightFrom + length
  const isAny = shape.kind === 'any'
  let differsAt = leftFrom + equal
  let urlFrom = 0
  let urlTo = 0
  l.at = leftFrom
  while (differsAt < leftEnd) {
    const start = l.at
    const no = readNextField(a, l, leftEnd)
    if (no === 0) return false
    // google.protobuf.Any: type_url = 1, value = 2.
    if (isAny && no === 1) {
      urlFrom = l.from
      urlTo = l.to
    }
    if (l.at <= differsAt) continue
    r.at = rightFrom + start - leftFrom
    if (l.to < 0 || readNextField(right, r, rightEnd) !== no || r.to < 0) return false
    const step = shape.kind === 'message' ? shape.fields[no] : undefined
    if (step?.map) {
      if (!isSameMap(no, step.shape, leftEnd, rightEnd)) return false
    } else {
      const below = isAny && no === 2 ? findShapeOfAny(a, urlFrom, urlTo) : step?.shape
      // Its tag and length are equal.
      if (differsAt < l.from || !isSameMessage(l.from, r.from, l.to - l.from, differsAt - l.from, below)) return false
    }
    if (l.at - leftFrom !== r.at - rightFrom) return false
    differsAt = l.at + countEqual(l.at, r.at, leftEnd - l.at)
  }
  level--
  return true
}

/** Entries of the maps that are open, innermost last; of each its place and that of its key. */
const entries: Entry[] = []
type Entry = KeySpan & { from: number; to: number }
let top = 0
const TAKEN = -1
/** Those of a name table of thousands are not needed again soon. */
const MAX_RETAINED_ENTRIES = 1_024

/**
 * From the first entry that differs, which both cursors have read, to the last of the neighbours; writers put a map's
 * entries together.
 */
function isSameMap(no: number, shape: Shape | undefined, leftEnd: number, rightEnd: number): boolean {
  const lefts = top
  if (!readEntries(left, leftCursors[level - 1]!, leftEnd, no)) return false
  const rights = top
  if (!readEntries(right, rightCursors[level - 1]!, rightEnd, no)) return false
  const end = top
  const byKey = end - rights > MAX_SMALL ? indexByKey(rights, end) : undefined
  for (let i = lefts; i < rights; i++) {
    const one = entries[i]!
    const other = byKey ? byKey.get(keyOf(left, one)) : findSameKey(one, rights, end)
    if (!other || other.from === TAKEN) return false
    const length = one.to - one.from
    if (length !== other.to - other.from) return false
    const equal = countEqual(one.from, other.from, length)
    if (equal < length && !isSameMessage(one.from, other.from, length, equal, shape)) return false
    other.from = TAKEN
  }
  top = lefts
  return true
}

/** Above it, entries are found by an index. */
const MAX_SMALL = 32

/** Of entries with one key the last wins, so they have to stay in their order: the first that is not taken yet. */
function findSameKey(one: Entry, from: number, end: number): Entry | undefined {
  const length = one.keyTo - one.keyFrom
  for (let i = from; i < end; i++) {
    const other = entries[i]!
    if (other.from === TAKEN || length !== other.keyTo - other.keyFrom) continue
    if (countEqual(one.keyFrom, other.keyFrom, length) === length) return other
  }
  return undefined
}

/** Two entries with one key count as a difference, whatever they say: no writer of large maps makes them. */
function indexByKey(from: number, end: number): Map<string, Entry> {
  const byKey = new Map<string, Entry>()
  for (let i = from; i < end; i++) byKey.set(keyOf(right, entries[i]!), entries[i]!)
  return byKey
}

function keyOf(bytes: Uint8Array, { keyFrom, keyTo }: KeySpan): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + keyFrom, keyTo - keyFrom).toString('latin1')
}

/** Moves the cursor behind the last one. @returns false when they are no protobuf */
function readEntries(bytes: Uint8Array, cursor: Cursor, end: number, no: number): boolean {
  for (;;) {
    if (!readEntry(bytes, cursor.from, cursor.to)) return false
    const at = cursor.at
    if (at < end && readNextField(bytes, cursor, end) === no && cursor.to >= 0) continue
    cursor.at = at
    return true
  }
}

function readEntry(bytes: Uint8Array, from: number, to: number): boolean {
  const entry = (entries[top] ??= { from: 0, to: 0, keyFrom: 0, keyTo: 0 })
  entry.from = from
  entry.to = to
  top++
  return findKey(bytes, from, to, entry)
}
