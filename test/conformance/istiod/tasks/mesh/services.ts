/** The services of the mesh that the tasks are done in, in Istio's names, and what is outside of it. */
import { SIDECAR_LABEL } from '../../rig/app.ts'
import { HERE_IP, THERE_IP } from '../../rig/outside.ts'
import type { AppKind, FarApp } from './apps.ts'

/** Two machines of nobody's in the mesh. Their addresses are among those that are captured. */
export const EXTERNAL = '10.96.9.9'
export const EXTERNAL_TWO = '10.96.9.8'
/** What resolvers outside of the mesh say. */
export const NAMES = {
  'external.test': EXTERNAL,
  'www.wild.test': EXTERNAL,
  'other.wild.test': EXTERNAL_TWO,
  'www.looped.test': EXTERNAL,
}
export const EXTERNAL_TCP_PORT = 9100
/** Of EXTERNAL. */
export const AUTHZ_PORT = 8000
export const AUTHZ_GRPC_PORT = 9191
export const LIMITS_PORT = 9192
export const JWKS_PORT = 8001
export const OTLP_PORT = 4317

/** Where endpoints of the network site-2 are reached. */
export const GATEWAY = { address: HERE_IP, port: 15_443 }

/** meshlet as a gateway, at an address of its own on the near machine. */
export const GATEWAY_IP = '192.168.77.3'
export const GATEWAY_NETWORK = 'site-3'
/** Shows that the gateway has the configuration at hand. */
const MARKER_PORT = 15_999

type Version = { readonly version: string; readonly port: number; readonly labels?: string }
type Service = {
  readonly name: string
  readonly kind: AppKind
  readonly protocol: string
  readonly port: number
  readonly vip: string
  readonly versions: readonly Version[]
}

export const SERVICES = {
  reviews: {
    name: 'reviews',
    kind: 'http',
    protocol: 'HTTP',
    port: 9080,
    vip: '10.96.1.1',
    versions: [
      { version: 'v1', port: 9081 },
      { version: 'v2', port: 9082 },
      { version: 'v3', port: 9083 },
    ],
  },
  httpbin: {
    name: 'httpbin',
    kind: 'http',
    protocol: 'HTTP',
    port: 8000,
    vip: '10.96.1.2',
    versions: [{ version: 'v1', port: 8081 }],
  },
  tcpEcho: {
    name: 'tcp-echo',
    kind: 'echo',
    protocol: 'TCP',
    port: 9000,
    vip: '10.96.1.3',
    versions: [
      { version: 'v1', port: 9001 },
      { version: 'v2', port: 9002 },
    ],
  },
  greeter: {
    name: 'greeter',
    kind: 'greeter',
    protocol: 'TCP',
    port: 3306,
    vip: '10.96.1.4',
    versions: [{ version: 'v1', port: 3307 }],
  },
  secure: {
    name: 'secure',
    kind: 'https',
    protocol: 'TLS',
    port: 8443,
    vip: '10.96.1.6',
    versions: [{ version: 'v1', port: 8444 }],
  },
  grpc: {
    name: 'grpc',
    kind: 'grpc',
    protocol: 'GRPC',
    port: 7070,
    vip: '10.96.1.5',
    versions: [
      { version: 'v1', port: 7071 },
      { version: 'v2', port: 7072 },
    ],
  },
} as const satisfies Readonly<Record<string, Service>>

export const hostOf = ({ name }: { readonly name: string }): string => `${name}.default.svc.cluster.local`
export const urlOf = (service: { readonly name: string; readonly port: number }, path = '/'): string =>
  `http://${hostOf(service)}:${service.port}${path}`

/** What the far machine's agent is the sidecar of, and what is outside of the mesh over there. */
export const FAR_APPS: readonly FarApp[] = [
  ...Object.values(SERVICES).flatMap((s) =>
    s.versions.map((v) => ({ name: `${s.name}-${v.version}`, kind: s.kind, address: THERE_IP, port: v.port })),
  ),
  { name: 'collector', kind: 'grpc', address: EXTERNAL, port: OTLP_PORT },
  { name: 'authz', kind: 'authz', address: EXTERNAL, port: AUTHZ_PORT },
  { name: 'authz-grpc', kind: 'authz-grpc', address: EXTERNAL, port: AUTHZ_GRPC_PORT },
  { name: 'limits', kind: 'limits', address: EXTERNAL, port: LIMITS_PORT },
  { name: 'jwks', kind: 'jwks', address: EXTERNAL, port: JWKS_PORT },
  ...[EXTERNAL, EXTERNAL_TWO].flatMap((address, i): FarApp[] => {
    const name = ['external', 'external-two'][i]!
    return [
      { name, kind: 'http', address, port: 80 },
      { name: `${name}-tls`, kind: 'https', address, port: 443 },
      { name: `${name}-tcp`, kind: 'echo', address, port: EXTERNAL_TCP_PORT },
    ]
  }),
]
export const INBOUND_PORTS = Object.values(SERVICES).flatMap((s) => s.versions.map((v) => v.port))

function serviceYaml(s: Service): string {
  const entries = s.versions.map(
    (v) => `---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ${s.name}-${v.version}, namespace: default}
spec:
  address: ${THERE_IP}
  ports: {main: ${v.port}}
  labels: {app: ${s.name}, version: ${v.version}, workload: bookinfo, ${SIDECAR_LABEL}}
  serviceAccount: bookinfo
`,
  )
  return `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${s.name}, namespace: default}
spec:
  hosts: [${hostOf(s)}]
  addresses: [${s.vip}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: ${s.port}, name: main, protocol: ${s.protocol}}]
  workloadSelector: {labels: {app: ${s.name}}}
${entries.join('')}`
}

export const SERVICES_YAML = Object.values(SERVICES).map(serviceYaml).join('')

/** A route table entry by which an agent shows that it has the configuration of that number. */
export const markerYaml = (text: string): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: marker, namespace: istio-system}
spec:
  hosts: [marker.istio-system.svc.cluster.local]
  addresses: [10.96.255.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 192.0.2.99}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: marker, namespace: istio-system}
spec:
  hosts: [marker.istio-system.svc.cluster.local]
  http: [{directResponse: {status: 200, body: {string: ${text}}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: marker, namespace: istio-system}
spec:
  selector: {app: gateway}
  servers: [{port: {number: ${MARKER_PORT}, name: http, protocol: HTTP}, hosts: ["marker.test"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: marker-gateway, namespace: istio-system}
spec:
  hosts: [marker.test]
  gateways: [istio-system/marker]
  http: [{directResponse: {status: 200, body: {string: ${text}}}}]
`
