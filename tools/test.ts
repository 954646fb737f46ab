/**
 * `npm test`: types, lint, then every test under test/ that needs no peer. Arguments name test files or folders to run
 * instead of all.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'

/**
 * A file that does not end although its tests have is a failure too. (Node's --test-force-exit leaves out tests that
 * are not known yet.)
 */
const MAX_STEP_MS = 45 * 60_000
const SLOW = ['test/conformance/', 'test/console/', 'test/bench/', 'test/device/', 'test/faults/']
const named = process.argv.slice(2)

const all = fs
  .globSync('test/**/*.test.ts')
  .filter((f) => !SLOW.some((s) => f.startsWith(s)))
  .sort()
const chosen = named.length ? all.filter((f) => named.some((n) => f.includes(n))) : all
if (chosen.length === 0) {
  console.error(`no test file matches ${named.join(' ')}`)
  process.exit(2)
}

if (!named.length) {
  step('types', 'tsc', ['-p', 'tsconfig.json'])
  step('lint', 'oxlint', ['--type-aware', '--deny-warnings', '--quiet'])
}
step('tests', process.execPath, [
  '--test',
  '--test-timeout=60000',
  '--test-reporter=dot',
  '--test-reporter-destination=stdout',
  '--test-reporter=./tools/summary-reporter.mjs',
  '--test-reporter-destination=stdout',
  ...chosen,
])

function step(name: string, command: string, args: string[]): void {
  const started = performance.now()
  const { status } = spawnSync(command, args, { stdio: 'inherit', timeout: MAX_STEP_MS, killSignal: 'SIGKILL' })
  console.log(`${name}: ${status === 0 ? 'ok' : 'FAILED'} in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  if (status !== 0) process.exit(1)
}
