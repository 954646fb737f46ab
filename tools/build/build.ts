/**
 * `npm run build`: dist/<arch>/meshlet.cjs and meshlet-hub.cjs, one file each with everything inside, and copies for
 * this machine in dist/.
 */
import { build, type Plugin } from 'esbuild'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { assembled, packed } from './assemble.ts'
import { loadedPartOf } from './elf.ts'
import { grpcPieces } from './grpc-pieces.ts'

const MAX_AGENT_BYTES = 6_000_000
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

/**
 * Packages that most runs never need are parts of their own, compiled when they are required: an agent that starts
 * without a link loads no gRPC, and only the command line has an MQTT client.
 */
const LAZY = ['@grpc/grpc-js', 'dns-packet', 'mqtt', 'node-forge', 're2js', 'ws', 'envoy-rows']
/** Not a package but ours: Envoy's messages, for folders of resource files. */
const OWN: Readonly<Record<string, string>> = { 'envoy-rows': './proto/full/rows.ts' }
const ownParts: Plugin = {
  name: 'own-parts',
  setup(b) {
    b.onResolve({ filter: /^\.\/rows\.ts$/ }, ({ importer }) =>
      path.dirname(importer) === path.join(root, 'proto/full') ? { path: 'envoy-rows', external: true } : undefined,
    )
  },
}

type Bundled = { readonly text: string; /** Lazy packages that it requires. */ readonly requires: readonly string[] }

async function bundled(from: { readonly file: string } | { readonly lazy: string }): Promise<Bundled> {
  const { outputFiles, metafile } = await build({
    ...('file' in from
      ? { entryPoints: [path.join(root, from.file)] }
      : {
          stdin: {
            contents: `module.exports = require(${JSON.stringify(OWN[from.lazy] ?? from.lazy)})`,
            resolveDir: root,
          },
        }),
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    define: { 'import.meta.url': 'undefined', 'process.env.NODE_ENV': '"production"' },
    supported: { 'dynamic-import': false },
    external: ['bufferutil', 'utf-8-validate', ...LAZY.filter((name) => !('lazy' in from) || name !== from.lazy)],
    plugins: [lazyRequire, ownParts, grpcPieces],
    logLevel: 'warning',
  })
  const imports = Object.values(metafile.outputs).flatMap((o) => o.imports.map((i) => i.path))
  return { text: outputFiles[0]!.text, requires: LAZY.filter((name) => imports.includes(name)) }
}

const programs = {
  'meshlet.cjs': await bundled({ file: 'agent/main.ts' }),
  'meshlet-hub.cjs': await bundled({ file: 'hub/main.ts' }),
}
const thread = packed(Buffer.from((await bundled({ file: 'core/storage/thread.ts' })).text), 'often')
const lazy = new Map(
  await Promise.all(
    LAZY.map(async (name) => {
      const { text, requires } = await bundled({ lazy: name })
      return [name, { part: packed(Buffer.from(text), 'seldom'), requires }] as const
    }),
  ),
)

/** What these need, and what that needs. */
function closure(names: readonly string[], found = new Set<string>()): Set<string> {
  for (const name of names) if (!found.has(name)) closure(lazy.get(name)!.requires, found.add(name))
  return found
}

for (const [name, { text: program, requires }] of Object.entries(programs)) {
  const parts = {
    ...Object.fromEntries([...closure(requires)].map((n) => [`package ${n}`, lazy.get(n)!.part])),
    thread,
    program: packed(Buffer.from(program), 'often'),
  }
  for (const arch of ['x64', 'arm64']) {
    const addon = loadedPartOf(
      fs.readFileSync(path.join(root, `node_modules/better-sqlite3/prebuilds/linux-${arch}.node`)),
    )
    fs.mkdirSync(path.join(dist, arch), { recursive: true })
    const text = assembled({ addon, parts, version, builtAt })
    fs.writeFileSync(path.join(dist, arch, name), text, { mode: 0o755 })
    console.log(
      `dist/${arch}/${name} ${text.length} bytes (program ${(program.length / 1024).toFixed(0)} KiB, addon ${(addon.length / 1024).toFixed(0)} KiB before packing)`,
    )
    if (name === 'meshlet.cjs' && text.length > MAX_AGENT_BYTES) {
      console.error(`meshlet.cjs is larger than ${MAX_AGENT_BYTES} bytes`)
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
