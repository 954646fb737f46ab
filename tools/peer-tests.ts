/**
 * Running test files against real programs: the bundles built first when a source is newer, one file at a time, a
 * summary at the end.
 */
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { areStale } from './build/bundles.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const TEST_TIMEOUT_MS = 10 * 60_000

/**
 * Ends the process: 0 when every file passed, 1 when one failed, 2 when a name matches nothing.
 * @param named parts of file names; none = all
 */
export function runPeerTests(title: string, all: readonly string[], named: readonly string[]): never {
  const chosen = chooseTests(title, all, named)
  if (areStale() && !step('build', [path.join(ROOT, 'tools/build/build.ts')])) process.exit(1)
  return run(title, chosen)
}

/** The same, of files that need no bundle. */
export function runTestFiles(title: string, all: readonly string[], named: readonly string[]): never {
  return run(title, chooseTests(title, all, named))
}

/** Ends the process with 2 when a name matches nothing: before anything is built. */
export function chooseTests(title: string, all: readonly string[], named: readonly string[]): readonly string[] {
  const chosen = named.length ? all.filter((f) => named.some((n) => f.includes(n))) : all
  if (chosen.length > 0) return chosen
  console.error(`no ${title} test matches ${named.join(' ')}; there are:\n${all.join('\n')}`)
  process.exit(2)
}

function run(title: string, chosen: readonly string[]): never {
  const startedMs = performance.now()
  const failed = chosen.filter(
    (file) =>
      !step(file, [
        '--test',
        `--test-timeout=${TEST_TIMEOUT_MS}`,
        '--test-concurrency=1',
        '--test-reporter=spec',
        '--test-reporter-destination=stdout',
        file,
      ]),
  )
  console.log(
    `\n${title}: ${chosen.length - failed.length} of ${chosen.length} files passed in ${formatSeconds(startedMs)}${failed.map((f) => `\n  FAILED ${f}`).join('')}`,
  )
  process.exit(failed.length ? 1 : 0)
}

function step(name: string, args: readonly string[]): boolean {
  const from = performance.now()
  console.log(`\n=== ${name}`)
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
  console.log(`=== ${name}: ${status === 0 ? 'ok' : 'FAILED'} in ${formatSeconds(from)}`)
  return status === 0
}

export function formatSeconds(from: number): string {
  return `${((performance.now() - from) / 1000).toFixed(1)} s`
}
