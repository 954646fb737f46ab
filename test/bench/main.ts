/**
 * `npm run bench -- http|mqtt|spool|… [--json] [--seconds N] [--only SUBJECT,…] [--case CASE,…]`
 * meshlet and its peers in one run, each pinned to one core with the load on the other. A table for people; with --json one line per row.
 */
import { parseArgs } from 'node:util'
import fs from 'node:fs'
import type { Row, RunOptions } from './measure.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, seconds: { type: 'string', default: '4' }, only: { type: 'string' }, case: { type: 'string' } },
})
const [name] = positionals
const suites = new Map<string, () => Promise<(options: RunOptions) => AsyncIterable<Row>>>([
  ['http', async () => (await import('./http.ts')).benchHttp],
  ['mqtt', async () => (await import('./mqtt.ts')).benchMqtt],
  ['idle', async () => (await import('./idle.ts')).benchIdle],
  ['sync', async () => (await import('./sync.ts')).benchSync],
  ['start', async () => (await import('./start.ts')).benchStart],
])
const suite = suites.get(name ?? '')
if (!suite) {
  const micro = fs.globSync('test/bench/*.bench.ts').map((f) => f.replace(/.*\/(.*)\.bench\.ts/, '$1'))
  if (name && micro.includes(name)) { await import(`./${name}.bench.ts`); process.exit(0) }
  console.error(`usage: npm run bench -- NAME [--json] [--seconds N] [--only SUBJECTS] [--case CASES]\n  against peers: ${[...suites.keys()].join(', ')}\n  one mechanism: ${micro.join(', ')}`)
  process.exit(2)
}

const options: RunOptions = { seconds: Number(values.seconds), only: values.only?.split(','), cases: values.case?.split(',') }
const rows: Row[] = []
for await (const row of (await suite())(options)) {
  rows.push(row)
  if (values.json) console.log(JSON.stringify(row))
  else console.error(`${row.case} ${row.subject}: ${row.cpuUs.toFixed(2)} µs CPU, ${Math.round(row.perSecond)}/s`)
}
if (!values.json) console.log(table(rows))

function table(all: readonly Row[]): string {
  // Core %: where the subject leaves much of its core idle, the load's core sets the requests per second.
  const head = ['case', 'subject', 'CPU µs', '× first peer', 'per second', 'core %', 'p50 ms', 'p99 ms', 'RSS MiB']
  const body = all.map((r) => {
    const peer = all.find((p) => p.case === r.case && p.subject !== 'meshlet')
    return [r.case, r.subject, r.cpuUs.toFixed(2), peer ? (r.cpuUs / peer.cpuUs).toFixed(2) : '', String(Math.round(r.perSecond)), ((r.cpuUs * r.perSecond) / 1e4).toFixed(0), fixed(r.p50Ms), fixed(r.p99Ms), r.rssMiB.toFixed(1)]
  })
  const widths = head.map((h, i) => Math.max(h.length, ...body.map((row) => row[i]!.length)))
  return [head, ...body].map((row) => row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')).join('\n')
}
function fixed(ms: number | null): string { return ms === null ? '-' : ms.toFixed(2) }
