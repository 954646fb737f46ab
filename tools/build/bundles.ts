/** Whether the built bundles are those of the sources that are here, for the tools that run the shipped product. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../..')
const BUILT = ['dist/meshlet.cjs', 'dist/meshlet-hub.cjs', 'dist/x64/meshlet.cjs', 'dist/arm64/meshlet.cjs']
const SOURCES = [
  'agent/**/*.ts',
  'control-sync/**/*.ts',
  'core/**/*.ts',
  'proto/**/*.ts',
  'model/**/*.ts',
  'protocols/**/*.ts',
  'hub/**/*.ts',
  'tools/build/build.ts',
  'tools/build/assemble.ts',
  'console/**/*',
  'tools/build/bundler.ts',
  'tools/build/console-page.ts',
  'tools/build/bundle-*.cjs',
  'package-lock.json',
]

/** A source is newer than the oldest bundle, or one is missing. */
export function areStale(): boolean {
  const timeOf = (file: string): number => fs.statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const newest = Math.max(...SOURCES.flatMap((pattern) => fs.globSync(pattern, { cwd: root })).map(timeOf))
  return newest > Math.min(...BUILT.map(timeOf))
}

/** What the build prints goes to standard error. @returns false when it failed */
export function buildIfStale(): boolean {
  if (!areStale()) return true
  console.error('building the bundles …')
  return (
    spawnSync(process.execPath, [path.join(root, 'tools/build/build.ts')], { cwd: root, stdio: ['ignore', 2, 2] })
      .status === 0
  )
}
