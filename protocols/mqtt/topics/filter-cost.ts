/** What a filter, or the path of a topic, takes in memory. */
/** Of an entry, and of a level of the tree (measured: 13.7 MB for a thousand filters of 63 levels). */
const ENTRY_BYTES = 400
const LEVEL_BYTES = 200
export function estimateFilterBytes(filter: string): number {
  return ENTRY_BYTES + filter.length + estimateLevelBytes(filter, 0)
}
/** @param free so many levels are within what an entry takes */
export function estimateLevelBytes(path: string, free: number): number {
  let levels = 1
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) levels++
  return Math.max(0, levels - free) * LEVEL_BYTES
}
