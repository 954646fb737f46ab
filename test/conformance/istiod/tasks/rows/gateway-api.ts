/** Gateways of the Kubernetes Gateway API. */
import assert from 'node:assert/strict'
import { testCa } from '../../../../helpers/test-ca.ts'
import { callGrpc, talk } from '../mesh/calls.ts'
import { callGateway, GATEWAY_NAMESPACE } from '../mesh/gateway.ts'
import { GATEWAY_IP, hostOf, SERVICES } from '../mesh/services.ts'
import type { Task } from '../task.ts'

const { httpbin, grpc, tcpEcho, secure } = SERVICES
const INGRESS = 'ingress.istio-system.svc.cluster.local'
const ca = testCa('example.com')

/** The gateway as a Service of its namespace, and a Gateway there that names it. @param listeners YAML, one a line */
const api = (...listeners: readonly string[]): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ingress, namespace: istio-system}
spec:
  hosts: [${INGRESS}]
  addresses: [10.96.3.3]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}, {number: 31400, name: tcp, protocol: TCP}, {number: 9443, name: tls, protocol: TLS}]
  endpoints: [{address: ${GATEWAY_IP}, labels: {app: gateway}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: api, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: ${INGRESS}}]
  listeners:
${listeners.map((l) => `  - ${l}\n`).join('')}`
const route = (kind: string, spec: string): string => `---
apiVersion: gateway.networking.k8s.io/${kind === 'TCPRoute' || kind === 'TLSRoute' ? 'v1alpha2' : 'v1'}
kind: ${kind}
metadata: {name: ${kind.toLowerCase()}, namespace: istio-system}
spec:
  parentRefs: [{name: api}]
${spec}`
/** Of a ServiceEntry. */
const backend = (service: { readonly name: string; readonly port: number }): string =>
  `{group: networking.istio.io, kind: Hostname, name: ${hostOf(service)}, port: ${service.port}}`

export const gatewayApi: readonly Task[] = [
  {
    name: 'Gateway API: Gateway with HTTPRoute, GRPCRoute, TCPRoute, TLSRoute',
    page: 'tasks/traffic-management/ingress/gateway-api/',
    checks: [
      {
        what: 'HTTPRoute: hosts, paths, a header of the request changed',
        yaml:
          api('{name: http, port: 80, protocol: HTTP, hostname: "*.example.com"}') +
          route(
            'HTTPRoute',
            `  hostnames: [httpbin.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /get}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: my-added-header, value: added-value}]}}]
    backendRefs: [${backend(httpbin)}]
`,
          ),
        run: async () => {
          const { app, seen, body } = await callGateway('http://httpbin.example.com/get')
          assert.deepEqual([app, seen?.headers['my-added-header']], ['httpbin-v1', 'added-value'], body)
          assert.equal((await callGateway('http://httpbin.example.com/headers')).status, 404)
          assert.equal((await callGateway('http://other.example.com/get')).status, 404)
        },
      },
      {
        what: 'HTTPS with a Secret of the namespace of the Gateway',
        yaml:
          api(
            '{name: https, port: 443, protocol: HTTPS, hostname: httpbin.example.com, tls: {certificateRefs: [{name: httpbin-api}]}}',
          ) + route('HTTPRoute', `  rules: [{backendRefs: [${backend(httpbin)}]}]\n`),
        run: async (mesh) => {
          const { chainPem, keyPem } = ca.issue('x', 'httpbin', { dnsNames: ['httpbin.example.com'] })
          mesh.istiod.secret(GATEWAY_NAMESPACE, 'httpbin-api', { 'tls.crt': chainPem, 'tls.key': keyPem })
          await mesh.eventually(
            () => callGateway('https://httpbin.example.com/', { ca: ca.rootsPem }),
            (a) => a.status === 200,
            (a) => assert.equal(a.app, 'httpbin-v1', a.body),
          )
        },
      },
      {
        what: 'GRPCRoute and TCPRoute',
        yaml:
          api(
            '{name: http, port: 80, protocol: HTTP}',
            '{name: tcp, port: 31400, protocol: TCP, allowedRoutes: {kinds: [{kind: TCPRoute}]}}',
          ) +
          route('GRPCRoute', `  rules: [{backendRefs: [${backend(grpc)}]}]\n`).replace(
            '{name: api}',
            '{name: api, sectionName: http}',
          ) +
          route('TCPRoute', `  rules: [{backendRefs: [${backend(tcpEcho)}]}]\n`).replace(
            '{name: api}',
            '{name: api, sectionName: tcp}',
          ),
        run: async () => {
          assert.match((await callGrpc(GATEWAY_IP, 80, '/echo.Echo/One')).app, /^grpc-/)
          assert.match(await talk(GATEWAY_IP, 31_400, 'x\n'), /^tcp-echo-v\d x\n$/)
        },
      },
      {
        what: 'TLSRoute: TLS passes by its SNI',
        yaml:
          api(
            '{name: tls, port: 9443, protocol: TLS, hostname: external.test, tls: {mode: Passthrough}, allowedRoutes: {kinds: [{kind: TLSRoute}]}}',
          ) + route('TLSRoute', `  hostnames: [external.test]\n  rules: [{backendRefs: [${backend(secure)}]}]\n`),
        run: async (mesh) => {
          const { app, body } = await callGateway('https://external.test:9443/', { ca: mesh.external.server.ca })
          assert.equal(app, 'secure-v1', body)
        },
      },
    ],
  },
]
