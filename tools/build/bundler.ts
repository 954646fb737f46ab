/** One file of JavaScript from an entry and all that it imports. */
import { build, type Plugin } from 'esbuild'
import fs from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../..')

export const ENTRIES = {
  agent: path.join(root, 'agent/main.ts'),
  hub: path.join(root, 'hub/main.ts'),
  thread: path.join(root, 'core/storage/thread.ts'),
} as const

/**
 * A call of createRequire's result is how the sources load a package only when it is needed; the bundler understands a
 * plain require.
 */
const LAZY_CALL = `createRequire(${'import.meta.url'})(`
const lazyRequire: Plugin = {
  name: 'lazy-require',
  setup(b) {
    b.onLoad({ filter: /\/(agent|control-sync|protocols|hub|model|proto|core)\/.*\.ts$/ }, ({ path: file }) => ({
      contents: fs.readFileSync(file, 'utf8').replaceAll(LAZY_CALL, 'require('),
      loader: 'ts',
    }))
  },
}

/** mqtt.js brings a SOCKS client, which no command of meshlet uses: 72 kB with what it needs. */
const withoutSocks: Plugin = {
  name: 'without-socks',
  setup(b) {
    b.onResolve({ filter: /^socks$/ }, () => ({ path: 'socks', namespace: 'left-out' }))
    b.onLoad({ filter: /^socks$/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {}' }))
  },
}

/** `map` leads from places in `code` to places in the sources (ECMA-426). The same sources give the same bytes. */
export async function bundleProgram(entry: string): Promise<{ readonly code: string; readonly map: string }> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    outfile: path.join(root, 'dist/program.cjs'),
    sourcemap: 'external',
    sourcesContent: false,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    minify: true,
    legalComments: 'none',
    define: { 'import.meta.url': 'undefined', 'process.env.NODE_ENV': '"production"' },
    supported: { 'dynamic-import': false },
    // Optional packages of ws.
    external: ['bufferutil', 'utf-8-validate'],
    plugins: [lazyRequire, withoutSocks],
    logLevel: 'warning',
  })
  const textOf = (suffix: string): string => outputFiles.find((file) => file.path.endsWith(suffix))!.text
  return { code: textOf('.cjs'), map: textOf('.map') }
}
