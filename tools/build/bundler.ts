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

/** Packages that dependencies name and no command of meshlet reaches: what stands in their place. */
export const REPLACED: Readonly<Record<string, string>> = {
  // mqtt.js goes out through SOCKS and times with a web worker in a browser: 90 kB.
  socks: 'module.exports = {}',
  'worker-timers': 'module.exports = {}',
  // The copy of Node's streams that mqtt.js brings for browsers: 80 kB.
  'readable-stream': "module.exports = require('node:stream')",
  // grpc-js reads the definitions of channelz and ORCA with it, services that meshlet does not offer: 130 kB.
  '@grpc/proto-loader': 'module.exports = {}',
}
const replacePackages: Plugin = {
  name: 'replace-packages',
  setup(b) {
    const names = new RegExp(`^(?:${Object.keys(REPLACED).join('|')})$`)
    b.onResolve({ filter: names }, ({ path: name }) => ({ path: name, namespace: 'replaced' }))
    b.onLoad({ filter: names, namespace: 'replaced' }, ({ path: name }) => ({ contents: REPLACED[name]! }))
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
    // Optional packages of ws and of pg.
    external: ['bufferutil', 'utf-8-validate', 'pg-native'],
    plugins: [lazyRequire, replacePackages],
    logLevel: 'warning',
  })
  const textOf = (suffix: string): string => outputFiles.find((file) => file.path.endsWith(suffix))!.text
  return { code: textOf('.cjs'), map: textOf('.map') }
}
