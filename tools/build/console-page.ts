/** The page of the hub's console (console/): its files with a hash in their names, compressed as they are sent. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const source = path.resolve(import.meta.dirname, '../../console')
const HASH_CHARS = 12

export type PageFile = {
  readonly path: string
  readonly type: string
  /** Base64. */
  readonly gzip: string
  readonly br: string
}

/** The page itself comes first. The same sources give the same bytes. */
export async function buildConsolePage(): Promise<{ readonly files: readonly PageFile[] }> {
  const { outputFiles } = await build({
    entryPoints: [path.join(source, 'main.tsx')],
    bundle: true,
    write: false,
    outdir: path.join(source, 'out'),
    format: 'esm',
    target: ['chrome123', 'firefox120', 'safari17.5'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    tsconfigRaw: { compilerOptions: { jsx: 'react-jsx', jsxImportSource: 'preact' } },
  })
  const textOf = (suffix: string): string => outputFiles.find((file) => file.path.endsWith(suffix))!.text
  const favicon = fs.readFileSync(path.join(source, 'favicon.svg'), 'utf8')
  const files = [
    asFile('console', 'js', 'text/javascript; charset=utf-8', textOf('.js')),
    asFile('console', 'css', 'text/css; charset=utf-8', textOf('.css')),
    asFile('favicon', 'svg', 'image/svg+xml', favicon),
  ]
  const [script, style, icon] = files.map(({ path: name }) => name) as [string, string, string]
  const page = fs
    .readFileSync(path.join(source, 'index.html'), 'utf8')
    .replace('FAVICON', icon)
    .replace('STYLE', style)
    .replace('SCRIPT', script)
  return { files: [compress('index.html', 'text/html; charset=utf-8', page), ...files] }
}

function asFile(name: string, suffix: string, type: string, text: string): PageFile {
  const hash = createHash('sha256').update(text).digest('hex').slice(0, HASH_CHARS)
  return compress(`assets/${name}-${hash}.${suffix}`, type, text)
}

function compress(name: string, type: string, text: string): PageFile {
  const br = brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })
  return { path: name, type, gzip: gzipSync(text, { level: 9 }).toString('base64'), br: br.toString('base64') }
}
