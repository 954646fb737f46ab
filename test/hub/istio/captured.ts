/** What an istiod answered to the cases, kept for tests without one: test/conformance/istiod/yaml captures it. */
import fs from 'node:fs'
import path from 'node:path'
import zlib from 'node:zlib'
import type { Resources } from './compare.ts'

const FILE = path.join(import.meta.dirname, 'captured.json.br')

export function readCaptured(): ReadonlyMap<string, Resources> {
  const text = zlib.brotliDecompressSync(fs.readFileSync(FILE)).toString()
  return new Map(Object.entries(JSON.parse(text) as Readonly<Record<string, Resources>>))
}

export function writeCaptured(all: ReadonlyMap<string, Resources>): void {
  const params = { [zlib.constants.BROTLI_PARAM_LGWIN]: 24 }
  fs.writeFileSync(FILE, zlib.brotliCompressSync(JSON.stringify(Object.fromEntries(all)), { params }))
}
