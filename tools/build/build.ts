/**
 * `npm run build`: dist/<arch>/meshlet.cjs and meshlet-hub.cjs, one file each with everything inside, and copies for
 * this machine in dist/.
 */
import { build, type Plugin } from 'esbuild'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { assembled } from './assemble.ts'

const MAX_BYTES = 6_000_000
const root = path.resolve(import.meta.dirname, '../..')
const dist = path.join(root, 'dist')
const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
/** From the commit and not from the clock, so that the same sources give the same bytes. */
const builtAt = commitDate()

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

async function bundled(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(root, file)],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    define: { 'import.meta.url': 'undefined', 'process.env.NODE_ENV': '"production"' },
    supported: { 'dynamic-import': false },
    // Optional packages of ws.
    external: ['bufferutil', 'utf-8-validate'],
    plugins: [lazyRequire],
    logLevel: 'warning',
  })
  return outputFiles[0]!.text
}

const programs = {
  'meshlet.cjs': await bundled('agent/main.ts'),
  'meshlet-hub.cjs': await bundled('hub/main.ts'),
}
const thread = await bundled('core/storage/thread.ts')

for (const [name, program] of Object.entries(programs)) {
  for (const arch of ['x64', 'arm64']) {
    const addon = fs.readFileSync(path.join(root, `node_modules/better-sqlite3/prebuilds/linux-${arch}.node`))
    fs.mkdirSync(path.join(dist, arch), { recursive: true })
    const text = assembled({ addon, program, thread, version, builtAt })
    fs.writeFileSync(path.join(dist, arch, name), text, { mode: 0o755 })
    console.log(
      `dist/${arch}/${name} ${text.length} bytes (program ${(program.length / 1024).toFixed(0)} KiB, addon ${(addon.length / 1024).toFixed(0)} KiB)`,
    )
    if (text.length > MAX_BYTES) {
      console.error(`${name} is larger than ${MAX_BYTES} bytes`)
      process.exitCode = 1
    }
    if (arch === process.arch) fs.copyFileSync(path.join(dist, arch, name), path.join(dist, name))
  }
}

function commitDate(): string {
  try {
    return execFileSync('git', ['log', '-1', '--format=%cI'], { cwd: root, encoding: 'utf8' }).trim()
  } catch {
    return '2026-01-01T00:00:00Z'
  }
}
