/**
 * `npm run test:tasks [-- NAME …] [--write]`: the tasks of Istio's documentation against a real istiod, with traffic
 * through two agents. Names pick tasks. `--write` puts the table into docs/istio.md, of all tasks only. Exit code 0, 1
 * (one works that is said not to, or the other way round), 2 (wrong usage). Needs root.
 */
import { buildIfStale } from '../../../../tools/build/bundles.ts'
import { readOptions } from '../../../../tools/options.ts'
import { istioBinaries } from '../rig/binaries.ts'
import { inOwnNetwork, isInOwnNetwork } from '../rig/network-namespace.ts'
import { Mesh } from './mesh/mesh.ts'
import { isSurprise, decideVerdict, runTask, type TaskResult } from './task.ts'
import { TASKS } from './tasks.ts'
import { writeTable } from './table.ts'

const USAGE = `npm run test:tasks [-- NAME …] [--write]
${TASKS.map((t) => t.name).join('\n')}`
const { values, positionals } = readOptions(
  {
    options: { write: { type: 'boolean', default: false } },
    allowPositionals: true,
  },
  USAGE,
)
const chosen = TASKS.filter((t) => positionals.length === 0 || positionals.some((p) => t.name.includes(p)))
if (chosen.length === 0 || (values.write && positionals.length > 0)) {
  console.error(USAGE)
  process.exit(2)
}
if (!isInOwnNetwork()) {
  if (!buildIfStale()) process.exit(1)
  istioBinaries({ onBuild: console.log })
}
inOwnNetwork(import.meta.filename, ['setpriv', 'nft'], process.argv.slice(2))

const ends: (() => void | Promise<void>)[] = []
const results: TaskResult[] = []
const from = performance.now()
try {
  const mesh = await Mesh.start({ after: (end) => ends.push(end) })
  console.log(`the mesh is there after ${seconds(from)}`)
  for (const task of chosen) {
    const result = await runTask(mesh, task)
    results.push(result)
    tell(result)
  }
} finally {
  for (const end of ends.reverse())
    try {
      await end()
    } catch {
      // The network of the far machine goes with its last process.
    }
}
const surprises = results.flatMap((r) => r.checks).filter(isSurprise)
if (values.write && surprises.length === 0) writeTable(TASKS)
console.log(`tasks: ${results.length}, ${surprises.length} surprises, ${seconds(from)}`)
process.exit(surprises.length === 0 ? 0 : 1)

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`
}
function tell({ task, checks, seconds: took }: TaskResult): void {
  console.log(`\n${task.name}: ${decideVerdict(task)} (${took.toFixed(1)} s)`)
  for (const result of checks) {
    const { check, error } = result
    console.log(`  ${isSurprise(result) ? `SURPRISE, ${result.result}` : result.result}: ${check.what}`)
    if (error instanceof Error && isSurprise(result))
      console.log(`    ${(error.stack ?? '').replaceAll('\n', '\n    ')}`)
  }
}
