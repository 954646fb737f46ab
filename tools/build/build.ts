/**
 * `npm run build`: dist/<arch>/meshlet.cjs and meshlet-hub.cjs, one file each with everything inside, and copies for
 * this machine in dist/.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { assemble } from './assemble.ts'
import { bundleProgram, ENTRIES } from './bundler.ts'
import { buildConsolePage } from './console-page.ts'

const MAX_BYTES = 6_000_000
const root = path.resolve(import.meta.dirname, '../..')
const dist = path.join(root, 'dist')
const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
/** From the commit and not from the clock, so that the same sources give the same bytes. */
const builtAt = commitDate()

const { code: thread } = await bundleProgram(ENTRIES.thread)
const page = JSON.stringify(await buildConsolePage())

for (const [name, entry, shown] of [
  ['meshlet.cjs', ENTRIES.agent, undefined],
  ['meshlet-hub.cjs', ENTRIES.hub, page],
] as const) {
  const { code: program } = await bundleProgram(entry)
  for (const arch of ['x64', 'arm64']) {
    const addon = fs.readFileSync(path.join(root, `node_modules/better-sqlite3/prebuilds/linux-${arch}.node`))
    fs.mkdirSync(path.join(dist, arch), { recursive: true })
    const text = assemble({ addon, program, thread, page: shown, version, builtAt })
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
