/**
 * meshlet, Envoy and gRPC's own xDS client under a real istiod (sync-peers.ts says over which transport and how much of
 * it each takes). meshlet, after `meshlet precompile`, goes through the steps twice: once with a probe in its process,
 * for the lag of its event loop alone, and once as it is, for the rest.
 */
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { sleep, until, type Finally } from '../../conformance/programs.ts'
import { MeshAgent } from '../../conformance/istiod/rig/mesh-agent.ts'
import { type Lag, messageOf, type NoRow, type PeerBench, type Row, type RunOptions } from '../bench.ts'
import { cpuNs, pin, SUBJECT_CORE } from '../measure.ts'
import { stayConnected } from './stay-connected.ts'
import { startMesh, type Mesh } from './sync-mesh.ts'
import { envoy, grpcJsXds } from './sync-peers.ts'
import { measured, Meter, reconnects, type Step, type Subject } from './sync-step.ts'

const SIZES = [1, 100, 1_000, 2_000, 5_000]
const SUBJECTS = { meshlet, envoy, 'grpc-js-xds': grpcJsXds }
/** As deploy/edge/meshlet.service sets it. */
const UNIT = {
  env: { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' },
  flags: '--max-semi-space-size=4 --v8-pool-size=1',
}
/** Until what is written is in force at istiod and nobody is told of it any more. */
const ISTIOD_READS_MS = 4_000
/** Each look costs a page of metrics. */
const COPY_LOOK_MS = 2_000
const PROBE = pathToFileURL(path.join(import.meta.dirname, 'lag-probe.ts')).href

export const syncBench: PeerBench = {
  kind: 'peers',
  name: 'sync',
  asks: "what does configuration cost at N services of a real istiod (built with the machine's Go)? the first sync from exec (and up to the moment when all is in force), the copy of what is stored that follows it, a stream that comes back (the middle one of nine), one endpoint changed, one service more, a push that changes every cluster",
  cases: Object.fromEntries(SIZES.map((size) => [String(size), `${size} service${size === 1 ? '' : 's'}`])),
  subjects: Object.keys(SUBJECTS),
  prints:
    "CPU microseconds of the whole step, its duration (p50), RSS after it, KiB over the control link in both directions, KiB written to the disk and in how many saves, the longest lag of meshlet's event loop and the most CPU milliseconds in one",
  options: ['only'],
  rows,
}

async function* rows(options: RunOptions): AsyncIterable<Row | NoRow> {
  for (const size of SIZES.filter((n) => options.cases.includes(String(n)))) {
    for (const subject of options.subjects) {
      const cleanup: (() => void | Promise<void>)[] = []
      const t: Finally = {
        after: (fn) => {
          cleanup.push(fn)
        },
      }
      try {
        yield* SUBJECTS[subject as keyof typeof SUBJECTS](t, size)
      } catch (err) {
        yield { bench: 'sync', case: String(size), subject, what: 'failed', why: messageOf(err) }
      } finally {
        for (const fn of cleanup.reverse()) await fn()
      }
    }
  }
}

async function* meshlet(t: Finally, size: number): AsyncIterable<Row> {
  const mesh = await startMesh(t, size, () => 80)
  const lags = new Map<string, Lag | null>()
  for await (const { case: step, config } of steps(t, mesh, size, 'lag')) lags.set(step, config!.lag)
  mesh.reset()
  await sleep(ISTIOD_READS_MS)
  for await (const row of steps(t, mesh, size))
    yield { ...row, config: { ...row.config!, lag: lags.get(row.case) ?? null } }
}

async function* steps(t: Finally, mesh: Mesh, size: number, probed?: 'lag'): AsyncIterable<Row> {
  const { istiod } = mesh
  using meter = await Meter.before(istiod.address)
  using stack = new DisposableStack()
  const lagFile = path.join(istiod.folder, 'lag')
  const edge = await MeshAgent.create(t, istiod, {
    address: meter.address,
    env: {
      ...UNIT.env,
      NODE_OPTIONS: probed ? `${UNIT.flags} --import ${PROBE}` : UNIT.flags,
      MESHLET_BENCH_LAG: lagFile,
    },
  })
  await edge.agent.cli(['precompile'])
  const subject: Subject = {
    name: 'meshlet',
    size,
    meter,
    pid: () => edge.agent.process.child.pid!,
    saves: () => edge.metric('mesh_config_saves_total'),
    // Before the first answer the program is being loaded, which has no traffic beside it.
    ...(probed
      ? { lag: (step: Step, fromMs: number) => longestLag(lagFile, step === 'first' ? connectedMs(edge) : fromMs) }
      : {}),
  }
  let inForceNs = 0
  const first = await measured(subject, 'first', async () => {
    const ready = edge.start()
    pin(subject.pid(), SUBJECT_CORE)
    // The collection of what only the start needed waits for a moment in which nobody is connected, and delays nobody.
    if (probed) stack.use(stayConnected(edge.proxyPort))
    await ready
    await until('all clusters', async () => (await clustersOf(edge)) >= size, 60_000)
    inForceNs = cpuNs(subject.pid())
  })
  yield first
  // Of the same step, up to here: what follows is saved, compiled code kept, memory given back.
  yield { ...first, case: `in-force-${size}`, cpuUs: inForceNs / 1_000 }
  const copies = (): Promise<number> => edge.metric('mesh_config_copies_total')
  yield await measured(subject, 'copy', () =>
    until(
      'the stored configuration is copied',
      async () => {
        await sleep(COPY_LOOK_MS)
        return (await copies()) > 0
      },
      60_000,
    ).then(() => undefined),
  )
  yield* changes(mesh, edge, subject)
  stack.dispose()
  await edge.agent.process.stop()
}

async function clustersOf(edge: MeshAgent): Promise<number> {
  return (await edge.agent.status())?.config.resources['clusters'] ?? 0
}

/**
 * What comes after the first configuration. When it is in force is read in the log: to ask for the status again and
 * again would cost as much as one service more.
 */
async function* changes(mesh: Mesh, edge: MeshAgent, subject: Subject): AsyncIterable<Row> {
  const { size } = subject
  const generation = async (): Promise<number> => (await edge.status('a status')).config.generation
  const told = (): number => edge.agent.process.log.split('"config.applied"').length
  const applied = async (act: () => void): Promise<void> => {
    const before = told()
    act()
    await until('applied', () => told() > before, 60_000)
  }
  const before = await generation()
  yield await reconnects(subject)
  if ((await generation()) !== before)
    console.error(`reconnect-${size}: generation ${before} became ${await generation()}, although nothing had changed`)
  yield await measured(subject, 'endpoint', () =>
    applied(() => {
      mesh.changeEndpoint()
    }),
  )
  const had = await clustersOf(edge)
  yield await measured(subject, 'service', () =>
    applied(() => {
      mesh.addService()
    }),
  )
  if ((await clustersOf(edge)) <= had) throw new Error('the service has not come')
  yield await measured(subject, 'push', () =>
    applied(() => {
      mesh.changeAll()
    }),
  )
}

/** Of the log line that tells of the first answer. */
function connectedMs(edge: MeshAgent): number {
  const line = edge.agent.process.log.split('\n').find((l) => l.includes('"control.connected"'))
  if (line === undefined) throw new Error('the agent has not said that it is connected')
  return Number(new Date((JSON.parse(line) as { time: number | string }).time))
}
/** @param fromMs what ends before does not count */
function longestLag(file: string, fromMs: number): Lag {
  const all = fs
    .readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((l) => l.split(' ').map(Number) as [number, number, number])
    .filter(([endMs]) => endMs >= fromMs)
  return { ms: Math.max(0, ...all.map(([, ms]) => ms)), cpuMs: Math.max(0, ...all.map(([, , cpuMs]) => cpuMs)) }
}
