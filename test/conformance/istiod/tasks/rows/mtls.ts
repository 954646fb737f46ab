/** Security: mutual TLS between workloads. */
import assert from 'node:assert/strict'
import type tls from 'node:tls'
import { generateKeyPairSync } from 'node:crypto'
import { signLeaf } from '../../../../../hub/ca/root.ts'
import { parseSpiffeId, type Identity } from '../../../../../model/identity.ts'
import { call, callTls, talk } from '../mesh/calls.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { hostOf, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { authorizationPolicy } from '../yaml/yaml.ts'

const { httpbin, reviews, greeter, secure, tcpEcho } = SERVICES
const HTTPBIN_PORT = httpbin.versions[0].port
const REVIEWS_PORT = reviews.versions[0].port

const peerAuthentication = (name: string, namespace: string, mode: string, more = ''): string => `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  mtls: {mode: ${mode}}
${more}`
const SELECTOR = '  selector: {matchLabels: {workload: bookinfo}}\n'

/** Status in plain text and from the mesh. */
async function both(mesh: Mesh, port: number = HTTPBIN_PORT, url = urlOf(httpbin)): Promise<readonly number[]> {
  return [(await mesh.plain(port, '/')).status, (await call(url)).status]
}

const withTls = (mesh: Mesh, settings: tls.ConnectionOptions): Promise<number> =>
  mesh.as(['curl', 'curl'], HTTPBIN_PORT, '/', {}, settings).then((a) => a.status)

/** Of the mesh's root, in another trust domain. */
function makeIdentity({ istiod }: Mesh, uri: string): Identity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const notBeforeMs = Date.now() - 60_000
  const { root } = istiod.ca
  const leaf = signLeaf(root, {
    publicKey,
    notBeforeMs,
    notAfterMs: notBeforeMs + 3_600_000,
    altNames: [{ kind: 'uri', value: uri }],
  })
  return {
    spiffeId: parseSpiffeId(uri)!,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    chainPem: leaf.pem,
    rootsPem: root.certificatePem,
    serial: leaf.serial,
    notBeforeMs,
    notAfterMs: leaf.notAfterMs,
  }
}

export const mtls: readonly Task[] = [
  {
    name: 'PeerAuthentication, mutual TLS migration',
    page: 'tasks/security/authentication/mtls-migration/',
    checks: [
      {
        what: 'PERMISSIVE, the default: plain text and the mesh; mutual TLS by itself between sidecars',
        run: async (mesh) => {
          assert.deepEqual(await both(mesh), [200, 200])
          const plain = await mesh.plain(HTTPBIN_PORT, '/')
          assert.equal(plain.seen?.headers['x-forwarded-client-cert'], undefined)
          const { seen } = await call(urlOf(httpbin))
          assert.match(
            String(seen?.headers['x-forwarded-client-cert']),
            /^By=spiffe:\/\/cluster\.local\/ns\/default\/sa\/bookinfo;Hash=[0-9a-f]{64};Subject="";URI=spiffe:\/\/cluster\.local\/ns\/curl\/sa\/curl$/,
          )
        },
      },
      {
        what: 'STRICT for the mesh',
        yaml: peerAuthentication('default', 'istio-system', 'STRICT'),
        run: async (mesh) => {
          assert.deepEqual(await both(mesh), [0, 200])
          assert.equal(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n').then((s) => s.endsWith('x\n')), true)
        },
      },
      {
        what: 'a namespace overrides the mesh, a workload the namespace',
        yaml:
          peerAuthentication('default', 'istio-system', 'STRICT') +
          peerAuthentication('default', 'default', 'PERMISSIVE'),
        run: async (mesh) => {
          assert.deepEqual(await both(mesh), [200, 200])
          await mesh.set({
            yaml:
              peerAuthentication('default', 'default', 'PERMISSIVE') +
              peerAuthentication('far', 'default', 'STRICT', SELECTOR),
          })
          assert.deepEqual(await both(mesh), [0, 200])
        },
      },
      {
        what: 'one port otherwise than the rest',
        yaml: peerAuthentication(
          'far',
          'default',
          'STRICT',
          `${SELECTOR}  portLevelMtls: {${HTTPBIN_PORT}: {mode: PERMISSIVE}}\n`,
        ),
        run: async (mesh) => {
          assert.deepEqual(await both(mesh), [200, 200])
          assert.deepEqual(await both(mesh, REVIEWS_PORT, urlOf(reviews)), [0, 200])
        },
      },
      {
        what: 'DISABLE: plain text, also from the mesh',
        yaml: peerAuthentication('far', 'default', 'DISABLE', SELECTOR),
        run: async (mesh) => {
          assert.deepEqual(await both(mesh), [200, 200])
          assert.equal((await call(urlOf(httpbin))).seen?.headers['x-forwarded-client-cert'], undefined)
        },
      },
      {
        what: 'DISABLE for a port beside STRICT: a server that speaks first, and TLS of the application',
        yaml: peerAuthentication(
          'far',
          'default',
          'STRICT',
          `${SELECTOR}  portLevelMtls: {${greeter.versions[0].port}: {mode: DISABLE}, ${secure.versions[0].port}: {mode: DISABLE}}\n`,
        ),
        run: async () => {
          assert.equal(await talk(hostOf(greeter), greeter.port, ''), 'hello from greeter-v1\n')
          assert.equal(await callTls(hostOf(secure), secure.port, hostOf(secure)), `secure-v1 ${hostOf(secure)}`)
        },
      },
    ],
  },
  {
    name: 'Auto mutual TLS; application TLS inside of it',
    page: 'ops/configuration/traffic-management/tls-configuration/#auto-mtls',
    yaml: peerAuthentication('default', 'istio-system', 'STRICT'),
    checks: [
      {
        what: 'HTTP, TCP, a server that speaks first, and TLS of the application',
        run: async () => {
          assert.equal((await call(urlOf(httpbin))).status, 200)
          assert.match(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'), /^tcp-echo-v. x\n$/)
          assert.equal(await talk(hostOf(greeter), greeter.port, ''), 'hello from greeter-v1\n')
          assert.equal(await callTls(hostOf(secure), secure.port, hostOf(secure)), `secure-v1 ${hostOf(secure)}`)
        },
      },
    ],
  },
  {
    name: 'Minimum TLS version of workloads, ciphers',
    page: 'tasks/security/tls-configuration/workload-min-tls-version/',
    checks: [
      {
        what: 'TLS 1.2 is refused, 1.3 taken',
        mesh: 'meshMTLS: {minProtocolVersion: TLSV1_3}\n',
        run: async (mesh) => {
          assert.deepEqual([await withTls(mesh, { maxVersion: 'TLSv1.2' }), await withTls(mesh, {})], [0, 200])
          assert.equal((await call(urlOf(httpbin))).status, 200)
        },
      },
      {
        what: 'ciphers of TLS 1.2',
        mesh: 'meshMTLS: {cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]}\n',
        run: async (mesh) => {
          const by = (ciphers: string) => withTls(mesh, { maxVersion: 'TLSv1.2', ciphers })
          assert.deepEqual(
            [await by('ECDHE-ECDSA-AES128-GCM-SHA256'), await by('ECDHE-ECDSA-AES256-GCM-SHA384')],
            [0, 200],
          )
        },
      },
    ],
  },
  {
    name: 'Trust domain migration: aliases',
    page: 'tasks/security/authorization/authz-td-migration/',
    mesh: 'trustDomainAliases: [old-td]\n',
    yaml: authorizationPolicy(
      'aliases',
      'ALLOW',
      `  - from: [{source: {principals: ["old-td/ns/curl/sa/curl"]}}]
    to: [{operation: {methods: [GET]}}]
`,
    ),
    checks: [
      {
        what: 'a policy about the old trust domain counts for the new one, and the old one still comes in',
        run: async (mesh) => {
          assert.equal((await call(urlOf(httpbin))).status, 200)
          assert.equal((await mesh.as(['guest', 'guest'], HTTPBIN_PORT, '/')).status, 403)
          const old = makeIdentity(mesh, 'spiffe://old-td/ns/curl/sa/curl')
          assert.equal((await mesh.as(old, HTTPBIN_PORT, '/')).status, 200)
          const strange = makeIdentity(mesh, 'spiffe://strange-td/ns/curl/sa/curl')
          assert.equal((await mesh.as(strange, HTTPBIN_PORT, '/')).status, 0)
        },
      },
    ],
  },
]
