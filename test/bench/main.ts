/**
 * `npm run bench -- NAME [options]`; `--help` tells all. Tables for people, with --json one line per row. Exit code 0,
 * 1 (something failed), 2 (wrong usage).
 */
import { spawnSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { buildIfStale } from '../../tools/build/bundles.ts'
import { amplificationTrial } from './amplification.ts'
import type { Bench, Micro, NoRow, PeerBench, Row, RunOptions } from './bench.ts'
import { churnTrial } from './configuration/churn.ts'
import { folderBench } from './configuration/folder.ts'
import { fleetTrial } from './fleet/fleet.ts'
import { httpBench } from './http/http.ts'
import { idleBench } from './idle.ts'
import { killTrial } from './mqtt/kill.ts'
import { mqttBench } from './mqtt/mqtt.ts'
import { startBench } from './start.ts'
import { syncBench } from './configuration/sync.ts'
import { ratioLines, rowTable } from './table.ts'
import { asked } from './usage.ts'

const MICRO: readonly Micro[] = [
  {
    kind: 'micro',
    name: 'h1-codec',
    file: 'http/h1-codec.ts',
    asks: 'what does the HTTP/1.1 codec need for one message head?',
    prints: 'nanoseconds per head, read and written',
  },
  {
    kind: 'micro',
    name: 'h1-proxy',
    file: 'http/h1-proxy.ts',
    asks: 'what does the HTTP/1.1 data path need for one request, without listener and control plane?',
    prints:
      'CPU microseconds per request and requests per second: plain, with mTLS on both sides, and to an endpoint of HTTP/2',
  },
  {
    kind: 'micro',
    name: 'hpack',
    file: 'http/hpack.ts',
    asks: 'what does HPACK need for one field?',
    prints: 'nanoseconds per field, decoded and encoded',
  },
  {
    kind: 'micro',
    name: 'mqtt-codec',
    file: 'mqtt/mqtt-codec.ts',
    asks: 'what does the MQTT codec need for one packet?',
    prints: 'nanoseconds per PUBLISH read and written, and per acknowledgement',
  },
  {
    kind: 'micro',
    name: 'spool',
    file: 'mqtt/spool.ts',
    asks: 'what does one QoS 1 message need that is durable before its acknowledgement?',
    prints: 'CPU microseconds per message and messages per second and per commit',
  },
]
const BENCHES: readonly Bench[] = [
  httpBench,
  mqttBench,
  idleBench,
  startBench,
  syncBench,
  killTrial,
  churnTrial,
  folderBench,
  amplificationTrial,
  fleetTrial,
  ...MICRO,
]

const what = asked(process.argv.slice(2), BENCHES, Date.now() % 1_000_000)
if (what.kind === 'help') process.stdout.write(what.text)
else if (what.kind === 'wrong') {
  console.error(what.text)
  process.exitCode = 2
} else process.exitCode = (await run(what.bench, what.options)) ? 0 : 1

async function run(bench: Bench, options: RunOptions): Promise<boolean> {
  if (bench.kind === 'micro')
    return spawnSync(process.execPath, [path.join(import.meta.dirname, bench.file)], { stdio: 'inherit' }).status === 0
  try {
    if (!buildIfStale()) return false
    return bench.kind === 'trial' ? await bench.run(options) : await compare(bench, options)
  } catch (err) {
    console.error(err)
    return false
  }
}

async function compare(bench: PeerBench, options: RunOptions): Promise<boolean> {
  if (os.cpus().length < 2) {
    console.error('two cores are needed: one for the subject, one for the load')
    return false
  }
  const all: (Row | NoRow)[] = []
  for await (const row of bench.rows(options)) {
    all.push(row)
    if (!('cpuUs' in row)) console.error(`${row.case} ${row.subject} ${row.what}: ${row.why}`)
    else if (options.json) console.log(JSON.stringify(rounded(row)))
    else console.error(`${row.case} ${row.subject}: ${row.cpuUs.toFixed(2)} µs CPU, ${Math.round(row.perSecond)}/s`)
  }
  if (!options.json) console.log(`${rowTable(all)}${ratioLines(all)}`)
  return !all.some((r) => 'what' in r && r.what === 'failed')
}

function rounded({ bench, case: c, subject, cpuUs, perSecond, p50Ms, p99Ms, rssMiB, config, cpuSpread }: Row): Row {
  const to = (n: number, digits: number): number => Number(n.toFixed(digits))
  return {
    bench,
    case: c,
    subject,
    cpuUs: to(cpuUs, 3),
    perSecond: to(perSecond, perSecond < 100 ? 2 : 0),
    p50Ms: p50Ms && to(p50Ms, 3),
    p99Ms: p99Ms && to(p99Ms, 3),
    rssMiB: to(rssMiB, 1),
    ...(cpuSpread && {
      cpuSpread: { ...cpuSpread, least: to(cpuSpread.least, 3), most: to(cpuSpread.most, 3) },
    }),
    ...(config
      ? {
          config: {
            ...config,
            inKib: to(config.inKib, 1),
            outKib: to(config.outKib, 1),
            diskKib: to(config.diskKib, 1),
            lag: config.lag && { ms: to(config.lag.ms, 1), cpuMs: to(config.lag.cpuMs, 1) },
          },
        }
      : {}),
  }
}
