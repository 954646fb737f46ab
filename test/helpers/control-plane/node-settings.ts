import type { NodeSettings } from '../../../control-sync/ads/node.ts'

/** A node as agent.yaml describes one that says nothing but its name. */
export const PLAIN_NODE: NodeSettings = {
  name: 'gw-1',
  namespace: 'edge',
  serviceAccount: 'gateway',
  type: 'sidecar',
  ip: '10.0.0.9',
  clusterId: 'Kubernetes',
  network: '',
  meshId: 'demo.mesh',
  labels: {},
  locality: { region: '', zone: '', subZone: '' },
  metadata: {},
  version: '0.1.0',
  capture: 'explicit',
  httpProxyPort: 15_080,
  dns: false,
  readinessProbe: undefined,
  discoveryAddress: '',
}
