/** Traffic management: meshlet as an egress and as an east-west gateway. */
import assert from 'node:assert/strict'
import type { TLSSocket } from 'node:tls'
import { call, callTls } from '../mesh/calls.ts'
import { GATEWAY_NAMESPACE } from '../mesh/gateway.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { GATEWAY, GATEWAY_IP, GATEWAY_NETWORK, SERVICES } from '../mesh/services.ts'
import { meshConnect } from '../../rig/inbound.ts'
import { SIDECAR_LABEL } from '../../rig/app.ts'
import { THERE_IP } from '../../rig/outside.ts'
import type { Task } from '../task.ts'
import { gateway } from '../yaml/gateway-yaml.ts'

const REGISTRY_ONLY = 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n'
const HOST = 'external.test'
const URL = `http://${HOST}/`
const EGRESS = 'istio-egressgateway.istio-system.svc.cluster.local'

/** What is outside, and the gateway as a service, which gets no mutual TLS by itself. */
const outside = (): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: default}
spec:
  hosts: [${HOST}]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: egress, namespace: istio-system}
spec:
  hosts: [${EGRESS}]
  addresses: [10.96.3.2]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http2, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
  endpoints: [{address: ${GATEWAY_IP}, labels: {app: gateway, security.istio.io/tlsMode: disabled}, serviceAccount: gateway}]
`
/** From the mesh to the gateway, and from there on. @param onwards port of the host that the gateway goes to */
const throughGateway = (port: number, onwards: number): string => `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: through, namespace: default}
spec:
  hosts: [${HOST}]
  gateways: [default/gw, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: ${EGRESS}, port: {number: ${port}}}}]
  - match: [{gateways: [default/gw], port: ${port}}]
    route: [{destination: {host: ${HOST}, port: {number: ${onwards}}}}]
`
const rule = (name: string, host: string, settings: string): string => `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: ${GATEWAY_NAMESPACE}}
spec: {host: ${host}, ${settings}}
`
const PLAIN_GATEWAY = gateway('gw', `{port: {number: 80, name: http, protocol: HTTP}, hosts: [${HOST}]}`)
const MUTUAL_GATEWAY = gateway(
  'gw',
  `{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: ISTIO_MUTUAL}, hosts: [${HOST}]}`,
)
const MESH_TLS = rule(
  'egress',
  EGRESS,
  `trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: ISTIO_MUTUAL, sni: ${HOST}}}]}`,
)
const originate = (tls: string): string =>
  rule('external', HOST, `trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {${tls}}}]}`)

/** Of a client that external.test knows; what it is known by, too. */
function credential(mesh: Mesh, namespace = GATEWAY_NAMESPACE): void {
  const { cert, key, ca } = mesh.external.client
  mesh.istiod.secret(namespace, 'client-credential', { 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca })
}

/** What `ask` gives, which the gateway has had a connection of. */
async function carried<T>(mesh: Mesh, ask: () => Promise<T>): Promise<T> {
  const before = await mesh.gateway.metric('mesh_connections_accepted_total')
  const got = await ask()
  assert.ok((await mesh.gateway.metric('mesh_connections_accepted_total')) > before, 'it went past the gateway')
  return got
}

const DISTANT = 'distant.default.svc.cluster.local'
const HTTPBIN_PORT = SERVICES.httpbin.versions[0].port

export const gatewayEgress: readonly Task[] = [
  {
    name: 'Egress gateways: HTTP, HTTPS',
    page: 'tasks/traffic-management/egress/egress-gateway/',
    mesh: REGISTRY_ONLY,
    checks: [
      {
        what: 'HTTP leaves through the gateway',
        yaml: outside() + PLAIN_GATEWAY + throughGateway(80, 80),
        run: async (mesh) => {
          const { app, seen, body } = await carried(mesh, () => call(URL))
          assert.deepEqual([app, seen?.headers['host']], ['external', HOST], body)
        },
      },
      {
        what: 'HTTP over mutual TLS of the mesh to the gateway (ISTIO_MUTUAL)',
        yaml: outside() + MUTUAL_GATEWAY + MESH_TLS + throughGateway(443, 80),
        run: async (mesh) => {
          const { app, body } = await carried(mesh, () => call(URL))
          assert.equal(app, 'external', body)
        },
      },
      {
        what: 'TLS of the application leaves through the gateway by its SNI; other names do not',
        yaml: `${outside()}${gateway('gw', `{port: {number: 443, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: [${HOST}]}`)}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: through, namespace: default}
spec:
  hosts: [${HOST}]
  gateways: [default/gw, mesh]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [${HOST}]}]
    route: [{destination: {host: ${EGRESS}, port: {number: 443}}}]
  - match: [{gateways: [default/gw], port: 443, sniHosts: [${HOST}]}]
    route: [{destination: {host: ${HOST}, port: {number: 443}}}]
`,
        run: async (mesh) => {
          assert.equal(await carried(mesh, () => callTls(HOST, 443, HOST)), `external-tls ${HOST}`)
          assert.equal(await callTls(GATEWAY_IP, 443, HOST), `external-tls ${HOST}`)
          assert.equal(await callTls(GATEWAY_IP, 443, 'www.wild.test'), '')
        },
      },
    ],
  },
  {
    name: 'Egress gateways with TLS origination: SIMPLE, MUTUAL, credentialName',
    page: 'tasks/traffic-management/egress/egress-gateway-tls-origination/',
    mesh: REGISTRY_ONLY,
    checks: [
      {
        what: 'SIMPLE with roots of a Secret',
        yaml:
          outside() +
          PLAIN_GATEWAY +
          throughGateway(80, 443) +
          originate(`mode: SIMPLE, credentialName: client-credential, sni: ${HOST}`),
        run: async (mesh) => {
          credential(mesh)
          await mesh.eventually(
            () => call(URL),
            (a) => a.status === 200,
            (a) => assert.deepEqual([a.app, a.seen?.sni], ['external-tls', HOST], a.body),
          )
        },
      },
      {
        what: 'MUTUAL with the certificate of a Secret, mutual TLS of the mesh before it',
        yaml:
          outside() +
          MUTUAL_GATEWAY +
          MESH_TLS +
          throughGateway(443, 443) +
          originate(`mode: MUTUAL, credentialName: client-credential, sni: ${HOST}`),
        run: async (mesh) => {
          credential(mesh)
          await mesh.eventually(
            () => call(URL),
            (a) => a.status === 200,
            (a) => assert.match(String(a.seen?.certificate), /DNS:client\.test/, a.body),
          )
        },
      },
      {
        what: 'without the Secret nothing leaves',
        yaml:
          outside() +
          PLAIN_GATEWAY +
          throughGateway(80, 443) +
          originate(`mode: SIMPLE, credentialName: nowhere, sni: ${HOST}`),
        run: async (mesh) => {
          await mesh.seen('external-tls')
          assert.equal((await call(URL)).status, 503)
          assert.deepEqual(await mesh.seen('external-tls'), [])
        },
      },
    ],
  },
  {
    name: 'Multi-network: the east-west gateway (AUTO_PASSTHROUGH)',
    page: 'setup/install/multicluster/multi-primary_multi-network/',
    yaml: `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: distant, namespace: default}
spec:
  hosts: [${DISTANT}]
  addresses: [10.96.2.9]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: main, protocol: HTTP}]
  endpoints: [{address: ${THERE_IP}, network: ${GATEWAY_NETWORK}, ports: {main: ${HTTPBIN_PORT}}, labels: {${SIDECAR_LABEL}}, serviceAccount: bookinfo}]
${gateway('gw', `{port: {number: ${GATEWAY.port}, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ["*.local"]}`)}`,
    checks: [
      {
        what: 'a workload of another network is reached through it, with mutual TLS from end to end',
        run: async (mesh) => {
          const { app, seen, body } = await carried(mesh, () => call(`http://${DISTANT}:9080/`))
          assert.equal(app, 'httpbin-v1', body)
          const certificate = String(seen?.headers['x-forwarded-client-cert'])
          assert.match(certificate, /URI=spiffe:\/\/cluster.local\/ns\/curl\/sa\/curl$/)
        },
      },
      {
        what: 'a name that is no cluster, one of a port that is not there and TLS that is not of the mesh are refused',
        run: async (mesh) => {
          const identity = await mesh.identity('guest', 'guest')
          const to = async (servername: string, alpn = ['istio-http/1.1', 'istio']): Promise<number> => {
            const connect = (): Promise<TLSSocket> =>
              meshConnect(identity, { host: GATEWAY_IP, port: GATEWAY.port, servername, alpn })
            return (await call(`http://${GATEWAY_IP}/`, { connect })).status
          }
          assert.equal(await to(`outbound_.9080_._.${DISTANT}`), 200)
          assert.equal(await to(`outbound_.9080_._.${DISTANT}`, ['http/1.1']), 0)
          assert.equal(await to(`outbound_.9081_._.${DISTANT}`), 0)
          assert.equal(await to(DISTANT), 0)
          assert.equal(await to('BlackHoleCluster'), 0)
        },
      },
    ],
  },
]
