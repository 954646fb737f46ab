/**
 * The segments that are in memory, so that a receiver that keeps up never makes the disk read. One bound for all
 * queues; the oldest goes first.
 */
import { findOwnPlaces, type Places } from './segment.ts'

/** Place of a segment in its queue; `blob` and `places` only while it is in memory. */
export type Segment = {
  readonly firstSeq: number
  lastSeq: number
  bytes: number
  blob: Buffer | undefined
  places: Places | undefined
}

export const MAX_CACHED_BYTES = 4 * 1024 * 1024
/** Where an entry begins. */
const PLACE_BYTES = 8

export class SegmentCache {
  readonly #held = new Map<Segment, number>()
  #bytes = 0

  /** What is held, with what it costs beyond its bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Keeps the blob; whatever else is held may have to go, but not this. */
  put(segment: Segment, blob: Buffer): void {
    this.drop(segment)
    segment.blob = blob
    const cost = blob.length + (segment.lastSeq - segment.firstSeq + 1) * PLACE_BYTES
    this.#held.set(segment, cost)
    this.#bytes += cost
    for (const oldest of this.#held.keys()) {
      if (this.#bytes <= MAX_CACHED_BYTES || oldest === segment) return
      this.drop(oldest)
    }
  }
  drop(segment: Segment): void {
    const cost = this.#held.get(segment)
    if (cost === undefined) return
    this.#held.delete(segment)
    this.#bytes -= cost
    segment.blob = undefined
    segment.places = undefined
  }
}

/** Undefined when the segment is not in memory. What was read from the disk has them; the rest we have made. */
export function findPlacesInMemory(segment: Segment): Places | undefined {
  const { places, blob, firstSeq, lastSeq } = segment
  if (places !== undefined || blob === undefined) return places
  return (segment.places = findOwnPlaces(blob, lastSeq - firstSeq + 1))
}
