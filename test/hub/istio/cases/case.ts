/** Istio YAML that our compiler and an istiod are given, and the node that asks. */
import type { NodeSettings } from '../../../../control-sync/ads/node.ts'

export type YamlCase = {
  readonly name: string
  readonly yaml: string
  readonly node?: Partial<NodeSettings>
}

/** The node of a case that says nothing else. */
export const NODE: NodeSettings = {
  name: 'edge-1',
  namespace: 'edge',
  serviceAccount: 'gateway',
  ip: '10.0.0.9',
  clusterId: 'Kubernetes',
  network: '',
  meshId: 'cluster.local',
  labels: { app: 'edge' },
  locality: { region: '', zone: '', subZone: '' },
  metadata: {},
  version: '0',
  capture: 'redirect',
  httpProxyPort: 15_080,
  dns: false,
  readinessProbe: undefined,
  discoveryAddress: 'istiod.istio-system.svc:15012',
}

export const object = (kind: string, namespace: string, name: string, spec: string, more = ''): string => {
  const group = /^(?:PeerAuth|Authorization|RequestAuth)/.test(kind)
    ? 'security'
    : kind === 'Telemetry'
      ? 'telemetry'
      : 'networking'
  const version = kind === 'EnvoyFilter' ? 'v1alpha3' : 'v1'
  return `---
apiVersion: ${group}.istio.io/${version}
kind: ${kind}
metadata: {name: ${name}, namespace: ${namespace}${more}}
spec:
${spec.replace(/^\n|\n$/g, '').replace(/^/gm, '  ')}
`
}

/** A service of two versions with sidecars, at an address of its own. */
export const ORDERS = object(
  'ServiceEntry',
  'shop',
  'orders',
  `
hosts: [orders.shop.svc.cluster.local]
addresses: [10.96.0.10]
ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 9000, name: tcp, protocol: TCP}]
resolution: STATIC
location: MESH_INTERNAL
endpoints:
- {address: 10.0.0.2, labels: {app: orders, version: v1}, serviceAccount: orders, locality: eu/a, weight: 3}
- {address: 10.0.0.3, labels: {app: orders, version: v2}, serviceAccount: orders, locality: eu/b/one, ports: {http: 8081}}
- {address: 10.0.0.4, labels: {app: orders, version: v2}, serviceAccount: orders-v2, locality: us/a}
`,
)
export const BILLS = object(
  'ServiceEntry',
  'shop',
  'bills',
  `
hosts: [bills.shop.svc.cluster.local]
ports: [{number: 80, name: http, protocol: HTTP}, {number: 7070, name: grpc, protocol: GRPC}]
resolution: STATIC
location: MESH_INTERNAL
endpoints: [{address: 10.0.0.5, labels: {app: bills}}]
`,
)
/** What arrives at the node itself. */
export const OWN = object(
  'ServiceEntry',
  'edge',
  'edge',
  `
hosts: [edge.edge.svc.cluster.local]
ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 9000, name: tcp, protocol: TCP}, {number: 9001, name: any, protocol: ""}]
resolution: STATIC
location: MESH_INTERNAL
endpoints: [{address: 10.0.0.9, labels: {app: edge, version: v7}, serviceAccount: gateway}]
`,
)
