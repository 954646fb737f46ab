/** Names, scopes, routes of the Gateway API, and what leads to other networks. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { once } from 'node:events'
import path from 'node:path'
import { SIDECAR_LABEL } from '../../rig/app.ts'
import { HERE_IP, THERE_IP } from '../../rig/outside.ts'
import { call, callGrpc, callTls, lookUp, talk } from '../mesh/calls.ts'
import { GATEWAY, hostOf, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { countApps, envoyFilter } from '../yaml/yaml.ts'

const { httpbin, reviews, tcpEcho, grpc } = SERVICES
const HTTPBIN_PORT = httpbin.versions[0].port

type Entry = {
  readonly vip?: string
  /** YAML of its ports. */
  readonly ports: string
  /** YAML of its endpoints. */
  readonly endpoints: string
}
const entry = (name: string, { vip, ports, endpoints }: Entry): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: default}
spec:
  hosts: [${name}.default.svc.cluster.local]
${vip === undefined ? '' : `  addresses: [${vip}]\n`}  location: MESH_INTERNAL
  resolution: STATIC
  ports: [${ports}]
  endpoints: [${endpoints}]
`
const FAR = (port: number, name = 'main'): string =>
  `{address: ${THERE_IP}, ports: {${name}: ${port}}, labels: {${SIDECAR_LABEL}}, serviceAccount: bookinfo}`
const named = (name: string): string => `${name}.default.svc.cluster.local`

const sidecar = (namespace: string, spec: string): string => `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: ${namespace}}
spec:
${spec}`

/** Of the Gateway API, for a service of the mesh. */
const route = (kind: string, service: { readonly name: string; readonly port: number }, rules: string): string => `---
apiVersion: gateway.networking.k8s.io/${kind === 'TCPRoute' ? 'v1alpha2' : 'v1'}
kind: ${kind}
metadata: {name: ${service.name}, namespace: default}
spec:
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: ${service.name}, port: ${service.port}}]
  rules:
${rules}`
const backend = (name: string, port: number, more = ''): string =>
  `{group: networking.istio.io, kind: Hostname, name: ${named(name)}, port: ${port}${more}}`
const VERSIONS =
  entry('reviews-two', {
    vip: '10.96.2.1',
    ports: '{number: 9080, name: main, protocol: HTTP}',
    endpoints: FAR(9082),
  }) +
  entry('grpc-two', { vip: '10.96.2.2', ports: '{number: 7070, name: main, protocol: GRPC}', endpoints: FAR(7072) }) +
  entry('echo-two', { vip: '10.96.2.3', ports: '{number: 9000, name: main, protocol: TCP}', endpoints: FAR(9002) })

export const networking: readonly Task[] = [
  {
    name: 'DNS proxying',
    page: 'ops/configuration/traffic-management/dns-proxy/',
    yaml: entry('allocated', { ports: '{number: 9000, name: tcp, protocol: TCP}', endpoints: FAR(9001, 'tcp') }),
    checks: [
      {
        what: 'given and allocated addresses, names that nobody has, names outside',
        run: async () => {
          assert.deepEqual(await lookUp(hostOf(httpbin)), [httpbin.vip])
          assert.match(String(await lookUp(named('allocated'))), /^240\.240\./)
          assert.equal(await talk(named('allocated'), 9000, 'x\n'), 'tcp-echo-v1 x\n')
          assert.equal(await lookUp('nobody.default.svc.cluster.local'), 'ENOTFOUND')
          assert.deepEqual(await lookUp('external.test'), ['10.96.9.9'])
        },
      },
    ],
  },
  {
    name: 'Protocol detection',
    page: 'ops/configuration/traffic-management/protocol-selection/#automatic-protocol-selection',
    yaml: `${entry('auto', { vip: '10.96.2.4', ports: '{number: 9700, name: main}', endpoints: FAR(HTTPBIN_PORT) })}${entry('auto-tcp', { vip: '10.96.2.5', ports: '{number: 9700, name: main}', endpoints: FAR(9001) })}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: auto, namespace: default}
spec:
  hosts: [${named('auto')}]
  http:
  - {match: [{uri: {prefix: /direct}}], directResponse: {status: 418}}
  - {route: [{destination: {host: ${named('auto')}}}]}
`,
    checks: [
      {
        what: 'HTTP is routed as HTTP, everything else passes as TCP',
        run: async () => {
          assert.equal((await call(`http://${named('auto')}:9700/direct`)).status, 418)
          assert.equal((await call(`http://${named('auto')}:9700/`)).app, 'httpbin-v1')
          assert.equal(await talk(named('auto-tcp'), 9700, 'x\n'), 'tcp-echo-v1 x\n')
        },
      },
    ],
  },
  {
    name: 'Sidecar: scope and ingress',
    page: 'reference/config/networking/sidecar/',
    checks: [
      {
        what: 'only what is named is known',
        yaml: sidecar(
          'curl',
          `  outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n  egress: [{hosts: ["./*", "istio-system/*", "default/${hostOf(httpbin)}"]}]\n`,
        ),
        run: async () => {
          assert.equal((await call(urlOf(httpbin))).status, 200)
          assert.equal((await call(urlOf(reviews), { to: reviews.vip })).status, 0)
          assert.equal(await lookUp(hostOf(reviews)), 'ENOTFOUND')
        },
      },
      {
        what: 'ingress leads a port to another one of the application',
        yaml: sidecar(
          'default',
          `  workloadSelector: {labels: {workload: bookinfo}}
  ingress: [{port: {number: ${HTTPBIN_PORT}, protocol: HTTP, name: http}, defaultEndpoint: "0.0.0.0:9081"}]
  egress: [{hosts: ["*/*"]}]
`,
        ),
        run: async () => {
          assert.equal((await call(urlOf(httpbin))).app, 'reviews-v1')
        },
      },
    ],
  },
  {
    name: 'Ingress sidecar TLS termination',
    page: 'tasks/traffic-management/ingress/ingress-sidecar-tls-termination/',
    checks: [
      {
        what: 'the sidecar ends TLS with a certificate of a file, other ports stay as they are',
        run: async (mesh) => {
          const file = (name: string): string => path.join(mesh.external.folder, name)
          await mesh.set({
            yaml: `${sidecar(
              'default',
              `  workloadSelector: {labels: {workload: bookinfo}}
  ingress:
  - port: {number: ${HTTPBIN_PORT}, protocol: HTTPS, name: https}
    defaultEndpoint: "0.0.0.0:9081"
    tls: {mode: SIMPLE, privateKey: ${file('server-key.pem')}, serverCertificate: ${file('server-chain.pem')}}
  egress: [{hosts: ["*/*"]}]
`,
            )}---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: disable, namespace: default}
spec:
  selector: {matchLabels: {workload: bookinfo}}
  mtls: {mode: STRICT}
  portLevelMtls: {${HTTPBIN_PORT}: {mode: DISABLE}}
`,
          })
          assert.match(await callTls(THERE_IP, HTTPBIN_PORT, 'external.test'), /^reviews-v1 /)
          assert.equal((await mesh.plain(9082, '/')).status, 0)
        },
      },
    ],
  },
  {
    name: 'A service with two ports, and the explicit HTTP proxy',
    page: 'reference/config/istio.mesh.v1alpha1/#MeshConfig-proxy_http_port',
    yaml: entry('twin', {
      vip: '10.96.2.6',
      ports: '{number: 8081, name: one, protocol: HTTP}, {number: 8082, name: two, protocol: HTTP}',
      endpoints: `{address: ${THERE_IP}, ports: {one: 9081, two: 9082}, labels: {${SIDECAR_LABEL}}, serviceAccount: bookinfo}`,
    }),
    checks: [
      {
        what: 'each port leads to its own, by address',
        run: async () => {
          assert.equal((await call(`http://${named('twin')}:8081/`)).app, 'reviews-v1')
          assert.equal((await call(`http://${named('twin')}:8082/`)).app, 'reviews-v2')
        },
      },
      {
        what: 'each port leads to its own, through the proxy',
        run: async ({ near }) => {
          for (const [port, app] of [
            [8081, 'reviews-v1'],
            [8082, 'reviews-v2'],
          ] as const)
            assert.match((await near.get(`http://${named('twin')}:${port}/`)).body, new RegExp(`"app":"${app}"`))
        },
      },
    ],
  },
  {
    name: 'Gateway API for services: HTTPRoute, GRPCRoute, TCPRoute',
    page: 'tasks/traffic-management/ingress/gateway-api/#mesh-traffic',
    checks: [
      {
        what: 'HTTPRoute: header match, weights, redirect, header changes',
        yaml: `${VERSIONS}${route(
          'HTTPRoute',
          reviews,
          `  - matches: [{path: {type: PathPrefix, value: /}, headers: [{type: Exact, name: end-user, value: jason}]}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-route, value: jason}]}}]
    backendRefs: [${backend('reviews-two', 9080)}]
  - matches: [{path: {type: PathPrefix, value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: there.example, statusCode: 302}}]
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [${backend('reviews-two', 9080, ', weight: 50')}, ${backend('httpbin', 8000, ', weight: 50')}]
`,
        )}`,
        run: async () => {
          const jason = await call(urlOf(reviews), { headers: { 'end-user': 'jason' } })
          assert.deepEqual([jason.app, jason.seen?.headers['x-route']], ['reviews-v2', 'jason'])
          const moved = await call(urlOf(reviews, '/moved'))
          assert.deepEqual([moved.status, moved.headers.location?.includes('there.example')], [302, true])
          const counts = await countApps(urlOf(reviews), 60)
          assert.deepEqual(Object.keys(counts).sort(), ['httpbin-v1', 'reviews-v2'], JSON.stringify(counts))
        },
      },
      {
        what: 'HTTPRoute: a copy to another service',
        yaml: `${VERSIONS}${route(
          'HTTPRoute',
          reviews,
          `  - matches: [{path: {type: PathPrefix, value: /}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: ${backend('reviews-two', 9080)}}}]
    backendRefs: [${backend('httpbin', 8000)}]
`,
        )}`,
        run: async (mesh) => {
          await mesh.seen('reviews-v2')
          assert.equal((await call(urlOf(reviews, '/copied'))).app, 'httpbin-v1')
          const copies = await mesh.eventually(
            () => mesh.seen('reviews-v2'),
            (all) => all.length > 0,
            (all) => all.map((one) => one.url),
          )
          assert.deepEqual(copies, ['/copied'])
        },
      },
      {
        what: 'GRPCRoute by method',
        yaml: `${VERSIONS}${route(
          'GRPCRoute',
          grpc,
          `  - matches: [{method: {type: Exact, service: echo.Echo, method: Two}}]
    backendRefs: [${backend('grpc-two', 7070)}]
`,
        )}`,
        run: async () => {
          for (let i = 0; i < 4; i++)
            assert.equal((await callGrpc(hostOf(grpc), grpc.port, '/echo.Echo/Two')).app, 'grpc-v2')
        },
      },
      {
        what: 'TCPRoute',
        yaml: `${VERSIONS}${route('TCPRoute', tcpEcho, `  - backendRefs: [${backend('echo-two', 9000)}]\n`)}`,
        run: async () => {
          for (let i = 0; i < 4; i++) assert.equal(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'), 'tcp-echo-v2 x\n')
        },
      },
    ],
  },
  {
    name: 'Multi-network: SNI-DNAT through an east-west gateway (client side)',
    page: 'setup/install/multicluster/multi-primary_multi-network/',
    yaml: entry('remote', {
      vip: '10.96.2.7',
      ports: '{number: 9080, name: main, protocol: HTTP}',
      endpoints: `{address: 10.200.0.1, network: site-2, ports: {main: ${HTTPBIN_PORT}}, labels: {${SIDECAR_LABEL}}, serviceAccount: bookinfo}`,
    }),
    checks: [
      {
        what: 'the gateway gets mutual TLS that is meant for the workload, and its name as SNI',
        run: async () => {
          let hello = ''
          const gateway = net.createServer((socket) => {
            const to = net.connect(HTTPBIN_PORT, THERE_IP)
            socket.once('data', (bytes) => {
              hello = bytes.toString('latin1')
            })
            for (const one of [socket, to]) one.on('error', () => socket.destroy(to.destroy().errored ?? undefined))
            socket.pipe(to).pipe(socket)
          })
          gateway.listen(GATEWAY.port, HERE_IP)
          await once(gateway, 'listening')
          try {
            const { app, seen, body } = await call(`http://${named('remote')}:9080/`)
            assert.equal(app, 'httpbin-v1', body)
            assert.match(
              String(seen?.headers['x-forwarded-client-cert']),
              /URI=spiffe:\/\/cluster\.local\/ns\/curl\/sa\/curl$/,
            )
            assert.ok(hello.includes(`outbound_.9080_._.${named('remote')}`))
          } finally {
            gateway.close()
          }
        },
      },
    ],
  },
  {
    name: 'PROXY protocol',
    page: 'reference/config/networking/destination-rule/#TrafficPolicy-ProxyProtocol',
    checks: [
      {
        what: 'outbound: the endpoint is told who calls',
        yaml: `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxied, namespace: curl}
spec:
  hosts: [proxied.test]
  exportTo: ["."]
  addresses: [10.96.8.2]
  resolution: STATIC
  ports: [{number: 9100, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.96.9.9}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: proxied, namespace: curl}
spec:
  host: proxied.test
  exportTo: ["."]
  trafficPolicy: {proxyProtocol: {version: V1}}
`,
        run: async () => {
          assert.match(await talk('proxied.test', 9100, 'x\n'), /^external-tcp PROXY TCP4 192\.168\.77\.1 /)
        },
      },
      {
        what: 'inbound: the header of a load balancer is taken',
        yaml: envoyFilter(
          'proxy-protocol',
          `  - applyTo: LISTENER_FILTER
    match: {context: SIDECAR_INBOUND}
    patch:
      operation: INSERT_FIRST
      value:
        name: proxy_protocol
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
          allow_requests_without_proxy_protocol: true
`,
        ),
        run: async (mesh) => {
          const request = 'GET / HTTP/1.1\r\nhost: far\r\nconnection: close\r\n\r\n'
          const said = await talk(THERE_IP, HTTPBIN_PORT, `PROXY TCP4 203.0.113.7 ${THERE_IP} 4711 8081\r\n${request}`)
          assert.match(said, /^HTTP\/1\.1 200/)
          assert.equal((await mesh.plain(HTTPBIN_PORT, '/')).status, 200)
        },
      },
    ],
  },
]
