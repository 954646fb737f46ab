/**
 * How long after exec is the first request served, with nothing reachable but the endpoint itself? The agent starts
 * from its disk: identity, a configuration of 100 services, an empty spool; as installed, and without `meshlet
 * precompile`. Beside it Envoy with as many clusters in a file, and Node with nothing to do.
 */
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { once } from 'node:events'
import { Current } from '../../core/current.ts'
import { systemClock } from '../../core/os/clock.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { openStorageWith } from '../../core/storage/worker-storage.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import { Applier } from '../../control-sync/apply.ts'
import { SnapshotSaver } from '../../control-sync/snapshot/saver.ts'
import { openSnapshotStore } from '../../control-sync/snapshot/store.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { envoyBinary } from '../conformance/peers.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { testCa } from '../helpers/test-ca.ts'
import { type NoRow, type PeerBench, type Row, rowOf, type RunOptions } from './bench.ts'
import { installBundle } from './install.ts'
import { cpuNs, LOAD_CORE, rssMiB, startPinned, SUBJECT_CORE } from './measure.ts'
import { BUNDLE, UNIT_ENVIRONMENT } from './http/meshlet.ts'

const SERVICES = 100
const STARTS = 15
/** A start has no load beside it. */
const BOTH_CORES = `${SUBJECT_CORE},${LOAD_CORE}`
const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`
const hostOf = (i: number): string => `svc-${i}.shop.svc.cluster.local`
const nameOf = (i: number): string => `outbound|80||${hostOf(i)}`

type Subject = {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly port: number
}

const CASE = `offline-${SERVICES}`

export const startBench: PeerBench = {
  kind: 'peers',
  name: 'start',
  asks: 'how long after exec is the first request served, with no control plane reachable?',
  cases: {
    [CASE]: `from disk, ${SERVICES} services; Envoy has as many clusters in a file, node only answers; meshlet-plain: without meshlet precompile`,
  },
  subjects: ['meshlet', 'meshlet-plain', 'envoy', 'node'],
  prints: `of ${STARTS} starts the median (p50) and the slowest (p99), CPU microseconds until the answer, RSS`,
  options: ['only', 'before'],
  rows,
}

async function* rows(options: RunOptions): AsyncIterable<Row | NoRow> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-start-'))
  const origin = http
    .createServer((_req, res) => {
      res.end('ok')
    })
    .listen(0, '127.0.0.1')
  try {
    await once(origin, 'listening')
    const { port: originPort } = origin.address() as net.AddressInfo
    const [port, adminPort] = (await freePorts(2)) as [number, number]
    const ports = { originPort, port, adminPort }
    const subjects = new Map<string, () => Subject | Promise<Subject>>([
      ['meshlet', () => meshlet(dir, { ...ports, from: BUNDLE, installed: 'precompiled' })],
      ['meshlet-plain', () => meshlet(dir, { ...ports, from: BUNDLE, installed: 'plain' })],
      ['before', () => meshlet(dir, { ...ports, from: options.before!, installed: 'precompiled' })],
      ['envoy', () => envoy(dir, originPort, port)],
      ['node', () => bareNode(dir, port)],
    ])
    for (const name of [...(options.before === undefined ? [] : ['before']), ...options.subjects]) {
      yield await rowOf({ bench: 'start', case: CASE, subject: name }, subjects.get(name)!, async (subject) => {
        // So that the files of all are in memory.
        await startOnce(subject, 1_000)
        const starts: Start[] = []
        for (let i = 0; i < STARTS; i++) starts.push(await startOnce(subject, 0))
        const sorted = starts.map((s) => s.ms).sort((a, b) => a - b)
        const cpu = starts.map((s) => s.cpuUs).sort((a, b) => a - b)
        return {
          cpuUs: cpu[STARTS >> 1]!,
          perSecond: 1_000 / sorted[STARTS >> 1]!,
          p50Ms: sorted[STARTS >> 1]!,
          p99Ms: sorted.at(-1)!,
          rssMiB: starts.at(-1)!.rssMiB,
        }
      })
    }
  } finally {
    origin.close()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

type Start = { readonly ms: number; readonly cpuUs: number; readonly rssMiB: number }

async function startOnce({ command, args, port }: Subject, restMs: number): Promise<Start> {
  const from = performance.now()
  await using running = startPinned(BOTH_CORES, command, args)
  while (!(await answers(port))) {
    if (performance.now() - from > 20_000) throw new Error(`no answer from ${command}: ${running.output()}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
  const ms = performance.now() - from
  const cpuUs = cpuNs(running.pid) / 1_000
  await new Promise((resolve) => {
    setTimeout(resolve, restMs)
  })
  return { ms, cpuUs, rssMiB: rssMiB(running.pid) }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    const done = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('connect', () =>
      socket.write(`GET http://${hostOf(7)}/ HTTP/1.1\r\nHost: ${hostOf(7)}\r\nConnection: close\r\n\r\n`),
    )
    socket.on('data', (d) => done(d.toString('latin1').startsWith('HTTP/1.1 200')))
    socket.on('error', () => done(false))
    socket.on('close', () => done(false))
  })
}

type Installed = {
  readonly originPort: number
  readonly port: number
  readonly adminPort: number
  /** A bundle. */
  readonly from: string
  readonly installed: 'precompiled' | 'plain'
}
/** A state folder as a run with a control plane has left it. */
async function meshlet(dir: string, { originPort, port, adminPort, from, installed }: Installed): Promise<Subject> {
  const bundle = installBundle(from, dir, installed)
  fs.rmSync(path.join(dir, 'state'), { recursive: true, force: true })
  const state = path.join(dir, 'state')
  fs.mkdirSync(path.join(state, 'identity'), { recursive: true, mode: 0o700 })
  const ca = testCa()
  const { keyPem, chainPem, rootsPem } = ca.issue('edge', 'gateway')
  fs.writeFileSync(path.join(state, 'identity/identity.json'), JSON.stringify({ keyPem, chainPem, rootsPem }), {
    mode: 0o600,
  })
  fs.writeFileSync(path.join(dir, 'roots.pem'), rootsPem)
  const config = path.join(dir, 'agent.yaml')
  fs.writeFileSync(
    config,
    `node: {name: edge, namespace: edge, serviceAccount: gateway, ip: 192.0.2.1}
control: {address: "127.0.0.1:1", serverName: istiod.istio-system.svc, roots: ${dir}/roots.pem}
state: ${state}
admin: {port: ${adminPort}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${port}}
- {name: mqtt, kind: mqtt, port: 0}
`,
  )
  await storeConfiguration(state, originPort)
  return {
    name: installed,
    command: 'env',
    args: [
      ...UNIT_ENVIRONMENT,
      process.execPath,
      '--max-semi-space-size=4',
      '--v8-pool-size=1',
      bundle,
      'run',
      '--config',
      config,
    ],
    port,
  }
}

async function storeConfiguration(state: string, originPort: number): Promise<void> {
  const node = 'sidecar~192.0.2.1~edge.edge~edge.svc.cluster.local'
  const shared = { node, clock: systemClock, log: silentLog, metrics: new Metrics() }
  const { store } = await openSnapshotStore({
    ...shared,
    openStorage: openStorageWith({ bundle: undefined }),
    path: path.join(state, 'snapshot.db'),
  })
  await using _store = store
  await using saver = new SnapshotSaver({ ...shared, store, copyIntervalMs: 0 })
  const applier = new Applier({ ...shared, saver, tables: new Current<Tables>(EMPTY_TABLES) })
  for (const one of services(originPort)) {
    const { rejected } = await applier.apply([
      { kind: one.kind, removed: [], put: [{ name: one.name, version: '', value: one.bytes }] },
    ])
    if (rejected.length > 0) throw new Error(JSON.stringify(rejected))
  }
}

const endpoint = (port: number): object => ({
  endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } },
  metadata: { filter_metadata: { istio: { workload: 'svc;shop;svc;;Kubernetes' } } },
})
const cluster = (i: number): object => ({
  '@type': type('cluster.v3.Cluster'),
  name: nameOf(i),
  type: 'EDS',
  connect_timeout: '10s',
  eds_cluster_config: { eds_config: { ads: {} }, service_name: nameOf(i) },
  lb_policy: 'LEAST_REQUEST',
})
const virtualHost = (i: number): object => ({
  name: `${hostOf(i)}:80`,
  domains: [hostOf(i), `svc-${i}.shop`, `svc-${i}.shop.svc`, `240.240.1.${i}`],
  routes: [
    {
      name: 'default',
      match: { prefix: '/' },
      route: {
        cluster: nameOf(i),
        timeout: '0s',
        retry_policy: { retry_on: 'connect-failure,refused-stream,unavailable', num_retries: 2 },
      },
    },
  ],
})

function services(originPort: number): Sample[] {
  const all = Array.from({ length: SERVICES }, (_, i) => i)
  return [
    ...all.map((i) => sample(cluster(i) as Parameters<typeof sample>[0])),
    ...all.map((i) =>
      sample({
        '@type': type('endpoint.v3.ClusterLoadAssignment'),
        cluster_name: nameOf(i),
        endpoints: [{ lb_endpoints: [endpoint(originPort)] }],
      } as Parameters<typeof sample>[0]),
    ),
    sample({
      '@type': type('route.v3.RouteConfiguration'),
      name: 'http_proxy',
      virtual_hosts: all.map(virtualHost),
    } as Parameters<typeof sample>[0]),
  ]
}

function envoy(dir: string, originPort: number, port: number): Subject {
  const all = Array.from({ length: SERVICES }, (_, i) => i)
  const file = path.join(dir, 'envoy.json')
  fs.writeFileSync(
    file,
    JSON.stringify({
      static_resources: {
        listeners: [
          {
            name: 'l',
            address: { socket_address: { address: '127.0.0.1', port_value: port } },
            filter_chains: [
              {
                filters: [
                  {
                    name: 'hcm',
                    typed_config: {
                      '@type':
                        'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                      stat_prefix: 'l',
                      route_config: { name: 'http_proxy', virtual_hosts: all.map(virtualHost) },
                      http_filters: [
                        {
                          name: 'envoy.filters.http.router',
                          typed_config: {
                            '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
                          },
                        },
                      ],
                    },
                  },
                ],
              },
            ],
          },
        ],
        clusters: all.map((i) => ({
          name: nameOf(i),
          type: 'STATIC',
          connect_timeout: '10s',
          lb_policy: 'LEAST_REQUEST',
          load_assignment: { cluster_name: nameOf(i), endpoints: [{ lb_endpoints: [endpoint(originPort)] }] },
        })),
      },
    }),
  )
  return { name: 'envoy', command: envoyBinary(), args: ['--concurrency', '1', '-l', 'error', '-c', file], port }
}

function bareNode(dir: string, port: number): Subject {
  const file = path.join(dir, 'bare.cjs')
  fs.writeFileSync(
    file,
    `require('node:net').createServer((s) => { s.on('data', () => s.end('HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n')); s.on('error', () => {}) }).listen(${port}, '127.0.0.1')\n`,
  )
  return { name: 'node', command: process.execPath, args: [file], port }
}
