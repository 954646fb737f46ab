/**
 * DestinationRule `tls: SIMPLE` and `MUTUAL` as istiod sends them to a sidecar: roots of this machine and files that
 * the control plane names.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type net from 'node:net'
import path from 'node:path'
import type { TLSSocket } from 'node:tls'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../tools/free-ports.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { testCa } from '../helpers/test-ca.ts'
import { ControlPlane } from './control-plane.ts'
import { TestAgent, until } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { anyHost, httpManager, socketAddress, toCluster, webListener } from './web-listener.ts'

const T = 'type.googleapis.com/envoy'
const HOST = 'api.example.com'
const web = (port: number): Sample => webListener(port, [{ filters: [httpManager([anyHost(toCluster('one'))])] }])

type Tls = {
  readonly root: string
  readonly certificate?: string
  readonly auto?: boolean
  readonly context?: JsonObject
  readonly validation?: JsonObject
  readonly isSkipped?: boolean
}
/** pilot/pkg/networking/core/cluster_tls.go, constructUpstreamTLS. */
const cluster = (
  port: number,
  { root, certificate, auto = true, context = {}, validation = {}, isSkipped = false }: Tls,
): Sample =>
  sample({
    '@type': `${T}.config.cluster.v3.Cluster`,
    name: 'one',
    type: 'STATIC',
    load_assignment: {
      cluster_name: 'one',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(port) } }] }],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${T}.extensions.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http_protocol_options: {} },
        ...(auto ? { upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true } } : {}),
      },
    },
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${T}.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
        ...context,
        common_tls_context: {
          tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
          ...(certificate === undefined
            ? {}
            : {
                tls_certificate_sds_secret_configs: [
                  { name: certificate, sds_config: { api_config_source: { api_type: 'GRPC' } } },
                ],
              }),
          ...(isSkipped
            ? { validation_context: {} }
            : {
                combined_validation_context: {
                  default_validation_context: validation,
                  validation_context_sds_secret_config: {
                    name: root,
                    sds_config: { api_config_source: { api_type: 'GRPC' } },
                  },
                },
              }),
        },
      },
    },
  })

type Rig = {
  readonly edge: TestAgent
  readonly plane: ControlPlane
  readonly folder: string
  push(tls: Tls): void
  get(host?: string): Promise<string>
  readonly seen: (string | false)[]
  readonly callers: string[]
}

const outside = testCa('outside')

async function rig(t: TestContext): Promise<Rig> {
  const folder = fs.realpathSync(temporaryFolder(t))
  fs.mkdirSync(path.join(folder, 'certs'))
  const own = outside.issue('x', 'server', { dnsNames: [HOST, '*.wild.example.com'] })
  const [seen, callers]: [(string | false)[], string[]] = [[], []]
  const server = https.createServer(
    { cert: own.chainPem, key: own.keyPem, ca: outside.rootsPem, requestCert: true, rejectUnauthorized: false },
    (req, res) => {
      const from = req.socket as TLSSocket
      seen.push((from as TLSSocket & { servername: string | false }).servername)
      callers.push(from.getPeerX509Certificate()?.subjectAltName ?? '')
      res.end('over TLS')
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as net.AddressInfo
  const plane = await ControlPlane.start(t)
  const at = (await freePorts(1))[0]!
  const edge = new TestAgent(
    t,
    `node: {name: edge, namespace: edge}\n${plane.yaml.replace('control: {', `control: {tlsFileFolders: [${folder}/certs], `)}`,
  )
  fs.writeFileSync(path.join(folder, 'system.pem'), outside.rootsPem)
  edge.over = { systemRoots: path.join(folder, 'system.pem') }
  const push = (tls: Tls): void => {
    plane.push(web(at), cluster(port, tls))
  }
  const get = async (host = HOST): Promise<string> => {
    const req = http.get({ host: '127.0.0.1', port: at, headers: { host }, agent: false })
    const [res] = (await once(req, 'response')) as [http.IncomingMessage]
    return `${res.statusCode} ${(await res.toArray()).map(String).join('').split(':')[0]!}`
  }
  return { edge, plane, folder, push, get, seen, callers }
}
const GOOD = '200 over TLS'
/** What was pushed is in force when it answers so. */
const becomes = async ({ get }: Rig, answer: string, host?: string): Promise<void> => {
  await until(answer, async () => (await get(host)) === answer)
}

test('SIMPLE without caCertificates (file-root:system): the roots of this machine count, and the certificate must have the name of the request', async (t) => {
  const r = await rig(t)
  r.push({ root: 'file-root:system' })
  await r.edge.start()
  await r.edge.connected()
  await becomes(r, GOOD)
  assert.deepEqual(r.plane.refusals, [])
  assert.equal(await r.get(`${HOST}:443`), GOOD)
  assert.equal(await r.get('a.wild.example.com'), GOOD)
  assert.equal(await r.get('other.example.com'), '503 MESH_PEER_MISMATCH')
  assert.equal(await r.get('127.0.0.1'), '503 MESH_PEER_MISMATCH')
  assert.deepEqual(new Set(r.seen), new Set([HOST, 'a.wild.example.com']))
  fs.writeFileSync(path.join(r.folder, 'system.pem'), testCa('another').rootsPem)
  await becomes(r, '503 MESH_UPSTREAM_TLS', 'b.wild.example.com')
})

test('file-root:PATH and file-cert: of a permitted folder are read, also when they come or change later', async (t) => {
  const r = await rig(t)
  const [root, chain, key] = ['root.pem', 'chain.pem', 'key.pem'].map((name) => path.join(r.folder, 'certs', name)) as [
    string,
    string,
    string,
  ]
  const write = (account: string): void => {
    const made = outside.issue('client', account)
    fs.writeFileSync(chain, made.chainPem)
    fs.writeFileSync(key, made.keyPem)
  }
  r.push({ root: `file-root:${root}`, certificate: `file-cert:${chain}~${key}` })
  await r.edge.start()
  await r.edge.connected()
  await becomes(r, '503 MESH_TLS_FILE')
  assert.match(
    r.edge
      .status()
      .problems.map((p) => p.text)
      .join('\n'),
    /chain\.pem cannot be used for TLS/,
  )
  write('one')
  fs.writeFileSync(root, outside.rootsPem)
  await becomes(r, GOOD)
  assert.deepEqual(r.edge.problems(), [])
  write('two')
  await becomes(r, GOOD, 'later.wild.example.com')
  assert.deepEqual(
    [...new Set(r.callers)],
    ['URI:spiffe://outside/ns/client/sa/one', 'URI:spiffe://outside/ns/client/sa/two'],
  )
})

test('a file elsewhere blocks the cluster, a link that leads elsewhere refuses; what is neither file nor ours blocks it too', async (t) => {
  const r = await rig(t)
  const root = path.join(r.folder, 'certs', 'root.pem')
  fs.symlinkSync(path.join(r.folder, 'system.pem'), root)
  r.push({ root: `file-root:${root}` })
  await r.edge.start()
  await r.edge.connected()
  await becomes(r, '503 MESH_TLS_FILE')
  assert.match(
    r.edge
      .status()
      .problems.map((p) => p.text)
      .join('\n'),
    /root\.pem .*a symbolic link leads out/,
  )
  for (const name of [
    'file-root:/etc/passwd',
    `file-root:${r.folder}/certs/../system.pem`,
    'file-root:root.pem',
    'elsewhere://roots',
    'builtin://',
    'file-root:',
  ]) {
    const before = r.plane.refusals.length
    r.push({ root: name })
    await until(`the nack of ${name}`, () => r.plane.refusals.length > before)
    await becomes(r, '503 MESH_CLUSTER_BLOCKED')
  }
})

test('names: subjectAltNames of the DestinationRule count beside the host; auto_sni_san_validation replaces them by the SNI that is sent; insecureSkipVerify asks for nothing', async (t) => {
  const r = await rig(t)
  const named = (exact: string): JsonObject => ({ match_subject_alt_names: [{ exact }] })
  r.push({ root: 'file-root:system', validation: named('x.wild.example.com') })
  await r.edge.start()
  await r.edge.connected()
  await becomes(r, GOOD)
  r.push({ root: 'file-root:system', validation: named('elsewhere.example.com') })
  await becomes(r, '503 MESH_PEER_MISMATCH')
  r.push({
    root: 'file-root:system',
    validation: named('elsewhere.example.com'),
    auto: false,
    context: { sni: HOST, auto_sni_san_validation: true },
  })
  await becomes(r, GOOD)
  assert.equal(await r.get('any.host'), GOOD)
  r.push({
    root: 'file-root:system',
    auto: false,
    context: { sni: 'other.example.com', auto_sni_san_validation: true },
  })
  await becomes(r, '503 MESH_PEER_MISMATCH')
  r.push({ root: 'file-root:system', auto: false, context: { auto_sni_san_validation: true } })
  await until('no SNI, no name', async () => (await r.get()) === '503 MESH_PEER_MISMATCH')
  r.push({ root: '', auto: false, isSkipped: true })
  await becomes(r, GOOD)
  assert.deepEqual(r.plane.refusals, [])
})
