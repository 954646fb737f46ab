/**
 * `npm run stack < FILE`: a log line or a stack of a shipped bundle, with the places of the sources in it. Functions of
 * a bundle have short names. The sources must be those of the bundle: `meshlet version` prints the date of the commit.
 */
import { SourceMap, type SourceMapPayload } from 'node:module'
import path from 'node:path'
import { bundleProgram, ENTRIES } from './bundler.ts'

const root = path.resolve(import.meta.dirname, '../..')
/** How V8 names a place: the program of a bundle (bundle-front.cjs), or the storage thread. */
const PLACE = /(?:[^\s("]*?(meshlet-hub|meshlet)\.cjs#program|\[worker eval\]):(\d+):(\d+)/g

/** @param maps of the entries that the text may name */
export function withSources(text: string, maps: ReadonlyMap<string, SourceMap>): string {
  return text.replaceAll(PLACE, (place, bundle: string | undefined, line: string, column: string) => {
    const entry = bundle === undefined ? ENTRIES.thread : bundle === 'meshlet' ? ENTRIES.agent : ENTRIES.hub
    const found = maps.get(entry)?.findEntry(Number(line) - 1, Number(column) - 1)
    if (!found || !('originalSource' in found)) return place
    const file = path.relative(root, path.resolve(root, 'dist', found.originalSource))
    return `${file}:${found.originalLine + 1}:${found.originalColumn + 1}`
  })
}

export async function createMaps(entries: readonly string[]): Promise<Map<string, SourceMap>> {
  const maps = new Map<string, SourceMap>()
  for (const entry of entries) {
    const { map } = await bundleProgram(entry)
    maps.set(entry, new SourceMap(JSON.parse(map) as SourceMapPayload))
  }
  return maps
}

if (import.meta.main) {
  const text = Buffer.concat((await process.stdin.toArray()) as Buffer[]).toString()
  process.stdout.write(withSources(text.replaceAll(String.raw`\n`, '\n'), await createMaps(Object.values(ENTRIES))))
}
