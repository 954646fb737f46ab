/**
 * A gateway (node.type: router) whose certificates come as secrets over the configuration stream, as istiod serves
 * `credentialName`.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import path from 'node:path'
import tls from 'node:tls'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../tools/free-ports.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { testCa } from '../helpers/test-ca.ts'
import { ControlPlane } from './control-plane.ts'
import { TestAgent, until } from './site.ts'
import { anyHost, httpManager, socketAddress, toCluster, webListener } from './web-listener.ts'

const T = 'type.googleapis.com/envoy'
const HOST = 'shop.example.com'
const NAME = 'kubernetes://shop'
const ca = testCa('outside')
const strangers = testCa('strangers')
const inline = (text: string): JsonObject => ({ inline_bytes: Buffer.from(text).toString('base64') })

const certificate = (of: { readonly chainPem: string; readonly keyPem: string }, name = NAME): Sample =>
  sample({
    '@type': `${T}.extensions.transport_sockets.tls.v3.Secret`,
    name,
    tls_certificate: { certificate_chain: inline(of.chainPem), private_key: inline(of.keyPem) },
  })
const roots = (context: JsonObject): Sample =>
  sample({
    '@type': `${T}.extensions.transport_sockets.tls.v3.Secret`,
    name: `${NAME}-cacert`,
    validation_context: context,
  })

/** pilot/pkg/networking/core/gateway.go, buildGatewayListenerTLSContext. */
const chain = (mode: 'SIMPLE' | 'MUTUAL' | 'OPTIONAL_MUTUAL', filters: readonly JsonObject[] = []): JsonObject => ({
  filter_chain_match: { server_names: [HOST] },
  transport_socket: {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${T}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: mode === 'MUTUAL',
      common_tls_context: {
        alpn_protocols: ['h2', 'http/1.1'],
        tls_certificate_sds_secret_configs: [{ name: NAME, sds_config: { ads: {}, resource_api_version: 'V3' } }],
        ...(mode === 'SIMPLE'
          ? {}
          : {
              combined_validation_context: {
                default_validation_context: {},
                validation_context_sds_secret_config: { name: `${NAME}-cacert`, sds_config: { ads: {} } },
              },
            }),
      },
    },
  },
  filters: [httpManager([anyHost(toCluster('app'))], filters)],
})

type Rig = {
  readonly edge: TestAgent
  readonly plane: ControlPlane
  listener(chains: readonly JsonObject[]): Sample
  /** Status of a request, or why there was none. */
  get(options?: tls.ConnectionOptions): Promise<string>
}

async function rig(t: TestContext, more = ''): Promise<Rig> {
  const app = http.createServer((_, res) => res.end('app')).listen(0, '127.0.0.1')
  await once(app, 'listening')
  t.after(() => {
    app.closeAllConnections()
    app.close()
  })
  const [port] = (await freePorts(1)) as [number]
  const plane = await ControlPlane.start(t)
  plane.push(
    sample({
      '@type': `${T}.config.cluster.v3.Cluster`,
      name: 'app',
      type: 'STATIC',
      load_assignment: {
        cluster_name: 'app',
        endpoints: [
          { lb_endpoints: [{ endpoint: { address: socketAddress((app.address() as net.AddressInfo).port) } }] },
        ],
      },
    }),
  )
  const edge = new TestAgent(t, `node: {type: router, name: gw, namespace: edge}\n${plane.yaml}${more}`)
  return {
    edge,
    plane,
    listener: (chains) =>
      webListener(port, chains, {
        listener_filters: [
          {
            name: 'envoy.filters.listener.tls_inspector',
            typed_config: { '@type': `${T}.extensions.filters.listener.tls_inspector.v3.TlsInspector` },
          },
        ],
      }),
    get: (options = {}) => get(port, options),
  }
}

function get(port: number, options: tls.ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = tls.connect({ host: '127.0.0.1', port, servername: HOST, ca: ca.rootsPem, ...options })
    const failed = (err: Error): void => resolve(`refused: ${err.message}`)
    socket.on('error', failed).on('close', () => resolve('refused: closed'))
    socket.once('secureConnect', () => {
      socket.write(`GET / HTTP/1.1\r\nhost: ${HOST}\r\nconnection: close\r\n\r\n`)
      const { serialNumber } = socket.getPeerCertificate()
      socket.once('data', (bytes: Buffer) => resolve(`${bytes.toString().slice(9, 12)} ${serialNumber}`))
    })
  })
}
const becomes = (r: Rig, wanted: RegExp, options?: tls.ConnectionOptions): Promise<true> => {
  let last = ''
  return until(`${wanted.source}`, async () => {
    last = await r.get(options)
    return wanted.test(last)
  }).catch(() => assert.fail(`${wanted.source}, the last is ${last}`))
}

const named = { dnsNames: [HOST] }
const [first, second] = [ca.issue('x', 'first', named), ca.issue('x', 'second', named)]

test('a certificate of a secret: refused before it has come, replaced live, and kept over a start without anybody', async (t) => {
  const r = await rig(t)
  r.plane.push(r.listener([chain('SIMPLE')]))
  await r.edge.start()
  await until('the listener is there', () => r.edge.status().listeners.length > 0)
  await becomes(r, /^refused/)
  assert.match(
    r.edge
      .status()
      .problems.map((p) => `${p.code} ${p.text}`)
      .join(),
    /MESH_TLS_SECRET the secret kubernetes:\/\/shop has not come/,
  )
  r.plane.push(certificate(first))
  await becomes(r, new RegExp(`^200 .*${first.serial}`, 'i'))
  assert.ok(!r.edge.problems().includes('MESH_TLS_SECRET'))
  r.plane.push(certificate(second))
  await becomes(r, new RegExp(`^200 .*${second.serial}`, 'i'))

  // What cannot be a certificate is refused, and the one before it serves on.
  r.plane.push(certificate({ chainPem: second.chainPem, keyPem: first.keyPem }))
  await until('it is refused', () =>
    r.plane.refusals.some((said) => said.includes('is not the key of the certificate')),
  )
  assert.match(await r.get(), /^200/)

  assert.deepEqual(r.plane.nodes.at(-1)?.['INTERCEPTION_MODE'], undefined)
  await until('it is stored', () => fs.readFileSync(path.join(r.edge.folder, 'state/snapshot.db')).length > 0)
  await r.edge.stop()
  const away = r.plane.yaml
  r.edge.yaml = r.edge.yaml.replace(/address: "127.0.0.1:\d+"/, 'address: "127.0.0.1:1"')
  assert.notEqual(r.edge.yaml, away)
  await r.edge.start()
  await becomes(r, new RegExp(`^200 .*${second.serial}`, 'i'))
})

test('MUTUAL and OPTIONAL_MUTUAL with the roots of a secret; none is shown where nothing has come', async (t) => {
  const r = await rig(t)
  const client = ca.issue('x', 'client')
  const stranger = strangers.issue('x', 'client')
  const as = (of: typeof client): tls.ConnectionOptions => ({ cert: of.chainPem, key: of.keyPem })
  r.plane.push(certificate(first), r.listener([chain('MUTUAL')]))
  await r.edge.start()
  await until('the listener is there', () => r.edge.status().listeners.length > 0)
  assert.match(await r.get(as(client)), /^refused/, 'the roots have not come')
  r.plane.push(roots({ trusted_ca: inline(ca.rootsPem) }))
  await becomes(r, /^200/, as(client))
  assert.match(await r.get(), /^refused/)
  assert.match(await r.get(as(stranger)), /^refused/)
  r.plane.push(roots({ trusted_ca: inline(strangers.rootsPem) }))
  await becomes(r, /^200/, as(stranger))
  assert.match(await r.get(as(client)), /^refused/)
  // More than is checked: nobody, also not by the roots before.
  r.plane.push(roots({ trusted_ca: inline(strangers.rootsPem), max_verify_depth: 1 }))
  await becomes(r, /^refused/, as(stranger))

  // Pins: one certificate, or one key, of many that the roots would let in.
  const other = strangers.issue('x', 'other')
  const { fingerprint256, publicKey } = new X509Certificate(stranger.chainPem)
  const spki = hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'base64')
  for (const pins of [{ verify_certificate_hash: [fingerprint256] }, { verify_certificate_spki: [spki] }]) {
    r.plane.push(roots({ trusted_ca: inline(strangers.rootsPem) }))
    await becomes(r, /^200/, as(other))
    r.plane.push(roots({ trusted_ca: inline(strangers.rootsPem), ...pins }))
    await becomes(r, /^refused/, as(other))
    assert.match(await r.get(as(stranger)), /^200/)
  }

  r.plane.push(r.listener([chain('OPTIONAL_MUTUAL')]), roots({ trusted_ca: inline(ca.rootsPem) }))
  await becomes(r, /^200/)
  assert.match(await r.get(as(client)), /^200/)
  assert.match(await r.get(as(stranger)), /^refused/)
})

test('a name that no chain has is refused, and so is a chain with a filter that is not implemented', async (t) => {
  const r = await rig(t)
  r.plane.push(certificate(first), r.listener([chain('SIMPLE')]))
  await r.edge.start()
  await becomes(r, /^200/)
  assert.match(await r.get({ servername: 'other.example.com', checkServerIdentity: () => undefined }), /^refused/)
  const guard = {
    name: 'acme.guard',
    typed_config: {
      '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
      type_url: 'type.googleapis.com/acme.Guard',
      value: {},
    },
  }
  // OUTBOUND, as istiod calls a gateway's listeners.
  r.plane.push(r.listener([chain('SIMPLE', [guard])]))
  await becomes(r, /^503/)
})

test('no byte of a key is shown or logged; on disk it is encrypted where the state is', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'key'), Buffer.alloc(32, 7), { mode: 0o600 })
  const r = await rig(t)
  r.edge.yaml = r.edge.yaml.replace('identity: {', `identity: {encryptionKey: ${folder}/key, `)
  r.plane.push(certificate(first), r.listener([chain('SIMPLE')]))
  await r.edge.start()
  await becomes(r, /^200/)
  const dump = (await r.edge.ask('/config_dump')).body
  assert.match(dump, /"name":\s*"kubernetes:\/\/shop"/)
  await r.edge.stop()
  const body = first.keyPem.split('\n')[1]!
  const bytes = Buffer.from(body, 'base64').subarray(0, 24)
  const files = fs
    .readdirSync(path.join(r.edge.folder, 'state'))
    .filter((name) => name.startsWith('snapshot'))
    .map((name) => path.join(r.edge.folder, 'state', name))
  assert.ok(files.length > 0)
  for (const file of files) {
    assert.equal(fs.statSync(file).mode & 0o777, 0o600, file)
    assert.ok(!fs.readFileSync(file).includes(body), file)
  }
  for (const text of [dump, JSON.stringify(r.edge.lines)]) {
    assert.ok(!text.includes(body))
    assert.ok(!text.includes(Buffer.from(first.keyPem).toString('base64').slice(60, 100)))
    assert.ok(!text.includes(bytes.toString('base64')))
  }
})
