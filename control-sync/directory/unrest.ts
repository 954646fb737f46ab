/**
 * Whether somebody is writing at this moment. Half a YAML file is often a valid one, with half of the resources; a file
 * that is renamed is gone for a moment, and several that belong together are written one after the other. So what
 * differs from what was read has to be the same in two looks.
 */

/** But the others do not wait longer than this for one that is never the same. */
const MAX_WAIT_MS = 1_000
/** And that one is read all the same after so long. */
const NEVER_AT_REST_MS = 5_000
/** A folder that is emptied altogether is more likely about to be filled anew. */
const EMPTY_WAIT_MS = 2_000

export type Rest = {
  /** Nothing is to be read yet. */
  readonly wait: boolean
  /** Those that moved since the last look. */
  readonly restless: ReadonlySet<string>
}

export class Unrest {
  #moving = new Map<string, { readonly stamp: string; readonly sinceMs: number }>()

  /** @param differing all that is not as it was read, with what it is now */
  at(differing: readonly (readonly [file: string, stamp: string])[], nowMs: number, isEmpty: boolean): Rest {
    const before = this.#moving
    this.#moving = new Map(
      differing.map(([file, stamp]) => [file, { stamp, sinceMs: before.get(file)?.sinceMs ?? nowMs }]),
    )
    const restless = new Set<string>()
    let [movingMs, differingMs] = [0, 0]
    for (const [file, { stamp, sinceMs }] of this.#moving) {
      differingMs = Math.max(differingMs, nowMs - sinceMs)
      if (before.get(file)?.stamp === stamp || nowMs - sinceMs >= NEVER_AT_REST_MS) continue
      restless.add(file)
      movingMs = Math.max(movingMs, nowMs - sinceMs)
    }
    return {
      wait: isEmpty && differing.length > 0 ? differingMs < EMPTY_WAIT_MS : restless.size > 0 && movingMs < MAX_WAIT_MS,
      restless,
    }
  }
}
