/**
 * Tunnels (HBONE) between a real Envoy and the shipped bundle over mTLS of one mesh: Envoy opens them by
 * `tunneling_config` and ends them by `connect_matcher`, as Istio configures it for sidecars and waypoints.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { once } from 'node:events'
import { join, testHub, type TestHub } from '../../hub/start-hub.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { Agent, staticCluster } from '../package/shipped.ts'
import { until, type Running } from '../programs.ts'
import { startStaticEnvoy } from './envoy.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const ID = (who: string): string => `spiffe://demo.mesh/ns/${who}/sa/${who}`
const NAMES = [
  'app',
  'hbone',
  'inbound',
  'fromMeshlet',
  'mistaken',
  'refusing',
  'envoy',
  'envoyRefuses',
  'fromEnvoy',
  'fromStranger',
  'toOther',
  'envoyAdmin',
] as const
type Ports = Readonly<Record<(typeof NAMES)[number], number>>

const sanOf = (matcher: object): object => ({ match_typed_subject_alt_names: [{ san_type: 'URI', matcher }] })
const OF_MESH = sanOf({ prefix: 'spiffe://demo.mesh/' })
const bySds = (alpn: readonly string[], peer: object = OF_MESH): object => ({
  alpn_protocols: alpn,
  tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: { ads: {} } }],
  combined_validation_context: {
    default_validation_context: peer,
    validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: { ads: {} } },
  },
})
const byFiles = (folder: string, who: string): object => ({
  alpn_protocols: ['h2'],
  tls_certificates: [
    { certificate_chain: { filename: `${folder}/${who}.pem` }, private_key: { filename: `${folder}/${who}.key` } },
  ],
  validation_context: { trusted_ca: { filename: `${folder}/roots.pem` }, ...OF_MESH },
})
const socket = (side: 'Upstream' | 'Downstream', common: object): object => ({
  transport_socket: {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': type(`extensions.transport_sockets.tls.v3.${side}TlsContext`),
      common_tls_context: common,
      ...(side === 'Downstream' && { require_client_certificate: true }),
    },
  },
})
const HTTP2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: { allow_connect: true } },
    },
  },
}
const tcpProxy = (cluster: string, more: object = {}): object => ({
  name: 'envoy.filters.network.tcp_proxy',
  typed_config: {
    '@type': type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
    stat_prefix: 't',
    cluster,
    ...more,
  },
})
const rbac = (kind: 'network' | 'http', principal: string): object => ({
  name: `envoy.filters.${kind}.rbac`,
  typed_config: {
    '@type': type(`extensions.filters.${kind}.rbac.v3.RBAC`),
    ...(kind === 'network' && { stat_prefix: 'r' }),
    rules: {
      action: 'ALLOW',
      policies: {
        p: { permissions: [{ any: true }], principals: [{ authenticated: { principal_name: { exact: principal } } }] },
      },
    },
  },
})
const listener = (name: string, port: number, chain: object, more: object = {}): object => ({
  '@type': type('config.listener.v3.Listener'),
  name,
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [chain],
  ...more,
})

/** An endpoint at `app` behind the tunnels of that port of Envoy. @param expected whom the service has there */
function through(name: string, app: number, at: number, expected: string): object[] {
  const endpoint = {
    endpoint: {
      address: { envoy_internal_address: { server_listener_name: `originate_${at}`, endpoint_id: `127.0.0.1:${app}` } },
    },
    metadata: {
      filter_metadata: {
        'envoy.transport_socket_match': { tunnel: 'http' },
        'envoy.filters.listener.original_dst': { local: `127.0.0.1:${app}` },
      },
    },
  }
  const raw = { name: 'raw', typed_config: { '@type': type('extensions.transport_sockets.raw_buffer.v3.RawBuffer') } }
  const internal = {
    name: 'internal',
    typed_config: {
      '@type': type('extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport'),
      transport_socket: raw,
    },
  }
  const mutual = socket('Upstream', bySds(['istio'], sanOf({ exact: expected })))
  return [
    {
      ...staticCluster(name, app),
      load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
      transport_socket_matches: [
        { name: 'hbone', match: { tunnel: 'http' }, transport_socket: internal },
        { name: 'tlsMode-istio', match: { tlsMode: 'istio' }, ...mutual },
      ],
    },
    {
      '@type': type('config.listener.v3.Listener'),
      name: `originate_${at}`,
      internal_listener: {},
      filter_chains: [
        { filters: [tcpProxy(`originate_${at}`, { tunneling_config: { hostname: '%DOWNSTREAM_LOCAL_ADDRESS%' } })] },
      ],
    },
    {
      '@type': type('config.cluster.v3.Cluster'),
      name: `originate_${at}`,
      type: 'ORIGINAL_DST',
      lb_policy: 'CLUSTER_PROVIDED',
      original_dst_lb_config: { upstream_port_override: at },
      ...HTTP2,
      ...socket('Upstream', bySds(['h2'])),
    },
  ]
}

function meshletResources(p: Ports): object[] {
  const inbound = listener(
    'virtualInbound',
    p.inbound,
    {
      filter_chain_match: { destination_port: p.app, transport_protocol: 'tls', application_protocols: ['istio'] },
      filters: [rbac('network', ID('envoy')), tcpProxy('application')],
      ...socket('Downstream', bySds(['istio'])),
    },
    {
      traffic_direction: 'INBOUND',
      listener_filters: [
        {
          name: 'original_dst',
          typed_config: { '@type': type('extensions.filters.listener.original_dst.v3.OriginalDst') },
        },
      ],
    },
  )
  const all = [
    inbound,
    staticCluster('application', p.app),
    ...through('through', p.app, p.envoy, ID('envoy')),
    ...through('mistaken', p.app, p.envoy, ID('stranger')),
    ...through('refusing', p.app, p.envoyRefuses, ID('envoy')),
  ]
  return [
    ...new Map(
      all.map((r) => [JSON.stringify([(r as { '@type': string })['@type'], (r as { name: string }).name]), r]),
    ).values(),
  ]
}

function envoyResources(p: Ports, folder: string): { listeners: object[]; clusters: object[] } {
  const ending = (name: string, port: number, filters: readonly object[] = []): object =>
    listener(name, port, {
      filters: [
        {
          name: 'envoy.filters.network.http_connection_manager',
          typed_config: {
            '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
            stat_prefix: name,
            http2_protocol_options: { allow_connect: true },
            upgrade_configs: [{ upgrade_type: 'CONNECT' }],
            route_config: {
              virtual_hosts: [
                {
                  name: 'v',
                  domains: ['*'],
                  routes: [
                    {
                      match: { connect_matcher: {} },
                      route: {
                        cluster: 'application',
                        upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }],
                      },
                    },
                  ],
                },
              ],
            },
            http_filters: [
              ...filters,
              { name: 'router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
            ],
          },
        },
      ],
      ...socket('Downstream', byFiles(folder, 'envoy')),
    })
  const opening = (name: string, port: number, who: string, hostname: string): object =>
    listener(name, port, { filters: [tcpProxy(who, { tunneling_config: { hostname } })] })
  const way = (who: string): object =>
    staticCluster(who, p.hbone, { ...HTTP2, ...socket('Upstream', byFiles(folder, who)) })
  return {
    listeners: [
      ending('hbone', p.envoy),
      ending('refuses', p.envoyRefuses, [rbac('http', ID('nobody'))]),
      opening('open', p.fromEnvoy, 'envoy', `127.0.0.1:${p.app}`),
      opening('stranger', p.fromStranger, 'stranger', `127.0.0.1:${p.app}`),
      opening('other', p.toOther, 'envoy', '127.0.0.2:80'),
    ],
    clusters: [staticCluster('application', p.app), way('envoy'), way('stranger')],
  }
}

type Mesh = { readonly p: Ports; readonly agent: Agent; readonly envoy: Running }
async function startMesh(t: TestContext): Promise<Mesh> {
  const app = net.createServer({ allowHalfOpen: true }, (s) => s.on('error', () => {}).pipe(s)).listen(0, '127.0.0.1')
  await once(app, 'listening')
  t.after(() => app.close())
  const free = await freePorts(NAMES.length)
  const p = {
    ...Object.fromEntries(NAMES.map((name, i) => [name, free[i]!])),
    app: (app.address() as net.AddressInfo).port,
  } as Ports
  const h = await testHub(t)
  const { folder } = h
  fs.writeFileSync(path.join(folder, 'roots.pem'), h.hub.rootsPem)
  for (const who of ['envoy', 'stranger']) {
    const { chainPem, keyPem } = await join(h, (await token(h, who)).token)
    fs.writeFileSync(path.join(folder, `${who}.pem`), chainPem)
    fs.writeFileSync(path.join(folder, `${who}.key`), keyPem)
  }
  fs.writeFileSync(path.join(folder, 'token'), (await token(h, 'edge')).token)
  h.write('edge/all.json', JSON.stringify({ resources: meshletResources(p) }))
  const tcp = (['fromMeshlet', 'mistaken', 'refusing'] as const)
    .map(
      (name) =>
        `- {name: ${name}, kind: tcp, port: ${p[name]}, cluster: ${name === 'fromMeshlet' ? 'through' : name}}\n`,
    )
    .join('')
  const agent = await Agent.create(
    t,
    (home, adminPort) => `node: {name: edge, namespace: edge, serviceAccount: edge, ip: 127.0.0.1}
control: {address: "127.0.0.1:${h.hub.port}", serverName: hub.demo.mesh, roots: ${folder}/roots.pem, token: ${folder}/token}
state: ${home}/state
admin: {port: ${adminPort}}
listeners:
- {name: tunnels, kind: hbone, address: 127.0.0.1, port: ${p.hbone}}
${tcp}`,
  )
  await agent.start()
  const envoy = await startStaticEnvoy(t, envoyResources(p, folder), p.fromEnvoy)
  return { p, agent, envoy }
}
function token(h: TestHub, who: string): ReturnType<TestHub['hub']['createToken']> {
  return h.hub.createToken({ namespace: who, serviceAccount: who, nodes: '*' })
}

/** What comes back of the bytes when the client has ended its side; 'reset' when the connection breaks. */
function echoed(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const hash = createHash('sha256')
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => client.end(bytes))
    client.on('data', (chunk) => hash.update(chunk)).on('error', () => resolve('reset'))
    client.on('end', () => {
      resolve(hash.digest('hex'))
      client.destroy()
    })
    client.on('close', () => resolve('reset'))
  })
}
const BYTES = randomBytes(3_000_000)
const DIGEST = createHash('sha256').update(BYTES).digest('hex')
const NOTHING = createHash('sha256').digest('hex')

test('tunnels between Envoy and meshlet', { timeout: 120_000 }, async (t) => {
  const mesh = await startMesh(t)
  const { p, agent, envoy } = mesh
  const logs = (): string => `${agent.process.log.slice(-3000)}\n${envoy.log.slice(-3000)}`
  const [sent, back] = [Buffer.from('x'), createHash('sha256').update('x').digest('hex')]
  await until('a tunnel is open', async () => (await echoed(p.fromMeshlet, sent)) === back, 20_000, logs)

  await t.test('meshlet opens tunnels that Envoy ends: all bytes both ways, and the end of each side', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => echoed(p.fromMeshlet, BYTES)))
    assert.deepEqual(
      all,
      Array.from({ length: 8 }, () => DIGEST),
      logs(),
    )
  })
  await t.test('Envoy opens tunnels that meshlet ends, and is known by its certificate', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => echoed(p.fromEnvoy, BYTES)))
    assert.deepEqual(
      all,
      Array.from({ length: 8 }, () => DIGEST),
      logs(),
    )
  })
  await t.test('somebody else of the mesh is refused by policy, and another address is nobody’s', async () => {
    for (const port of [p.fromStranger, p.toOther])
      assert.ok(['reset', NOTHING].includes(await echoed(port, BYTES.subarray(0, 10))))
    const metrics = (await agent.get('/stats/prometheus'))?.text ?? ''
    assert.match(metrics, /mesh_hbone_tunnels_total\{answer="401"\} [1-9]/)
    assert.match(metrics, /mesh_hbone_tunnels_total\{answer="400"\} [1-9]/)
  })
  await t.test(
    'an Envoy that is not whom the service has gets no tunnel, and one that refuses is told of',
    async () => {
      for (const [port, code] of [
        [p.mistaken, 'MESH_PEER_MISMATCH'],
        [p.refusing, 'MESH_TUNNEL_REFUSED'],
      ] as const) {
        assert.ok(['reset', NOTHING].includes(await echoed(port, BYTES.subarray(0, 10))))
        await until(`it says ${code}`, () => agent.process.log.includes(code))
      }
    },
  )
  await t.test('afterwards both ways still work, and Envoy had nothing to complain of', async () => {
    assert.deepEqual([await echoed(p.fromMeshlet, BYTES), await echoed(p.fromEnvoy, BYTES)], [DIGEST, DIGEST], logs())
    assert.doesNotMatch(envoy.log, /critical|assert failure/)
  })
})
