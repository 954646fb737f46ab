/**
 * `npm run bench -- folder`: for how long does an agent's event loop come to nothing else while a folder of resource
 * files is read, and what memory does it take?
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { sleep, until } from '../../conformance/programs.ts'
import type { RunOptions, Trial } from '../bench.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { peakRssMiB, rssMiB } from '../measure.ts'
import { stayConnected } from './stay-connected.ts'

const SIZES = [1_000, 5_000]
const PROBE = pathToFileURL(path.join(import.meta.dirname, 'lag-probe.ts')).href
const BUNDLE = path.resolve(import.meta.dirname, '../../../dist/meshlet.cjs')
const WAIT_MS = 60_000
const SETTLED_MS = 500
const TYPE = 'type.googleapis.com/envoy.config'

export const folderBench: Trial = {
  kind: 'trial',
  name: 'folder',
  asks: 'for how long does a folder of resource files keep the event loop from everything else, and what memory does it take?',
  cases: Object.fromEntries(
    SIZES.map((size) => [
      String(size),
      `${size} services in three files: the program loaded, all read, then all clusters changed, then all routes`,
    ]),
  ),
  prints: 'for each step the longest lag and the most CPU milliseconds in one, MiB of RSS after it, the highest so far',
  options: [],
  run,
}

async function run({ cases, json }: RunOptions): Promise<boolean> {
  for (const size of SIZES.filter((n) => cases.includes(String(n)))) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-folder-bench-'))
    try {
      for (const row of await measured(folder, size)) {
        console.log(
          json
            ? JSON.stringify({ bench: 'folder', services: size, ...row })
            : `${size} services, ${row.step}: longest lag ${row.lagMs} ms, ${row.cpuMs} ms of CPU at most in one; RSS ${row.rssMiB} MiB, highest ${row.peakMiB} MiB`,
        )
      }
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
  return true
}

type LagLine = { readonly lagMs: number; readonly cpuMs: number }

function readLags(file: string): LagLine[] {
  const lines = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  return lines.map((line) => {
    const [, lagMs = 0, cpuMs = 0] = line.split(' ').map(Number)
    return { lagMs, cpuMs }
  })
}

type Row = {
  readonly step: string
  readonly lagMs: number
  readonly cpuMs: number
  readonly rssMiB: number
  readonly peakMiB: number
}

async function measured(folder: string, size: number): Promise<Row[]> {
  const resources = path.join(folder, 'resources')
  const [port] = (await freePorts(1)) as [number]
  const [lag, config] = [path.join(folder, 'lag'), path.join(folder, 'agent.yaml')]
  fs.mkdirSync(resources)
  fs.mkdirSync(path.join(folder, 'state'), { mode: 0o700 })
  for (const [name, text] of Object.entries(filesOf(size))) fs.writeFileSync(path.join(resources, name), text)
  fs.writeFileSync(
    config,
    `node: {name: edge}\nstate: ${folder}/state\ndirectory: ${resources}\nadmin: {port: 0}\nlisteners: [{name: proxy, kind: http_proxy, port: ${port}}]\n`,
  )
  const agent = spawn(process.execPath, ['--max-semi-space-size=4', '--import', PROBE, BUNDLE, 'run', '-c', config], {
    env: { ...process.env, MESHLET_BENCH_LAG: lag },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  using _connection = stayConnected(port)
  let [applied, log] = [0, '']
  agent.stdout.on('data', (d: Buffer) => {
    log += d.toString()
    applied = log.split('"config.applied"').length - 1
  })
  const rows: Row[] = []
  const add = (step: string, lags: readonly LagLine[]): void => {
    rows.push({
      step,
      lagMs: Math.max(0, ...lags.map((l) => l.lagMs)),
      cpuMs: Math.max(0, ...lags.map((l) => l.cpuMs)),
      rssMiB: Math.round(rssMiB(agent.pid!)),
      peakMiB: Math.round(peakRssMiB(agent.pid!)),
    })
  }
  /** What follows the log line, such as packing, belongs to the step, too. */
  const settled = async (name: string, done: () => boolean): Promise<LagLine[]> => {
    await until(name, done, WAIT_MS)
    await sleep(SETTLED_MS)
    const lines = readLags(lag)
    fs.truncateSync(lag)
    return lines
  }
  const step = async (name: string, wanted: number): Promise<void> =>
    add(name, await settled(name, () => applied >= wanted))
  try {
    const started = await settled('started', () => applied >= 1 && log.includes('"agent.started"'))
    // Loading the program is its first turn, whatever it is to read, and nobody is served yet.
    add('program loaded', started.slice(0, 1))
    add('started', started.slice(1))
    fs.writeFileSync(path.join(resources, 'clusters.yaml'), filesOf(size)['clusters.yaml']!.replaceAll('2s', '3s'))
    await step('clusters changed', 2)
    fs.writeFileSync(path.join(resources, 'routes.yaml'), filesOf(size)['routes.yaml']!.replaceAll('15s', '14s'))
    await step('routes changed', 3)
  } finally {
    agent.kill()
    await once(agent, 'exit')
  }
  return rows
}

function filesOf(size: number): Record<string, string> {
  const all = Array.from({ length: size }, (_, i) => i)
  const name = (i: number): string => `outbound|80||svc-${i}.shop.svc.cluster.local`
  const address = (i: number, k: number): string =>
    `    - endpoint: {address: {socket_address: {address: 10.${k}.${i >> 8}.${i & 255}, port_value: 8080}}}\n`
  return {
    'clusters.yaml': all
      .map(
        (i) =>
          `- "@type": ${TYPE}.cluster.v3.Cluster\n  name: ${name(i)}\n  type: EDS\n  connect_timeout: 2s\n  eds_cluster_config: {service_name: "svc-${i}", eds_config: {ads: {}}}\n  circuit_breakers: {thresholds: [{max_connections: 1000}]}\n`,
      )
      .join(''),
    'endpoints.yaml': all
      .map(
        (i) =>
          `- "@type": ${TYPE}.endpoint.v3.ClusterLoadAssignment\n  cluster_name: svc-${i}\n  endpoints:\n  - lb_endpoints:\n${[1, 2, 3].map((k) => address(i, k)).join('')}`,
      )
      .join(''),
    'routes.yaml':
      `- "@type": ${TYPE}.route.v3.RouteConfiguration\n  name: "80"\n  virtual_hosts:\n` +
      all
        .map(
          (i) =>
            `  - name: svc-${i}\n    domains: [svc-${i}.shop, "svc-${i}.shop:80"]\n    routes:\n    - match: {prefix: /}\n      route: {cluster: "${name(i)}", timeout: 15s}\n`,
        )
        .join(''),
  }
}
