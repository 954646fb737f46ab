/**
 * The peers of bench -- sync, under the same istiod as meshlet. Both come over its plain-text port: Envoy's and gRPC's
 * way to mTLS is Istio's agent beside them, which would be measured with them. So TLS is in meshlet's figures and not
 * in theirs.
 *
 * Envoy takes a sidecar's resources over delta ADS, as meshlet does: clusters, endpoints, listeners and route tables,
 * without the three filters that Istio builds into its own Envoy (with them it refuses each cluster and listener). It
 * does not ask for the name table of the DNS proxy. istiod's clusters wait for a certificate from Istio's agent, so
 * bench -- sync serves one (envoy-secrets.ts).
 *
 * gRPC's client (the package @grpc/grpc-js-xds) takes less: of each service that it dials a listener, a route table, a
 * cluster and endpoints, over state-of-the-world ADS with GENERATOR=grpc, which is where istiod makes no sidecar's
 * listeners and filters. Two things were tried and do not go:
 * - All services on port 80, as for the others. istiod gives each route table all virtual hosts of its port
 *   (grpcgen/rds.go), so that one answer grows
 *   with the square of the services; at 100 it passes the 4 MB that the client takes in a message, when some 70 are dialed, and of 1,000
 *   services it gets 7. Here each has a port of its own, and so a small route table.
 * - All targets at once, or one after the other: the client names all resources in a request for each new one, and
 *   istiod answers with all of them.
 *   After one has been answered the requests of the others carry its nonce, and istiod answers the last only.
 * What is left of that is in `KiB out`.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import path from 'node:path'
import { BARE_ENV, Running, start, until, type Finally } from '../../conformance/programs.ts'
import { envoyBinary, grpcXdsFolder } from '../../conformance/peers.ts'
import { NODE_IP } from '../../conformance/istiod/rig/mesh-agent.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { messageOf, type NoRow, type Row } from '../bench.ts'
import { pin, SUBJECT_CORE } from '../measure.ts'
import { serveSecrets } from './envoy-secrets.ts'
import { startMesh } from './sync-mesh.ts'
import { measured, Meter, reconnects, type Subject } from './sync-step.ts'

const NODE_ID = `sidecar~${NODE_IP}~edge-1.edge~edge.svc.cluster.local`
const METADATA = {
  NAMESPACE: 'edge',
  SERVICE_ACCOUNT: 'gateway',
  INSTANCE_IPS: NODE_IP,
  CLUSTER_ID: 'Kubernetes',
  LABELS: { app: 'edge' },
}
const FIRST_GRPC_PORT = 10_000
const WITHIN_MS = 180_000

export async function* envoy(t: Finally, size: number): AsyncIterable<Row | NoRow> {
  const program = had(() => envoyBinary())
  if ('why' in program) {
    yield { bench: 'sync', case: String(size), subject: 'envoy', what: 'cannot be had', why: program.why }
    return
  }
  const mesh = await startMesh(t, size, () => 80, 'envoy')
  using meter = await Meter.before(mesh.istiod.plainAddress)
  const [adminPort] = (await freePorts(1)) as [number]
  const file = path.join(mesh.istiod.folder, 'envoy.json')
  fs.writeFileSync(
    file,
    JSON.stringify(envoyConfig({ istiod: meter.address, secrets: `127.0.0.1:${await serveSecrets(t)}`, adminPort })),
  )
  let running!: Running
  const subject: Subject = { name: 'envoy', size, meter, pid: () => running.child.pid! }
  const stat = async (name: string): Promise<number> => {
    const page = await fetch(`http://127.0.0.1:${adminPort}/stats?filter=^${name.replaceAll('.', '\\.')}$`).then(
      (r) => r.text(),
      () => '',
    )
    return Number(/: (\d+)/.exec(page)?.[1] ?? 0)
  }
  const clusters = (): Promise<number> => stat('cluster_manager.active_clusters')
  yield await measured(subject, 'first', async () => {
    running = start(t, program.is, ['--concurrency', '1', '-l', 'warning', '-c', file])
    pin(subject.pid(), SUBJECT_CORE)
    await until('Envoy has the clusters', async () => (await clusters()) > size, WITHIN_MS)
  })
  if ((await stat('listener_manager.lds.update_rejected')) + (await stat('cluster_manager.cds.update_rejected')) > 0)
    throw new Error(
      `Envoy has refused what istiod sent: ${running.log.split('\n').find((l) => l.includes('rejected')) ?? ''}`,
    )
  yield await reconnects(subject)
  yield await measured(subject, 'endpoint', () =>
    meter.received(() => {
      mesh.changeEndpoint()
    }),
  )
  const known = await clusters()
  yield await measured(subject, 'service', async () => {
    mesh.addService()
    await until('Envoy has one cluster more', async () => (await clusters()) > known, WITHIN_MS)
  })
  yield await measured(subject, 'push', () =>
    meter.received(() => {
      mesh.changeAll()
    }),
  )
}

function envoyConfig({
  istiod,
  secrets,
  adminPort,
}: {
  readonly istiod: string
  readonly secrets: string
  readonly adminPort: number
}): object {
  const ads = { ads: {}, resource_api_version: 'V3' }
  const socket = (address: string): object => {
    const [host, port] = address.split(':')
    return { address: { socket_address: { address: host, port_value: Number(port) } } }
  }
  const cluster = (name: string, address: string): object => ({
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: socket(address) }] }] },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  })
  return {
    node: {
      id: NODE_ID,
      cluster: 'edge.edge',
      metadata: { ...METADATA, INTERCEPTION_MODE: 'NONE', HTTP_PROXY_PORT: '15080', PROXY_CONFIG: { concurrency: 1 } },
    },
    admin: socket(`127.0.0.1:${adminPort}`),
    dynamic_resources: {
      cds_config: ads,
      lds_config: ads,
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: 'istiod' } }],
      },
    },
    static_resources: { clusters: [cluster('istiod', istiod), cluster('sds-grpc', secrets)] },
  }
}

export async function* grpcJsXds(t: Finally, size: number): AsyncIterable<Row | NoRow> {
  const packages = had(() => grpcXdsFolder())
  if ('why' in packages) {
    yield { bench: 'sync', case: String(size), subject: 'grpc-js-xds', what: 'cannot be had', why: packages.why }
    return
  }
  const mesh = await startMesh(t, size, (i) => FIRST_GRPC_PORT + i)
  using meter = await Meter.before(mesh.istiod.plainAddress)
  const { program, bootstrap } = writeGrpcClient(mesh.istiod.folder, meter.address)
  let running!: Running
  const subject: Subject = { name: 'grpc-js-xds', size, meter, pid: () => running.child.pid! }
  const dial = (targets: number): void => {
    running.child.stdin!.write(`${targets}\n`)
  }
  const seen = (): { taken: number; changes: number } => {
    const [taken = 0, changes = 0] = (running.log.trim().split('\n').at(-1) ?? '').split(' ').map(Number)
    return { taken, changes }
  }
  yield await measured(subject, 'first', async () => {
    running = new Running(
      'grpc-js-xds',
      spawn(process.execPath, [program, packages.is, String(FIRST_GRPC_PORT)], {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...BARE_ENV, GRPC_XDS_BOOTSTRAP: bootstrap },
      }),
    )
    t.after(async () => {
      await running.stop('SIGKILL')
    })
    pin(subject.pid(), SUBJECT_CORE)
    dial(size)
    await running.until('all targets have their endpoints', () => seen().taken >= size, WITHIN_MS)
  })
  yield await reconnects(subject)
  const { changes } = seen()
  yield await measured(subject, 'endpoint', async () => {
    mesh.changeEndpoint()
    await running.until('the endpoint has changed', () => seen().changes > changes, WITHIN_MS)
  })
  yield await measured(subject, 'service', async () => {
    mesh.addService()
    dial(size + 1)
    await running.until('the target has its endpoints', () => seen().taken > size, WITHIN_MS)
  })
  yield await measured(subject, 'push', () =>
    meter.received(() => {
      mesh.changeAll()
    }),
  )
}

function writeGrpcClient(
  folder: string,
  serverAddress: string,
): { readonly program: string; readonly bootstrap: string } {
  const bootstrap = path.join(folder, 'grpc.json')
  // As Istio's agent writes it (pkg/istio-agent/grpcxds), but for the address and for the locality, without which this
  // client takes none.
  fs.writeFileSync(
    bootstrap,
    JSON.stringify({
      xds_servers: [{ server_uri: serverAddress, channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3'] }],
      node: { id: NODE_ID, locality: {}, metadata: { ...METADATA, GENERATOR: 'grpc' } },
      server_listener_resource_name_template: 'xds.istio.io/grpc/lds/inbound/%s',
    }),
  )
  // Plain JavaScript: Node's own type stripping takes 60 MiB of the process that uses it.
  const program = path.join(folder, 'grpc-xds-client.mjs')
  fs.writeFileSync(
    program,
    stripTypeScriptTypes(fs.readFileSync(path.join(import.meta.dirname, 'grpc-xds-client.ts'), 'utf8')),
  )
  return { program, bootstrap }
}

function had<T>(make: () => T): { readonly is: T } | { readonly why: string } {
  try {
    return { is: make() }
  } catch (err) {
    return { why: messageOf(err) }
  }
}
