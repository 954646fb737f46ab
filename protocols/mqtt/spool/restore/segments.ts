/**
 * Which messages wait in queues, when the spool opens. Checksums lie behind the data, so all data would be read for them.
 * Where each segment of a queue begins behind the end of the one before, those of the first and the last are enough.
 * Otherwise something is damaged, and all are asked for. What a segment holds is checked when it is read.
 */
import type { Row, SqlValue, Storage } from '../../../../core/storage/storage.ts'
import type { SpoolQueue } from '../queue.ts'
import { readRows, type Restoring } from './read-rows.ts'
import { buildLostRow } from '../rows.ts'
import { ROWS_PER_PAGE, SQL } from '../schema.ts'
import { isWhole } from '../sums.ts'

type Queues = ReadonlyMap<number, SpoolQueue>
type Place = { readonly id: number; readonly firstSeq: number; readonly lastSeq: number; readonly bytes: number }

/** @param areQueuesWhole the rows of all */
export async function restoreSegments(restoring: Restoring, queues: Queues, areQueuesWhole: boolean): Promise<void> {
  const places = areQueuesWhole ? await findRegularPlaces(restoring.storage, queues) : undefined
  if (places)
    for (const { id, firstSeq, lastSeq, bytes } of places) queues.get(id)!.noteRestored(firstSeq, lastSeq, bytes)
  else await restoreChecked(restoring, queues)
  const { losses, repairs } = restoring
  for (const queue of queues.values())
    for (const { firstSeq, lastSeq, messages } of queue.finishRestoring()) {
      const why = 'messages of the spool are gone'
      if (messages > 0) losses.reportMessages(queue.name, messages, [firstSeq, lastSeq], why)
      repairs.push(buildLostRow([queue.id, firstSeq, lastSeq]))
    }
}

/** Undefined: something is missing, or is where it ought not to be. */
async function findRegularPlaces(storage: Storage, queues: Queues): Promise<readonly Place[] | undefined> {
  const places: Place[] = []
  const lasts = new Map<number, Place>()
  const ends = new Set<Place>()
  for await (const row of readRows(storage, SQL.places, [0, 0], keyOfSegment)) {
    const place = placeOf(row)
    const { id, firstSeq, lastSeq } = place
    const [before, queue] = [lasts.get(id), queues.get(id)]
    // A missing blob that several queues share has no bytes at all.
    if (!queue || !(lastSeq >= firstSeq) || row['bytes'] === null) return undefined
    if (before ? firstSeq !== before.lastSeq + 1 : firstSeq > queue.firstSeq) return undefined
    if (!before) ends.add(place)
    places.push(place)
    lasts.set(id, place)
  }
  for (const { id, firstSeq, lastSeq } of queues.values())
    if ((lasts.get(id)?.lastSeq ?? firstSeq - 1) < lastSeq) return undefined
  // Beside these is nothing that says where they begin and end.
  for (const last of lasts.values()) ends.add(last)
  return (await areWhole(storage, [...ends])) ? places : undefined
}
async function areWhole(storage: Storage, places: readonly Place[]): Promise<boolean> {
  for (let at = 0; at < places.length; at += ROWS_PER_PAGE) {
    const asked = places.slice(at, at + ROWS_PER_PAGE).map(({ id, firstSeq }) => [id, firstSeq])
    const rows = await storage.query({ sql: SQL.placeSums, params: [JSON.stringify(asked)] })
    if (rows.length < asked.length || !rows.every((row) => isPlaceWhole(row))) return false
  }
  return true
}

async function restoreChecked({ storage, losses, repairs }: Restoring, queues: Queues): Promise<void> {
  const orphans = new Map<number, { firstSeq: number; lastSeq: number; messages: number }>()
  for await (const row of readRows(storage, SQL.segments, [0, 0], keyOfSegment)) {
    const { id, firstSeq, lastSeq, bytes } = placeOf(row)
    const queue = queues.get(id)
    // Its place cannot be believed; what is missing where it belongs is found there.
    if (!isPlaceWhole(row)) {
      repairs.push({ sql: SQL.dropSegment, params: [id, firstSeq] })
      losses.reportRow('segment', queue?.name ?? `queue ${id}`)
    } else if (!queue) {
      const known = orphans.get(id)
      const messages = (known?.messages ?? 0) + lastSeq - firstSeq + 1
      orphans.set(id, { firstSeq: known?.firstSeq ?? firstSeq, lastSeq, messages })
    } else if ((row['shared_id'] ?? null) === null || bytes > 0) queue.noteRestored(firstSeq, lastSeq, bytes)
  }
  for (const [id, { firstSeq, lastSeq, messages }] of orphans) {
    const why = 'messages of a queue whose name is lost are given up'
    losses.reportMessages(`a queue whose name is lost (id ${id})`, messages, [firstSeq, lastSeq], why)
    repairs.push({ sql: SQL.dropSegmentsAbove, params: [id, 0, id] })
  }
}

const keyOfSegment = (last: Row): readonly SqlValue[] => [last['queue_id']!, last['first_seq']!]
function placeOf(row: Row): Place {
  return {
    id: Number(row['queue_id']),
    firstSeq: Number(row['first_seq']),
    lastSeq: Number(row['last_seq']),
    bytes: Number(row['bytes']),
  }
}
/**
 * The bytes of a segment; undefined: where they are cannot be believed. Bytes of its own say themselves what they are,
 * those of another segment would be another queue's messages.
 */
export function readSegmentBytes(row: Row): SqlValue | undefined {
  return (row['shared_id'] ?? null) === null || isPlaceWhole(row) ? row['data'] : undefined
}
function isPlaceWhole(row: Row): boolean {
  const { id, firstSeq, lastSeq } = placeOf(row)
  return isWhole(row['sum'], id, firstSeq, lastSeq, row['shared_id'] ?? null)
}
