/** Traffic management: meshlet as an ingress gateway. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import tls from 'node:tls'
import { certificate, crl, type Made } from '../../../../helpers/odd-certificates.ts'
import { testCa, type TestCa } from '../../../../helpers/test-ca.ts'
import { talk } from '../mesh/calls.ts'
import { callGateway, GATEWAY_NAMESPACE, type TlsClient } from '../mesh/gateway.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { GATEWAY_IP, hostOf, SERVICES } from '../mesh/services.ts'
import type { Check, Task } from '../task.ts'
import { behind, gateway } from '../yaml/gateway-yaml.ts'
import { destinationRule } from '../yaml/yaml.ts'

const { httpbin, reviews, tcpEcho, secure } = SERVICES
const HTTP = 'port: {number: 80, name: http, protocol: HTTP}'
const https = (name: string, mode: string, more = ''): string =>
  `{port: {number: 443, name: https-${name}, protocol: HTTPS}, tls: {mode: ${mode}, credentialName: ${name}-credential${more}}, hosts: ["${name}.example.com"]}`
const toHttpbin = `route: [{destination: {host: ${hostOf(httpbin)}, port: {number: ${httpbin.port}}}}]`
const toReviews = `route: [{destination: {host: ${hostOf(reviews)}, port: {number: ${reviews.port}}}}]`

const HTTPBIN = 'https://httpbin.example.com/status/200'
const HELLO = 'https://hello.example.com/'
const ca = testCa('example.com')
const clients = testCa('clients')

/** Puts a certificate for NAME.example.com there, and what else the Secret holds. */
function secret(mesh: Mesh, name: string, by: TestCa = ca, more: Readonly<Record<string, string>> = {}): void {
  const { chainPem, keyPem } = by.issue('example', name, { dnsNames: [`${name}.example.com`] })
  mesh.istiod.secret(GATEWAY_NAMESPACE, `${name}-credential`, { 'tls.crt': chainPem, 'tls.key': keyPem, ...more })
}
const asClient = (by: TestCa): TlsClient => {
  const { chainPem, keyPem } = by.issue('outside', 'client', { dnsNames: ['client.example.com'] })
  return { ca: ca.rootsPem, cert: chainPem, key: keyPem }
}
const OUTSIDE: TlsClient = { ca: ca.rootsPem }

/** A Secret is not part of what `mesh.set` waits for. */
const becomes = (mesh: Mesh, url: string, client: TlsClient, status: number): Promise<void> =>
  mesh.eventually(
    () => callGateway(url, client),
    (a) => a.status === status,
    (a) => assert.equal(a.status, status, a.body),
  )

const HOSTS =
  behind('httpbin', 'httpbin.example.com', `  http: [{match: [{uri: {prefix: /status}}], ${toHttpbin}}]\n`) +
  behind('hello', 'hello.example.com', `  http: [{${toReviews}}]\n`)

const secureChecks: readonly Check[] = [
  {
    what: 'SIMPLE for several hosts of one port, each with its certificate; HTTP/2 by ALPN; another name is refused',
    run: async (mesh) => {
      secret(mesh, 'httpbin')
      secret(mesh, 'hello')
      await becomes(mesh, HTTPBIN, OUTSIDE, 200)
      await becomes(mesh, HELLO, OUTSIDE, 200)
      assert.equal((await callGateway('https://other.example.com/', OUTSIDE)).status, 0)
      assert.equal(await requestHttp2('httpbin.example.com', '/status/200'), 200)
    },
  },
  {
    what: 'a replaced Secret counts for the next connection',
    run: async (mesh) => {
      const other = testCa('other.example.com')
      secret(mesh, 'httpbin', other)
      await becomes(mesh, HTTPBIN, { ca: other.rootsPem }, 200)
      assert.equal((await callGateway(HTTPBIN, OUTSIDE)).status, 0)
      assert.equal((await callGateway(HELLO, OUTSIDE)).status, 200)
      secret(mesh, 'httpbin')
      await becomes(mesh, HTTPBIN, OUTSIDE, 200)
    },
  },
  {
    what: 'without its Secret a host refuses, the others serve',
    yaml:
      gateway('gw', https('httpbin', 'SIMPLE'), https('hello', 'SIMPLE').replace('hello-credential', 'nowhere')) +
      HOSTS,
    run: async (mesh) => {
      await becomes(mesh, HTTPBIN, OUTSIDE, 200)
      assert.equal((await callGateway(HELLO, OUTSIDE)).status, 0)
      const told = (await mesh.gateway.agent.status())?.problems.map((p) => p.text).join()
      assert.match(String(told), /kubernetes:\/\/nowhere has not come/)
    },
  },
  {
    what: 'MUTUAL: no certificate and one of somebody else are refused; the application is told whose it is',
    yaml: gateway('gw', https('httpbin', 'MUTUAL')) + HOSTS,
    run: async (mesh) => {
      secret(mesh, 'httpbin', ca, { 'ca.crt': clients.rootsPem })
      await becomes(mesh, HTTPBIN, asClient(clients), 200)
      assert.equal((await callGateway(HTTPBIN, OUTSIDE)).status, 0)
      assert.equal((await callGateway(HTTPBIN, asClient(ca))).status, 0)
      const { seen } = await callGateway(HTTPBIN, asClient(clients))
      assert.match(String(seen?.headers['x-forwarded-client-cert']), /DNS=client\.example\.com/)
    },
  },
  {
    what: 'OPTIONAL_MUTUAL: none is fine, a bad one is not',
    yaml: gateway('gw', https('httpbin', 'OPTIONAL_MUTUAL')) + HOSTS,
    run: async (mesh) => {
      secret(mesh, 'httpbin', ca, { 'ca.crt': clients.rootsPem })
      await becomes(mesh, HTTPBIN, OUTSIDE, 200)
      assert.equal((await callGateway(HTTPBIN, asClient(clients))).status, 200)
      assert.equal((await callGateway(HTTPBIN, asClient(ca))).status, 0)
    },
  },
  {
    what: 'a client whose certificate is revoked (ca.crl) is refused, once it is',
    yaml: gateway('gw', https('httpbin', 'MUTUAL')) + HOSTS,
    run: async (mesh) => {
      const issuer = certificate({ name: 'clients', ca: 'ca', keyUsage: 0x06 })
      const [good, bad] = [1, 2].map((no) => certificate({ issuer, name: `client ${no}`, uses: ['client'] }))
      const as = (one = good): TlsClient => ({ ca: ca.rootsPem, cert: one?.pem, key: one?.keyPem })
      const revoke = (revoked: readonly Made[]): void =>
        secret(mesh, 'httpbin', ca, { 'ca.crt': issuer.pem, 'ca.crl': crl({ issuer, revoked }) })
      revoke([])
      await becomes(mesh, HTTPBIN, as(bad), 200)
      revoke([bad!])
      await becomes(mesh, HTTPBIN, as(bad), 0)
      assert.equal((await callGateway(HTTPBIN, as())).status, 200)
    },
  },
  {
    what: 'roots of clients in a Secret NAME-cacert; a version of TLS at least',
    yaml: gateway('gw', https('hello', 'MUTUAL', ', minProtocolVersion: TLSV1_3')) + HOSTS,
    run: async (mesh) => {
      secret(mesh, 'hello')
      mesh.istiod.secret(GATEWAY_NAMESPACE, 'hello-credential-cacert', { 'ca.crt': clients.rootsPem })
      await becomes(mesh, HELLO, asClient(clients), 200)
      assert.equal((await callGateway(HELLO, OUTSIDE)).status, 0)
      const old = { ...asClient(clients), maxVersion: 'TLSv1.2' } as const
      assert.equal((await callGateway(HELLO, old)).status, 0)
    },
  },
]

async function requestHttp2(host: string, path: string): Promise<number> {
  const session = http2.connect(`https://${GATEWAY_IP}`, { servername: host, ca: ca.rootsPem })
  session.on('error', () => {})
  const stream = session.request({ ':authority': host, ':path': path }).resume()
  stream.on('error', () => {})
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  session.close()
  return Number(head[':status'])
}

/** What the service behind a server of TLS says to a line; '' when the client is refused. */
function talkTls(port: number, servername: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = tls.connect({ host: GATEWAY_IP, port, servername, ca: ca.rootsPem })
    socket.setTimeout(5_000, () => socket.destroy())
    socket.on('error', () => resolve('')).on('close', () => resolve(''))
    socket.once('secureConnect', () => socket.write('x\n'))
    socket.once('data', (bytes: Buffer) => {
      resolve(bytes.toString())
      socket.destroy()
    })
  })
}

const TCP_PORT = 31_400
const toEcho = (subset: string): string =>
  `route: [{destination: {host: ${hostOf(tcpEcho)}, port: {number: ${tcpEcho.port}}, subset: ${subset}}}]`

export const gateways: readonly Task[] = [
  {
    name: 'Ingress gateway: HTTP',
    page: 'tasks/traffic-management/ingress/ingress-control/',
    yaml:
      gateway('gw', `{${HTTP}, hosts: ["httpbin.example.com", "hello.example.com"]}`) +
      behind(
        'httpbin',
        'httpbin.example.com',
        `  http: [{match: [{uri: {prefix: /status}}, {uri: {prefix: /delay}}], ${toHttpbin}}]\n`,
      ) +
      behind('hello', 'hello.example.com', `  http: [{${toReviews}}]\n`),
    checks: [
      {
        what: 'what a VirtualService names is reached, other paths and hosts get 404',
        run: async () => {
          const { status, app, body } = await callGateway('http://httpbin.example.com/status/200')
          assert.deepEqual([status, app], [200, 'httpbin-v1'], body)
          assert.match((await callGateway('http://hello.example.com/')).app, /^reviews-/)
          assert.equal((await callGateway('http://httpbin.example.com/headers')).status, 404)
          assert.equal((await callGateway('http://other.example.com/status/200')).status, 404)
        },
      },
      {
        what: 'the port of its Service leads to the port of the machine',
        yaml:
          ingressService('{number: 80, name: http, protocol: HTTP}', 'http: 8080') +
          gateway('gw', `{${HTTP}, hosts: ["*"]}`) +
          behind('httpbin', '*', `  http: [{${toHttpbin}}]\n`),
        run: async () => {
          assert.equal((await callGateway('http://any.example.com:8080/')).app, 'httpbin-v1')
          assert.equal((await callGateway('http://any.example.com/')).status, 0)
        },
      },
      {
        what: 'httpsRedirect',
        yaml: gateway('gw', `{${HTTP}, tls: {httpsRedirect: true}, hosts: ["httpbin.example.com"]}`) + HOSTS,
        run: async () => {
          const { status, headers } = await callGateway('http://httpbin.example.com/status/200')
          assert.deepEqual([status, headers.location], [301, HTTPBIN])
        },
      },
    ],
  },
  {
    name: 'Secure gateways: SIMPLE, MUTUAL, OPTIONAL_MUTUAL, several hosts, rotation',
    page: 'tasks/traffic-management/ingress/secure-ingress/',
    yaml: gateway('gw', https('httpbin', 'SIMPLE'), https('hello', 'SIMPLE')) + HOSTS,
    checks: secureChecks,
  },
  {
    name: 'Ingress gateway without TLS termination',
    page: 'tasks/traffic-management/ingress/ingress-sni-passthrough/',
    yaml:
      gateway(
        'gw',
        '{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: PASSTHROUGH}, hosts: ["external.test"]}',
      ) +
      behind(
        'secure',
        'external.test',
        `  tls: [{match: [{port: 443, sniHosts: [external.test]}], route: [{destination: {host: ${hostOf(secure)}, port: {number: ${secure.port}}}}]}]\n`,
      ),
    checks: [
      {
        what: "TLS passes to the application by its SNI, and is the application's; another name is refused",
        run: async (mesh) => {
          const client = { ca: mesh.external.server.ca }
          const { app, seen, body } = await callGateway('https://external.test/', client)
          assert.deepEqual([app, seen?.sni], ['secure-v1', 'external.test'], body)
          assert.equal((await callGateway('https://www.wild.test/', client)).status, 0)
        },
      },
    ],
  },
  {
    name: 'Ingress gateway: TCP, and TLS ended for TCP',
    page: 'tasks/traffic-management/tcp-traffic-shifting/',
    yaml:
      destinationRule(tcpEcho, { subsets: ['v1', 'v2'] }) +
      gateway(
        'gw',
        `{port: {number: ${TCP_PORT}, name: tcp, protocol: TCP}, hosts: ["*"]}`,
        '{port: {number: 31401, name: tls, protocol: TLS}, tls: {mode: SIMPLE, credentialName: httpbin-credential}, hosts: ["httpbin.example.com"]}',
      ) +
      behind('echo', '*', `  tcp: [{match: [{port: ${TCP_PORT}}], ${toEcho('v2')}}]\n`) +
      behind('echo-tls', 'httpbin.example.com', `  tcp: [{match: [{port: 31401}], ${toEcho('v1')}}]\n`),
    checks: [
      {
        what: 'bytes go to the subset that is named',
        run: async (mesh) => {
          secret(mesh, 'httpbin')
          assert.equal(await talk(GATEWAY_IP, TCP_PORT, 'x\n'), 'tcp-echo-v2 x\n')
          await mesh.eventually(
            () => talkTls(31_401, 'httpbin.example.com'),
            (said) => said !== '',
            (said) => assert.equal(said, 'tcp-echo-v1 x\n'),
          )
        },
      },
    ],
  },
]

/** @param ports of the Service, @param endpoint ports of the machine by name */
function ingressService(ports: string, endpoint: string): string {
  return `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ingress, namespace: istio-system}
spec:
  hosts: [istio-ingressgateway.istio-system.svc.cluster.local]
  addresses: [10.96.3.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [${ports}]
  endpoints: [{address: ${GATEWAY_IP}, ports: {${endpoint}}}]
`
}
