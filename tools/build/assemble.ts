/** Makes the text of a bundle of its parts. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import zlib from 'node:zlib'
import { base85 } from './base85.ts'

/**
 * `often`: needed at every start; the others are written a sixteenth shorter, and take some milliseconds more to read.
 */
export type Part = { readonly text: string; readonly length: number; readonly often: boolean }
export function packed(bytes: Uint8Array, needed: 'often' | 'seldom'): Part {
  const small = zlib.brotliCompressSync(bytes, {
    params: {
      [zlib.constants.BROTLI_PARAM_QUALITY]: 11,
      [zlib.constants.BROTLI_PARAM_LGWIN]: 24,
      [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  })
  return needed === 'often'
    ? { text: small.toString('base64'), length: small.length, often: true }
    : { text: base85(small), length: small.length, often: false }
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

export type Bundled = {
  readonly addon: Uint8Array
  /** With `program` and `thread` among them. */ readonly parts: Readonly<Record<string, Part>>
  readonly version: string
  readonly builtAt: string
}

/**
 * Front with the loader as text in it, then `//` and text for each part; positions are counted from the end so that the
 * front's own length does not matter.
 */
export function assembled({ addon, parts, version, builtAt }: Bundled): string {
  const source = (name: string): string =>
    fs.readFileSync(path.join(import.meta.dirname, `${name}.cjs`), 'utf8').replace(/^ *\/\/.*\n/gm, '')
  const table: Record<string, unknown> = {
    version,
    builtAt,
    addonSha256: sha256(addon),
    programSha256: sha256(parts['program']!.text),
  }
  let fromEnd = 0
  let tail = ''
  for (const [name, { text, length, often }] of Object.entries({ addon: packed(addon, 'often'), ...parts })) {
    tail = `//${text}\n${tail}`
    fromEnd += text.length + 1
    table[name] = { fromEnd, text: text.length, length, often }
    fromEnd += 2
  }
  return (
    source('bundle-front')
      .replace('LOADER', () => JSON.stringify(source('bundle-loader')))
      .replace('PARTS_TABLE', () => JSON.stringify(table)) + tail
  )
}
