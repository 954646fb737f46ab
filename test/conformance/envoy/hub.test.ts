/**
 * A real Envoy as a client of the hub: delta and state-of-the-world ADS over TLS with a join token, listener, route and
 * cluster from files.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { X509Certificate } from 'node:crypto'
import { CLUSTER, ENDPOINT, LISTENER, ROUTE } from '../../../hub/source/resources.ts'
import { join, testHub, type TestHub } from '../../hub/start-hub.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { envoyBinary } from '../peers.ts'

const FILTERS = 'type.googleapis.com/envoy.extensions.filters'
const resources = (listenPort: number, upstreamPort: number, word: string): string => `resources:
- "@type": ${LISTENER}
  name: in
  address: {socket_address: {address: 127.0.0.1, port_value: ${listenPort}}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": ${FILTERS}.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: in
        rds: {route_config_name: routes, config_source: {ads: {}, resource_api_version: V3}}
        http_filters: [{name: envoy.filters.http.router, typed_config: {"@type": "${FILTERS}.http.router.v3.Router"}}]
- "@type": ${ROUTE}
  name: routes
  virtual_hosts:
  - name: all
    domains: ["*"]
    routes: [{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [{header: {key: x-word, value: ${word}}}]}]
- "@type": ${CLUSTER}
  name: up
  type: EDS
  connect_timeout: 2s
  eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}}
- "@type": ${ENDPOINT}
  cluster_name: up
  endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${upstreamPort}}}}}]}]
`

const bootstrap = (
  hubPort: number,
  folder: string,
  api: 'DELTA_GRPC' | 'GRPC',
  shown: { readonly token: string } | 'certificate',
): string => `node: {id: envoy-1, cluster: test}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  lds_config: {ads: {}, resource_api_version: V3}
  cds_config: {ads: {}, resource_api_version: V3}
  ads_config:
    api_type: ${api}
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: hub}${shown === 'certificate' ? '' : `, initial_metadata: [{key: authorization, value: Bearer ${shown.token}}]`}}]
static_resources:
  clusters:
  - name: hub
    type: STATIC
    connect_timeout: 2s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}
    load_assignment: {cluster_name: hub, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${hubPort}}}}}]}]}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: hub.demo.mesh
        common_tls_context:${
          shown === 'certificate'
            ? `
          tls_certificates: [{certificate_chain: {filename: ${folder}/leaf.pem}, private_key: {filename: ${folder}/leaf.key}}]`
            : ''
        }
          validation_context: {trusted_ca: {filename: ${folder}/roots.pem}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: hub.demo.mesh}}]}
`

/** Answers with the word that Envoy's route adds. */
async function upstream(t: TestContext): Promise<number> {
  return await serveHttp(t, (req, res) => {
    res.end(`word ${String(req.headers['x-word'])}`)
  })
}

function startEnvoy(t: TestContext, h: TestHub, config: string): { log: () => string } {
  const file = path.join(h.folder, 'envoy.yaml')
  fs.writeFileSync(file, config)
  fs.writeFileSync(path.join(h.folder, 'roots.pem'), h.hub.rootsPem)
  const envoy = spawn(envoyBinary(), ['-c', file, '--use-dynamic-base-id', '--concurrency', '1', '-l', 'info'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  envoy.stderr.on('data', (bytes: Buffer) => {
    log = (log + bytes.toString()).slice(-20_000)
  })
  const ended = new Promise((resolve) => {
    envoy.once('exit', resolve)
  })
  t.after(async () => {
    envoy.kill('SIGKILL')
    await ended
  })
  return { log: () => log }
}

/** The answer once it is the wanted one; fails with Envoy's log. */
async function answers(port: number, want: string, log: () => string): Promise<void> {
  const untilMs = Date.now() + 20_000
  let last = ''
  while (Date.now() < untilMs) {
    last = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } }).then(
      (res) => res.text(),
      String,
    )
    if (last === want) return
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
  }
  assert.equal(last, want, log())
}

for (const { name, api, by } of [
  { name: 'delta ADS with a join token', api: 'DELTA_GRPC', by: 'token' },
  { name: 'state-of-the-world ADS with a join token', api: 'GRPC', by: 'token' },
  { name: 'delta ADS with a client certificate of the hub', api: 'DELTA_GRPC', by: 'certificate' },
] as const) {
  test(`Envoy is programmed by the hub: ${name}`, { timeout: 120_000 }, async (t) => {
    const h = await testHub(t)
    const [[first, second], up] = [(await freePorts(2)) as [number, number], await upstream(t)]
    h.write('envoy-1/all.yaml', resources(first, up, 'one'))
    const { token } = await h.hub.createToken({ namespace: 'edge', serviceAccount: 'envoy', nodes: '*' })
    if (by === 'certificate') {
      const leaf = await join(h, token)
      assert.match(new X509Certificate(leaf.chainPem).subjectAltName ?? '', /ns\/edge\/sa\/envoy/)
      fs.writeFileSync(path.join(h.folder, 'leaf.pem'), leaf.chainPem)
      fs.writeFileSync(path.join(h.folder, 'leaf.key'), leaf.keyPem)
    }
    const { log } = startEnvoy(
      t,
      h,
      bootstrap(h.hub.port, h.folder, api, by === 'certificate' ? 'certificate' : { token }),
    )
    await answers(first, 'word one', log)
    h.write('envoy-1/all.yaml', resources(first, up, 'two')) // the route alone
    await answers(first, 'word two', log)
    h.write(
      'envoy-1/all.yaml',
      resources(second, await upstream(t), 'three').replace('connect_timeout: 2s', 'connect_timeout: 3s'),
    ) // listener, cluster and endpoint
    await answers(second, 'word three', log)
    // A mistake in the cluster: nothing of the folder is taken until it is mended.
    h.write('envoy-1/all.yaml', resources(second, up, 'four').replace('connect_timeout: 2s', 'connect_timeout: soon'))
    const untilMs = Date.now() + 10_000
    while (!h.lines.some((l) => l['evt'] === 'hub.resource-refused') && Date.now() < untilMs)
      await new Promise((resolve) => {
        setTimeout(resolve, 20)
      })
    assert.match(
      String(h.lines.find((l) => l['evt'] === 'hub.resource-refused')?.['problem']),
      /envoy-1\/all\.yaml.*connect_timeout/,
    )
    await answers(second, 'word three', log)
    h.write('envoy-1/all.yaml', resources(second, up, 'four'))
    await answers(second, 'word four', log)
    assert.deepEqual(
      h.lines.filter((l) => l['evt'] === 'hub.nack'),
      [],
      'Envoy refused nothing',
    )
    assert.equal((await h.hub.registry.devices())[0]?.spiffeUri, 'spiffe://demo.mesh/ns/edge/sa/envoy')
  })
}
