/** Security and telemetry at a gateway: who may come in, and what applications are told of clients. */
import assert from 'node:assert/strict'
import { call } from '../mesh/calls.ts'
import { callGateway } from '../mesh/gateway.ts'
import { AUTHZ_PORT, EXTERNAL, GATEWAY_IP, hostOf, SERVICES } from '../mesh/services.ts'
import { bearer, ISSUER, JWKS, makeToken } from '../mesh/tokens.ts'
import { HERE_IP } from '../../rig/outside.ts'
import type { Task } from '../task.ts'
import { behind, gateway } from '../yaml/gateway-yaml.ts'

const { httpbin, reviews } = SERVICES
const URL = 'http://httpbin.example.com/headers'
const INGRESS =
  gateway('gw', '{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.example.com"]}') +
  behind(
    'httpbin',
    'httpbin.example.com',
    `  http: [{route: [{destination: {host: ${hostOf(httpbin)}, port: {number: ${httpbin.port}}}}]}]\n`,
  )
const ofGateway = (kind: string, spec: string): string => `---
apiVersion: security.istio.io/v1
kind: ${kind}
metadata: {name: at-gateway, namespace: istio-system}
spec:
  selector: {matchLabels: {app: gateway}}
${spec}`
const TOKENS = ofGateway('RequestAuthentication', `  jwtRules: [{issuer: ${ISSUER}, jwks: '${JWKS}'}]\n`)
/** Two addresses of this machine. */
const [here, there] = [{ localAddress: HERE_IP }, { localAddress: GATEWAY_IP }]
const from = (address: string): { readonly headers: Readonly<Record<string, string>> } => ({
  headers: { 'x-forwarded-for': address },
})
const FAR_CLIENT = '203.0.113.7'

export const gatewayPolicies: readonly Task[] = [
  {
    name: 'Ingress access control: addresses, X-Forwarded-For',
    page: 'tasks/security/authorization/authz-ingress/',
    checks: [
      {
        what: 'ipBlocks: the address that connects',
        yaml:
          INGRESS +
          ofGateway(
            'AuthorizationPolicy',
            `  action: DENY\n  rules: [{from: [{source: {ipBlocks: ["${HERE_IP}"]}}]}]\n`,
          ),
        run: async () => {
          assert.equal((await callGateway(URL, {}, here)).status, 403)
          assert.equal((await callGateway(URL, {}, there)).status, 200)
          assert.equal((await callGateway(URL, {}, { ...there, ...from(HERE_IP) })).status, 200)
        },
      },
      {
        what: 'remoteIpBlocks: the address that numTrustedProxies of the mesh says',
        yaml:
          INGRESS +
          ofGateway(
            'AuthorizationPolicy',
            `  action: ALLOW\n  rules: [{from: [{source: {remoteIpBlocks: ["${FAR_CLIENT}"]}}]}]\n`,
          ),
        run: async () => {
          assert.equal((await callGateway(URL, {}, from(FAR_CLIENT))).status, 200)
          assert.equal((await callGateway(URL)).status, 403)
          // One hop is believed, and no more.
          assert.equal((await callGateway(URL, {}, from(`${FAR_CLIENT}, 198.51.100.1`))).status, 403)
        },
      },
    ],
  },
  {
    name: 'Network topologies: X-Forwarded-For, X-Forwarded-Client-Cert',
    page: 'ops/configuration/traffic-management/network-topologies/',
    differs:
      'the mesh’s defaults count where istioctl’s mesh.yaml brings them; else they are set at the node (`node.metadata.PROXY_CONFIG.gatewayTopology`)',
    yaml: INGRESS,
    checks: [
      {
        what: 'applications see who came, and no certificate that a client made up',
        run: async () => {
          const headers = {
            ...from(FAR_CLIENT).headers,
            'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/istio-system/sa/admin',
            'x-envoy-peer-metadata': 'AAAA',
          }
          const { seen, body } = await callGateway(URL, {}, { ...here, headers })
          assert.equal(seen?.headers['x-forwarded-for'], `${FAR_CLIENT},${HERE_IP}`, body)
          assert.equal(seen?.headers['x-envoy-external-address'], FAR_CLIENT)
          assert.match(
            String(seen?.headers['x-forwarded-client-cert']),
            /URI=spiffe:\/\/cluster\.local\/ns\/istio-system\/sa\/gateway$/,
          )
          assert.ok(!String(seen?.headers['x-forwarded-client-cert']).includes('admin'))
          assert.equal(seen?.headers['x-envoy-peer-metadata'], undefined)
        },
      },
    ],
  },
  {
    name: 'JWT at the ingress gateway, and JWT claim based routing',
    page: 'tasks/security/authentication/jwt-route/',
    checks: [
      {
        what: 'a bad token gets 401; with a policy none gets 403',
        yaml:
          INGRESS +
          TOKENS +
          ofGateway(
            'AuthorizationPolicy',
            '  action: DENY\n  rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]\n',
          ),
        run: async () => {
          assert.equal((await callGateway(URL, {}, bearer(makeToken()))).status, 200)
          assert.equal((await callGateway(URL, {}, bearer('deadbeef'))).status, 401)
          assert.equal((await callGateway(URL)).status, 403)
        },
      },
      {
        what: 'a claim chooses the route; a client cannot say it by a header',
        yaml:
          INGRESS +
          TOKENS +
          behind(
            'reviews',
            'reviews.example.com',
            `  http:
  - match: [{headers: {"@request.auth.claims.groups": {exact: group1}}}]
    route: [{destination: {host: ${hostOf(reviews)}, port: {number: ${reviews.port}}}}]
`,
          ),
        run: async () => {
          const url = 'http://reviews.example.com/'
          assert.equal((await callGateway(url, {}, bearer(makeToken({ groups: 'group1' })))).status, 200)
          assert.equal((await callGateway(url, {}, bearer(makeToken({ groups: ['a', 'group1'] })))).status, 200)
          assert.equal((await callGateway(url, {}, bearer(makeToken({ groups: 'group2' })))).status, 404)
          const headers = { '@request.auth.claims.groups': 'group1' }
          assert.notEqual((await callGateway(url, {}, { headers })).status, 200)
        },
      },
    ],
  },
  {
    name: 'External authorization at the ingress gateway',
    page: 'tasks/security/authorization/authz-custom/',
    mesh: `extensionProviders:
- name: at-gateway
  envoyExtAuthzHttp: {service: ext-authz.test, port: ${AUTHZ_PORT}, includeRequestHeadersInCheck: [x-ext-authz]}
`,
    yaml: `${INGRESS}---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext-authz, namespace: default}
spec:
  hosts: [ext-authz.test]
  resolution: STATIC
  ports: [{number: ${AUTHZ_PORT}, name: http, protocol: HTTP}]
  endpoints: [{address: ${EXTERNAL}}]
${ofGateway('AuthorizationPolicy', '  action: CUSTOM\n  provider: {name: at-gateway}\n  rules: [{to: [{operation: {paths: ["/headers"]}}]}]\n')}`,
    checks: [
      {
        what: 'the service decides who comes in, on that path alone',
        run: async () => {
          assert.equal((await callGateway(URL, {}, { headers: { 'x-ext-authz': 'allow' } })).status, 200)
          assert.equal((await callGateway(URL, {}, { headers: { 'x-ext-authz': 'deny' } })).status, 403)
          assert.equal((await callGateway('http://httpbin.example.com/ip')).status, 200)
          assert.equal((await call(`http://${hostOf(httpbin)}:${httpbin.port}/headers`)).status, 200)
        },
      },
    ],
  },
]
