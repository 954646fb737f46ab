/** What differs between two revisions: files that come and go, and the lines of those that change. */
import { waitForNextTurn } from '../../core/os/time-slice.ts'
import type { Registry } from '../registry/registry.ts'
import type { ManifestFile } from '../registry/rollout/revisions.ts'

export type FileDiff = {
  readonly path: string
  readonly what: 'added' | 'removed' | 'changed'
  /** ` same`, `-before`, `+after`, and `@@ line` where some are left out. */
  readonly lines: readonly string[]
}

const AROUND_LINES = 3
/** Comparing takes the product of both: what is longer is shown as taken out and put in. */
const MAX_COMPARED = 2_000_000
const MAX_FILES = 200
const MAX_LINES = 2_000

/** Rejects with MESH_CONFIG_INVALID when one of them is not there. At most 200 files are shown with their lines. */
export async function compareRevisions(
  registry: Registry,
  before: string,
  after: string,
): Promise<readonly FileDiff[]> {
  const [a, b] = [byPath(await registry.revisions.manifest(before)), byPath(await registry.revisions.manifest(after))]
  const paths = [...new Set([...a.keys(), ...b.keys()])]
    .toSorted()
    .filter((path) => a.get(path)?.source !== b.get(path)?.source)
  const diffs: FileDiff[] = []
  for (const path of paths) {
    const [old, next] = [a.get(path), b.get(path)]
    const isShown = diffs.length < MAX_FILES
    const [from, to] = isShown ? [await readLines(registry, old), await readLines(registry, next)] : [[], []]
    // Each file may take its time; whoever is served meanwhile does not wait for all of them.
    await waitForNextTurn()
    const what = !old ? 'added' : !next ? 'removed' : 'changed'
    diffs.push({ path, what, lines: compareLines(from, to).slice(0, MAX_LINES) })
  }
  return diffs
}

const byPath = (files: readonly ManifestFile[]): ReadonlyMap<string, ManifestFile> =>
  new Map(files.map((file) => [file.path, file]))

async function readLines(registry: Registry, file: ManifestFile | undefined): Promise<readonly string[]> {
  if (!file) return []
  const text = (await registry.revisions.source(file.source)).toString('utf8')
  return text.split('\n').slice(0, text.endsWith('\n') ? -1 : undefined)
}

export function compareLines(a: readonly string[], b: readonly string[]): readonly string[] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++
  const marked = [
    ...a.slice(0, start).map((line) => ` ${line}`),
    ...align(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map((line) => ` ${line}`),
  ]
  return shorten(marked)
}

/** By the longest common subsequence. */
function align(a: readonly string[], b: readonly string[]): string[] {
  const apart = [...a.map((line) => `-${line}`), ...b.map((line) => `+${line}`)]
  if (a.length * b.length > MAX_COMPARED) return apart
  const width = b.length + 1
  const longest = new Uint32Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1]! + 1
          : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!)
  const out: string[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(` ${a[i++]}`)
      j++
    } else if (i < a.length && (j === b.length || longest[(i + 1) * width + j]! >= longest[i * width + j + 1]!))
      out.push(`-${a[i++]}`)
    else out.push(`+${b[j++]}`)
  }
  return out
}

/** Only what changes, and some lines around. */
function shorten(marked: readonly string[]): string[] {
  const changed = marked.flatMap((line, i) => (line.startsWith(' ') ? [] : [i]))
  const shown = new Set(
    changed.flatMap((at) => Array.from({ length: 2 * AROUND_LINES + 1 }, (_, i) => at - AROUND_LINES + i)),
  )
  const out: string[] = []
  let line = 1
  for (const [i, text] of marked.entries()) {
    if (shown.has(i)) {
      if (i === 0 || !shown.has(i - 1)) out.push(`@@ ${line}`)
      out.push(text)
    }
    if (!text.startsWith('+')) line++
  }
  return out
}
