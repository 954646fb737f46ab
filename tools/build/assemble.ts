/** Makes the text of a bundle of its parts. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

export type Bundled = {
  readonly addon: Uint8Array
  /** Both ASCII. */
  readonly program: string
  readonly thread: string
  /** Of the hub: the page of its console, JSON. */
  readonly page?: string | undefined
  readonly version: string
  readonly builtAt: string
}

/**
 * The front, then the parts with `//` before each line. Positions are counted from the end, so that the front's own
 * length does not matter.
 */
export function assemble({ addon, program, thread, page, version, builtAt }: Bundled): string {
  const front = fs.readFileSync(path.join(import.meta.dirname, 'bundle-front.cjs'), 'utf8')
  const table: Record<string, unknown> = {
    version,
    builtAt,
    addonSha256: sha256(addon),
    programSha256: sha256(program),
  }
  // A character of two bytes would move all that stands before it: a regular expression is not escaped by the bundler.
  const odd = /[^\0-\x7f]/.exec(program + thread + (page ?? ''))
  if (odd)
    throw new Error(
      `the bundle is not ASCII at ${JSON.stringify(odd.input.slice(Math.max(0, odd.index - 40), odd.index + 1))}`,
    )
  let tail = ''
  for (const [name, text] of Object.entries({
    program,
    thread,
    ...(page === undefined ? {} : { page }),
    addon: encodeAddon(addon),
  })) {
    const lines = `//${text.replaceAll('\n', '\n//')}`
    tail = `${lines}\n${tail}`
    table[name] = { fromEnd: tail.length, length: lines.length }
  }
  return front.replace('PARTS_TABLE', () => JSON.stringify(table)) + tail
}

/** Less than half of its bytes, for 5 ms at a start without `meshlet precompile`, which puts the addon beside the bundle. */
function encodeAddon(addon: Uint8Array): string {
  return zstdCompressSync(addon, { params: { [constants.ZSTD_c_compressionLevel]: 19 } }).toString('base64')
}
