/** The name that was meant. */

/** More is another word, and so is a third of a short one. */
const MAX_CHANGES = 2

/** @returns ` (is "x" meant?)`, or nothing when none of `names` is near. */
export function suggestName(written: string, names: Iterable<string>): string {
  let best: string | undefined
  let least = Math.min(MAX_CHANGES, Math.floor(written.length / 3)) + 1
  for (const name of names) {
    const changes = Math.abs(name.length - written.length) < least ? distance(written, name) : least
    if (changes < least) {
      best = name
      least = changes
    }
  }
  return best === undefined ? '' : ` (is ${JSON.stringify(best)} meant?)`
}

/** Damerau–Levenshtein, of neighbours that changed places: letters that are wrong, missing, too many or swapped. */
function distance(a: string, b: string): number {
  let [before, above] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      row[j] = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j]!, before[j - 2]! + 1)
    }
    ;[before, above] = [above, row]
  }
  return above[b.length]!
}
