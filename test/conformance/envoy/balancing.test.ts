/**
 * Envoy and the shipped bundle with the same clusters: what each priority level and locality gets of some thousand
 * requests.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import { freePorts } from '../../../tools/free-ports.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { startStaticEnvoy, untyped } from './envoy.ts'
import type { Finally } from '../programs.ts'
import { Agent, directoryMode, hostRoutes, writeResources } from '../package/shipped.ts'

const REQUESTS = 3_000
/** Percent: six standard deviations of what chance does to so many requests. */
const TOLERANCE = 5
const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** Localities of a cluster: healthy of all, weight, priority. */
type Group = { readonly fit: number; readonly all: number; readonly weight?: number; readonly priority?: number }
const WEIGHTED = { common_lb_config: { locality_weighted_lb_config: {} } }
const CASES: Readonly<
  Record<string, { readonly groups: readonly Group[]; readonly cluster?: object; readonly want: readonly number[] }>
> = {
  weights: {
    groups: [
      { fit: 4, all: 4, weight: 1 },
      { fit: 2, all: 2, weight: 3 },
    ],
    want: [25, 75],
  },
  'weights-less-what-is-missing': {
    groups: [
      { fit: 2, all: 4, weight: 1 },
      { fit: 4, all: 4, weight: 2 },
    ],
    want: [26, 74],
  },
  'weights-not-asked-for': {
    groups: [
      { fit: 2, all: 2, weight: 1 },
      { fit: 2, all: 2, weight: 9 },
    ],
    cluster: {},
    want: [50, 50],
  },
  'one-without-weight': {
    groups: [
      { fit: 2, all: 2 },
      { fit: 2, all: 2, weight: 1 },
    ],
    want: [0, 100],
  },
  'none-with-weight': {
    groups: [
      { fit: 3, all: 3 },
      { fit: 1, all: 1 },
    ],
    want: [75, 25],
  },
  'level-that-is-half-there': {
    groups: [
      { fit: 2, all: 4 },
      { fit: 4, all: 4, priority: 1 },
    ],
    cluster: {},
    want: [70, 30],
  },
  'levels-and-weights': {
    groups: [
      { fit: 1, all: 2, weight: 80 },
      { fit: 2, all: 4, weight: 20 },
      { fit: 2, all: 2, weight: 1, priority: 1 },
    ],
    want: [56, 14, 30],
  },
  panic: {
    groups: [
      { fit: 1, all: 6, weight: 1 },
      { fit: 0, all: 2, weight: 9 },
    ],
    want: [75, 25],
  },
  random: {
    groups: [
      { fit: 2, all: 4, weight: 1 },
      { fit: 4, all: 4, weight: 2 },
    ],
    cluster: { ...WEIGHTED, lb_policy: 'RANDOM' },
    want: [26, 74],
  },
  'least-request': {
    groups: [
      { fit: 2, all: 4, weight: 1 },
      { fit: 4, all: 4, weight: 2 },
    ],
    cluster: { ...WEIGHTED, lb_policy: 'LEAST_REQUEST' },
    want: [26, 74],
  },
}

function clusters(ports: readonly number[]): object[] {
  return Object.entries(CASES).map(([name, { groups, cluster = WEIGHTED }]) => ({
    '@type': type('config.cluster.v3.Cluster'),
    name,
    type: 'STATIC',
    connect_timeout: '2s',
    ...cluster,
    load_assignment: {
      cluster_name: name,
      endpoints: groups.map(({ fit, all, weight, priority = 0 }, i) => ({
        locality: { zone: `z${i}` },
        priority,
        ...(weight === undefined ? {} : { load_balancing_weight: weight }),
        lb_endpoints: Array.from({ length: all }, (_, n) => ({
          health_status: n < fit ? 'HEALTHY' : 'UNHEALTHY',
          endpoint: { address: { socket_address: { address: `127.0.${i + 1}.${n + 1}`, port_value: ports[i]! } } },
        })),
      })),
    },
  }))
}

/** One server per locality; its addresses are all of 127.0.<locality + 1>. */
async function startLocalities(t: Finally): Promise<number[]> {
  const ports: number[] = []
  for (const name of ['0', '1', '2']) {
    const answer: http.RequestListener = (_req, res) => {
      res.end(name)
    }
    ports.push(await serveHttp(t, answer, { host: '0.0.0.0' }))
  }
  return ports
}

test('priority levels and locality weights', { timeout: 180_000 }, async (t) => {
  const ports = await startLocalities(t)
  const [ours, theirs] = (await freePorts(2)) as [number, number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: in, kind: http, port: ${ours}, routes: in}]\n`),
  )
  const routes = hostRoutes('in', Object.fromEntries(Object.keys(CASES).map((name) => [`${name}.test`, name])))
  writeResources(agent.folder, [...clusters(ports), routes])
  await agent.start()
  await startStaticEnvoy(t, { listeners: [listenerOf(theirs, routes)], clusters: clusters(ports) }, theirs)

  const keepAlive = new http.Agent({ keepAlive: true, maxSockets: 8 })
  t.after(() => {
    keepAlive.destroy()
  })
  for (const [name, { want }] of Object.entries(CASES)) {
    await t.test(`${name}: ${want.join(', ')} % from both`, async () => {
      for (const [who, port] of [
        ['meshlet', ours],
        ['Envoy', theirs],
      ] as const) {
        const got = await spread(keepAlive, port, name)
        assert.ok(
          got.every((n, i) => Math.abs(n - want[i]!) <= TOLERANCE),
          `${who}: ${got.map((n) => n.toFixed(1)).join(', ')}`,
        )
      }
    })
  }
})

function listenerOf(port: number, routes: object): object {
  const router = {
    name: 'envoy.filters.http.router',
    typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
  }
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'in',
    route_config: untyped(routes),
    http_filters: [router],
  }
  return {
    name: 'in',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: manager }] }],
  }
}

/** Percent of the requests by locality. */
async function spread(agent: http.Agent, port: number, name: string): Promise<number[]> {
  const seen = CASES[name]!.groups.map(() => 0)
  for (let i = 0; i < REQUESTS; i += 8)
    for (const locality of await Promise.all(Array.from({ length: 8 }, () => ask(agent, port, `${name}.test`))))
      seen[locality]!++
  return seen.map((n) => (n * 100) / seen.reduce((a, b) => a + b))
}

/** The locality that answers. */
function ask(agent: http.Agent, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', headers: { host }, agent }, (res) => {
        let text = ''
        res.on('data', (d: Buffer) => {
          text += d.toString()
        })
        res.on('end', () => {
          if (res.statusCode === 200) resolve(Number(text))
          else reject(new Error(`${res.statusCode}: ${text}`))
        })
      })
      .on('error', reject)
  })
}
