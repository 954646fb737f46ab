/**
 * Envoy and the shipped bundle with the same clusters: ring_hash and maglev must place the same requests on the same
 * hosts, whatever their weights, priorities and localities, over HTTP and over TCP.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { once } from 'node:events'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../tools/free-ports.ts'
import { Agent, directoryMode, writeResources } from '../package/shipped.ts'
import type { Finally } from '../programs.ts'
import { startStaticEnvoy } from './envoy.ts'

const KEYS = 300
const type = (name: string): string => `type.googleapis.com/envoy.${name}`
type Group = {
  readonly weights: readonly number[]
  readonly unhealthy?: number
  readonly weight?: number
  readonly priority?: number
}
type Case = { readonly cluster: JsonObject; readonly groups: readonly Group[]; readonly hash?: JsonObject }
const HEADER: JsonObject = { header: { header_name: 'x-key' } }
const GROUPS: Readonly<Record<string, readonly Group[]>> = {
  even: [{ weights: [1, 1, 1, 1, 1] }],
  weighted: [{ weights: [1, 7, 3, 2] }],
  levels: [
    { weights: [1, 1, 1, 1], unhealthy: 2 },
    { weights: [1, 2, 1], priority: 1 },
  ],
  panic: [{ weights: [1, 1, 1, 1], unhealthy: 3 }],
}
const LOCALITIES: readonly Group[] = [
  { weights: [1, 1, 2], weight: 1 },
  { weights: [1, 3], weight: 3 },
]
const RING: JsonObject = { lb_policy: 'RING_HASH', ring_hash_lb_config: { minimum_ring_size: '1024' } }
const SMALL: JsonObject = {
  lb_policy: 'RING_HASH',
  ring_hash_lb_config: { minimum_ring_size: '10', maximum_ring_size: '17' },
}
const MAGLEV: JsonObject = { lb_policy: 'MAGLEV' }
const PRIME: JsonObject = { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: '211' } }
const CASES: Readonly<Record<string, Case>> = {
  ...Object.fromEntries(
    Object.entries({ RING, SMALL, MAGLEV, PRIME }).flatMap(([name, cluster]) =>
      Object.entries(GROUPS).map(([groups, of]): [string, Case] => [
        `${name}-${groups}`.toLowerCase(),
        { cluster, groups: of },
      ]),
    ),
  ),
  ...Object.fromEntries(
    Object.entries({ RING, MAGLEV }).map(([name, cluster]): [string, Case] => [
      `${name}-localities`.toLowerCase(),
      { cluster: { ...cluster, common_lb_config: { locality_weighted_lb_config: {} } }, groups: LOCALITIES },
    ]),
  ),
  'by-host-name': {
    cluster: {
      ...MAGLEV,
      type: 'STRICT_DNS',
      common_lb_config: { consistent_hashing_lb_config: { use_hostname_for_hashing: true } },
    },
    groups: GROUPS['even']!,
  },
  query: { cluster: RING, groups: GROUPS['even']!, hash: { query_parameter: { name: 'k' } } },
  cookie: { cluster: RING, groups: GROUPS['even']!, hash: { cookie: { name: 'c' } } },
  rewritten: {
    cluster: RING,
    groups: GROUPS['even']!,
    hash: {
      header: { header_name: 'x-key', regex_rewrite: { pattern: { regex: '^key-(.).*' }, substitution: '\\1' } },
    },
  },
}

function clusterOf(name: string, { cluster, groups }: Case, port: number): JsonObject {
  return {
    '@type': type('config.cluster.v3.Cluster'),
    name,
    type: 'STATIC',
    ...cluster,
    load_assignment: {
      cluster_name: name,
      endpoints: groups.map(({ weights, unhealthy = 0, weight, priority = 0 }, i) => ({
        locality: { zone: `z${i}` },
        priority,
        ...(weight === undefined ? {} : { load_balancing_weight: weight }),
        lb_endpoints: weights.map((w, n) => ({
          load_balancing_weight: w,
          health_status: n < unhealthy ? 'UNHEALTHY' : 'HEALTHY',
          endpoint: {
            hostname: `h${i}-${n}.test`,
            address: { socket_address: { address: `127.0.${i + 1}.${n + 1}`, port_value: port } },
          },
        })),
      })),
    },
  }
}
const listenerOf = (name: string, port: number, filter: JsonObject): JsonObject => ({
  '@type': type('config.listener.v3.Listener'),
  name,
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [{ filters: [{ name: 'filter', typed_config: filter }] }],
})
const manager = (): JsonObject => ({
  '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
  stat_prefix: 's',
  route_config: {
    name: 'r',
    virtual_hosts: Object.entries(CASES).map(([name, { hash = HEADER }]) => ({
      name,
      domains: [name],
      routes: [{ match: { prefix: '/' }, route: { cluster: name, hash_policy: [hash] } }],
    })),
  },
  http_filters: [
    { name: 'envoy.filters.http.router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
  ],
})
const tcp = (): JsonObject => ({
  '@type': type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
  stat_prefix: 's',
  cluster: 'tcp',
  hash_policy: [{ source_ip: {} }],
})

/** It says the address that it was reached at. */
async function startHosts(t: Finally): Promise<{ readonly http: number; readonly tcp: number }> {
  const web = http.createServer((request, response) => response.end(request.socket.localAddress))
  const raw = net.createServer((socket) => socket.end(socket.localAddress ?? ''))
  for (const server of [web, raw]) {
    server.listen(0, '0.0.0.0')
    await once(server, 'listening')
    t.after(() => void server.close())
  }
  const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port
  return { http: portOf(web), tcp: portOf(raw) }
}

function ask(agent: http.Agent, port: number, host: string, key: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { host, 'x-key': key, cookie: `c=${key}` }
    http
      .get({ port, host: '127.0.0.1', path: `/?k=${key}`, headers, agent }, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        response.on('end', () => {
          resolve(text)
        })
      })
      .on('error', reject)
  })
}
async function connect(port: number, from: string): Promise<string> {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: from })
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await once(socket, 'close')
  return text
}

test('the same requests are placed on the same hosts', { timeout: 120_000 }, async (t) => {
  const hosts = await startHosts(t)
  const [theirs, ours, theirTcp, ourTcp] = (await freePorts(4)) as [number, number, number, number]
  const clusters = [
    ...Object.entries(CASES).map(([name, one]) => clusterOf(name, one, hosts.http)),
    clusterOf('tcp', { cluster: MAGLEV, groups: GROUPS['weighted']! }, hosts.tcp),
  ]
  const agent = await Agent.create(t, (home, admin) => directoryMode(home, admin, 'log: {level: error}\n'))
  writeResources(agent.folder, [...clusters, listenerOf('http', ours, manager()), listenerOf('tcp', ourTcp, tcp())])
  await agent.start()
  const listeners = [listenerOf('http', theirs, manager()), listenerOf('tcp', theirTcp, tcp())]
  await startStaticEnvoy(t, { listeners, clusters }, theirs)
  const keepAlive = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => {
    keepAlive.destroy()
  })
  for (const name of Object.keys(CASES))
    await t.test(name, async () => {
      const places = async (port: number): Promise<string[]> => {
        const found: string[] = []
        for (let i = 0; i < KEYS; i++) found.push(await ask(keepAlive, port, name, `key-${i}`))
        return found
      }
      const [own, their] = [await places(ours), await places(theirs)]
      assert.ok(new Set(their).size > 1)
      assert.deepEqual(own, their)
    })
  await t.test('TCP connections by the address of their clients', async () => {
    for (let i = 1; i < 40; i++)
      assert.equal(await connect(ourTcp, `127.0.9.${i}`), await connect(theirTcp, `127.0.9.${i}`))
  })
})
