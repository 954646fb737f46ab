/**
 * What decoding a resource found that is not in force as it was sent: fields without effect, what is left out, and
 * pieces that are blocked. Stored beside the resource, so that a start from disk can tell it without decoding a mesh.
 */
import type { Decoded, Issue } from '../model/snapshot.ts'

export type Notes = {
  readonly ignored?: readonly string[]
  readonly skipped?: readonly string[]
  readonly blocked?: readonly Issue[]
}

/** Undefined when everything is in force. */
export function collectNotes({
  ignored,
  skipped,
  blocked,
}: Pick<Extract<Decoded<unknown>, { readonly ok: true }>, 'ignored' | 'skipped' | 'blocked'>): Notes | undefined {
  if (ignored.length + skipped.length + blocked.length === 0) return undefined
  return shareNotes({
    ...(ignored.length > 0 ? { ignored } : {}),
    ...(skipped.length > 0 ? { skipped } : {}),
    ...(blocked.length > 0 ? { blocked } : {}),
  })
}

/** The resources of a mesh are alike: a thousand clusters have the same notes. */
const MAX_SHARED = 512
const known = new Map<string, Notes>()

/** @returns an object with the same content, the same for all that have it */
export function shareNotes(notes: Notes): Notes {
  const key = JSON.stringify(notes)
  const found = known.get(key)
  if (found) return found
  if (known.size >= MAX_SHARED) known.clear()
  known.set(key, notes)
  return notes
}
