/**
 * A mesh of two: Envoy and the shipped bundle, certificates of one hub, an HTTP and a gRPC application behind both,
 * applications in front of both whose host names choose the way. meshlet gets its side from the hub, Envoy the same as
 * files.
 */
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import tls from 'node:tls'
import { Client, credentials, Server, ServerCredentials, status, type ServerDuplexStream } from '@grpc/grpc-js'
import { testCa } from '../../helpers/test-ca.ts'
import { join, testHub, type TestHub } from '../../hub/start-hub.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { envoyBinary } from '../peers.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { start, type Finally, type Running } from '../programs.ts'
import { Agent, hostRoutes, staticCluster } from '../package/shipped.ts'

const spiffe = (namespace: string, name: string): string => `spiffe://demo.mesh/ns/${namespace}/sa/${name}`
export const IDS = {
  meshlet: spiffe('edge', 'meshlet'),
  envoy: spiffe('cloud', 'envoy'),
  stranger: spiffe('other', 'stranger'),
}
const type = (name: string): string => `type.googleapis.com/envoy.${name}`
/** What a control plane sends says its type; inside another message or a bootstrap it must not. */
const untyped = (resource: object): object => ({ ...resource, '@type': undefined })

const exactly = (uri: string): object => ({
  match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: uri } }],
})
const ANY_OF_THE_MESH = {
  match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { prefix: 'spiffe://demo.mesh/' } }],
}
const HTTP2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}
/** What an inbound listener of istiod does. */
const XFCC = {
  forward_client_cert_details: 'APPEND_FORWARD',
  set_current_client_cert_details: { subject: true, uri: true, dns: true },
}
const IN_ALPN = ['h2', 'http/1.1']

const socket = (side: 'Upstream' | 'Downstream', common: object): object => ({
  transport_socket: {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': type(`extensions.transport_sockets.tls.v3.${side}TlsContext`),
      common_tls_context: common,
      ...(side === 'Downstream' ? { require_client_certificate: true } : {}),
    },
  },
})
/** As meshlet gets it from a control plane: certificate and roots by SDS names. */
const bySds = (peer: object, alpn: readonly string[]): object => ({
  alpn_protocols: alpn,
  tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: { ads: {} } }],
  combined_validation_context: {
    default_validation_context: peer,
    validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: { ads: {} } },
  },
})
/** As Envoy has it here. */
const byFiles = (folder: string, who: string, peer: object, alpn: readonly string[]): object => ({
  alpn_protocols: alpn,
  tls_certificates: [
    { certificate_chain: { filename: `${folder}/${who}.pem` }, private_key: { filename: `${folder}/${who}.key` } },
  ],
  validation_context: { trusted_ca: { filename: `${folder}/roots.pem` }, ...peer },
})
const manager = (routes: object, filters: readonly object[] = [], more: object = {}): object => ({
  name: 'envoy.filters.network.http_connection_manager',
  typed_config: {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'x',
    route_config: untyped(routes),
    ...more,
    http_filters: [
      ...filters,
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
      },
    ],
  },
})
const onlyEnvoyMay = {
  name: 'envoy.filters.http.rbac',
  typed_config: {
    '@type': type('extensions.filters.http.rbac.v3.RBAC'),
    rules: {
      action: 'ALLOW',
      policies: {
        envoy: {
          permissions: [{ any: true }],
          principals: [{ authenticated: { principal_name: { exact: IDS.envoy } } }],
        },
      },
    },
  },
}
const listener = (name: string, port: number, chain: object, more: object = {}): object => ({
  '@type': type('config.listener.v3.Listener'),
  name,
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [chain],
  ...more,
})
/** Host names that begin with `grpc` go to the gRPC application. */
const inboundRoutes = (name: string): object =>
  hostRoutes(name, { '*': 'application', 'grpc.h2.test': 'grpc-application' })
const applications = (p: MeshPorts): object[] => [
  staticCluster('application', p.application),
  staticCluster('grpc-application', p.grpcApplication, HTTP2),
]
const outboundRoutes = (name: string, clusters: readonly string[]): object =>
  hostRoutes(name, { ...Object.fromEntries(clusters.map((c) => [`${c}.test`, c])), 'grpc.h2.test': 'h2' })

const PORTS = [
  'application',
  'grpcApplication',
  'fromEnvoy',
  'fromMeshlet',
  'fromMeshletPlain',
  'meshletOpen',
  'meshletOnly',
  'envoyOpen',
  'envoyOnly',
  'envoyForeign',
  'envoyAdmin',
] as const
export type MeshPorts = Readonly<Record<(typeof PORTS)[number], number>>

/** `open` takes every identity of the mesh and lets RBAC decide, `only` ends the handshake of all but Envoy. */
function meshletResources(p: MeshPorts): object[] {
  const inbound = (name: string, port: number, peer: object): object =>
    listener(
      name,
      port,
      { filters: [manager(inboundRoutes(name), [onlyEnvoyMay], XFCC)], ...socket('Downstream', bySds(peer, IN_ALPN)) },
      { traffic_direction: 'INBOUND' },
    )
  // "istio" as istiod's clusters have it; meshlet adds what the protocol needs.
  const outbound = (name: string, port: number, peer: string, more: object = {}): object =>
    staticCluster(name, port, { ...socket('Upstream', bySds(exactly(peer), ['istio'])), ...more })
  return [
    inbound('open', p.meshletOpen, ANY_OF_THE_MESH),
    inbound('only', p.meshletOnly, exactly(IDS.envoy)),
    ...applications(p),
    outbound('h1', p.envoyOpen, IDS.envoy),
    outbound('h2', p.envoyOpen, IDS.envoy, HTTP2),
    outbound('mistaken', p.envoyOpen, IDS.stranger),
    outbound('refused', p.envoyOnly, IDS.envoy),
    outbound('refused-h2', p.envoyOnly, IDS.envoy, HTTP2),
    outbound('foreign', p.envoyForeign, IDS.envoy),
    outboundRoutes('http_proxy', ['h1', 'h2', 'mistaken', 'refused', 'refused-h2', 'foreign']),
  ]
}

/**
 * One plain port for applications, and inbound ports as meshlet's; `foreign` shows a certificate of another CA that
 * says the right name.
 */
function envoyConfig(p: MeshPorts, folder: string): object {
  const outbound = (name: string, port: number, who: string, peer: string, more: object = {}): object =>
    staticCluster(name, port, {
      ...socket(
        'Upstream',
        byFiles(folder, who, exactly(peer), 'typed_extension_protocol_options' in more ? ['h2'] : ['http/1.1']),
      ),
      ...more,
    })
  const inbound = (name: string, port: number, peer: object, who = 'envoy'): object =>
    listener(name, port, {
      filters: [manager(inboundRoutes(name), [], XFCC)],
      ...socket('Downstream', byFiles(folder, who, peer, IN_ALPN)),
    })
  const clusters = [
    outbound('h1', p.meshletOpen, 'envoy', IDS.meshlet),
    outbound('h2', p.meshletOpen, 'envoy', IDS.meshlet, HTTP2),
    outbound('only', p.meshletOnly, 'envoy', IDS.meshlet),
    outbound('mistaken', p.meshletOpen, 'envoy', IDS.stranger),
    outbound('stranger', p.meshletOpen, 'stranger', IDS.meshlet),
    outbound('stranger-only', p.meshletOnly, 'stranger', IDS.meshlet),
    outbound('foreign', p.meshletOpen, 'foreign', IDS.meshlet),
  ]
  return {
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: p.envoyAdmin } } },
    static_resources: {
      listeners: [
        listener('plain', p.fromEnvoy, {
          filters: [
            manager(outboundRoutes('plain', ['h1', 'h2', 'only', 'mistaken', 'stranger', 'stranger-only', 'foreign'])),
          ],
        }),
        inbound('open', p.envoyOpen, ANY_OF_THE_MESH),
        inbound('only', p.envoyOnly, exactly(IDS.stranger)),
        inbound('foreign', p.envoyForeign, ANY_OF_THE_MESH, 'foreign'),
      ].map(untyped),
      clusters: [...clusters, ...applications(p)].map(untyped),
    },
  }
}

export type Mesh = {
  readonly h: TestHub
  readonly p: MeshPorts
  readonly agent: Agent
  readonly envoy: Running
  /** Where the certificates are: `envoy`, `stranger` and `foreign` with .pem and .key, and roots.pem. */
  readonly folder: string
  /** Requests and calls that reached an application. */
  arrived(): number
}

export async function startMesh(t: Finally): Promise<Mesh> {
  const h = await testHub(t)
  const { folder } = h
  const seen = { count: 0 }
  const application = await startApplication(t, seen)
  const grpcApplication = await startGrpcApplication(t, seen)
  const free = await freePorts(PORTS.length)
  const p = {
    ...Object.fromEntries(PORTS.map((name, i) => [name, free[i]!])),
    application,
    grpcApplication,
  } as MeshPorts
  const write = (name: string, text: string): void => {
    fs.writeFileSync(path.join(folder, name), text)
  }
  write('roots.pem', h.hub.rootsPem)
  const foreign = testCa('demo.mesh').issue('cloud', 'envoy')
  const [envoyLeaf, stranger] = [
    await join(h, (await h.hub.createToken({ namespace: 'cloud', serviceAccount: 'envoy', nodes: '*' })).token),
    await join(h, (await h.hub.createToken({ namespace: 'other', serviceAccount: 'stranger', nodes: '*' })).token),
  ]
  for (const [who, { chainPem, keyPem }] of Object.entries({ envoy: envoyLeaf, stranger, foreign })) {
    write(`${who}.pem`, chainPem)
    write(`${who}.key`, keyPem)
  }
  write('token', (await h.hub.createToken({ namespace: 'edge', serviceAccount: 'meshlet', nodes: '*' })).token)
  h.write('edge/all.json', JSON.stringify({ resources: meshletResources(p) }))
  const agent = await Agent.create(
    t,
    (home, adminPort) => `node: {name: edge, namespace: edge, serviceAccount: meshlet}
control: {address: "127.0.0.1:${h.hub.port}", serverName: hub.demo.mesh, roots: ${folder}/roots.pem, token: ${folder}/token}
state: ${home}/state
admin: {port: ${adminPort}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${p.fromMeshlet}}
- {name: plain, kind: http, port: ${p.fromMeshletPlain}, routes: http_proxy}
`,
  )
  await agent.start()
  write('envoy.json', JSON.stringify(envoyConfig(p, folder)))
  const envoy = start(t, envoyBinary(), [
    '-c',
    `${folder}/envoy.json`,
    '--use-dynamic-base-id',
    '--concurrency',
    '1',
    '-l',
    'warning',
  ])
  await envoy.listening(p.fromEnvoy)
  for (const port of [p.meshletOpen, p.meshletOnly]) await agent.process.listening(port)
  return { h, p, agent, envoy, folder, arrived: () => seen.count }
}

/** Says what it was told of the caller and how much came. */
async function startApplication(t: Finally, seen: { count: number }): Promise<number> {
  return await serveHttp(t, (req, res) => {
    seen.count++
    let bytes = 0
    req.on('data', (d: Buffer) => {
      bytes += d.length
    })
    req.on('end', () => {
      res.end(JSON.stringify({ xfcc: req.headers['x-forwarded-client-cert'], bytes }))
    })
  })
}

const same = (bytes: Buffer): Buffer => bytes
const ECHO = '/test.Echo/Stream'
/** Sends every message back, then ends with a status that has details and a trailer. */
async function startGrpcApplication(t: Finally, seen: { count: number }): Promise<number> {
  const server = new Server()
  server.addService(
    {
      stream: {
        path: ECHO,
        requestStream: true,
        responseStream: true,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    {
      stream: (call: ServerDuplexStream<Buffer, Buffer>) => {
        seen.count++
        call.on('data', (message: Buffer) => {
          call.write(message)
        })
        call.on('end', () => {
          call.emit('error', {
            code: status.ABORTED,
            details: `told ${String(call.metadata.get('x-forwarded-client-cert')[0])}`,
          })
        })
      },
    },
  )
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (err, bound) => {
      if (err) reject(err)
      else resolve(bound)
    })
  })
  t.after(() => {
    server.forceShutdown()
  })
  return port
}

/** One bidirectional stream over cleartext HTTP/2; each message waits for the echo of the one before. */
export async function echo(
  port: number,
  authority: string,
  messages: readonly string[],
): Promise<{ echoes: string[]; code: number; details: string }> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.default_authority': authority })
  try {
    const call = client.makeBidiStreamRequest(ECHO, same, same)
    const echoes: string[] = []
    const next = (): void => {
      const message = messages[echoes.length]
      if (message === undefined) call.end()
      else call.write(Buffer.from(message))
    }
    call.on('data', (message: Buffer) => {
      echoes.push(message.toString())
      next()
    })
    call.on('error', () => {
      /* its status says it */
    })
    next()
    const { code, details } = await new Promise<{ code: number; details: string }>((resolve) => {
      call.on('status', resolve)
    })
    return { echoes, code, details }
  } finally {
    client.close()
  }
}

/** A client of TLS that trusts the hub's roots, with a certificate or none. */
export function direct(m: Mesh, port: number, who: 'envoy' | 'stranger' | 'foreign' | undefined): Promise<Answer> {
  const shown = who && {
    cert: fs.readFileSync(`${m.folder}/${who}.pem`),
    key: fs.readFileSync(`${m.folder}/${who}.key`),
  }
  return ask(port, 'x.test', {
    connect: () =>
      tls.connect({
        port,
        host: '127.0.0.1',
        ca: m.h.hub.rootsPem,
        checkServerIdentity: () => undefined,
        ALPNProtocols: ['http/1.1'],
        ...shown,
      }),
  })
}

export type Answer = { readonly status: number; readonly body: string; readonly error: string }
type Ask = {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly connect?: () => tls.TLSSocket
}
/** Asks a port for a host name; status 0 with the reason when there is no answer. */
export function ask(port: number, host: string, { body, headers = {}, connect }: Ask = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (err: Error): void => {
      resolve({ status: 0, body: '', error: err.message })
    }
    const req = http.request(
      {
        host: '127.0.0.1',
        port,
        method: body === undefined ? 'GET' : 'POST',
        path: '/x',
        headers: { host, ...headers },
        ...(connect ? { createConnection: connect } : { agent: false }),
      },
      (res) => {
        let text = ''
        res.on('data', (d: Buffer) => {
          text += d.toString()
        })
        res.on('end', () => {
          resolve({ status: res.statusCode ?? 0, body: text, error: String(res.headers['x-meshlet-error'] ?? '') })
        })
        res.on('error', failed)
      },
    )
    req.on('error', failed)
    req.end(body)
  })
}
