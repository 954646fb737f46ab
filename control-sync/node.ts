/** Who this agent says it is to the control plane: Envoy's Node with Istio's metadata (istio pkg/model/proxy.go). */
import type { JsonObject } from '@bufbuild/protobuf'

export type NodeSettings = {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  /** INSTANCE_IPS; istiod finds the node's own services by it. */
  readonly ip: string
  readonly clusterId: string
  readonly network: string
  readonly meshId: string
  readonly labels: Readonly<Record<string, string>>
  readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string }
  readonly metadata: Readonly<Record<string, unknown>>
  readonly version: string
  readonly capture: 'explicit' | 'transparent'
  /** Port of the explicit HTTP proxy; istiod then sends the route table `http_proxy`. */
  readonly httpProxyPort: number | undefined
  /** Whether this node resolves names for its clients: istiod then gives services without an address one of 240.240.0.0/16 or 2001:2::/48. */
  readonly dns: boolean
  /** control.address, for PROXY_CONFIG: without one the node is missing in `istioctl proxy-status`. */
  readonly discoveryAddress: string
}

export type NodeDescription = {
  /** sidecar~IP~NAME.NS~NS.svc.cluster.local */
  readonly id: string
  readonly cluster: string
  readonly locality: NodeSettings['locality']
  readonly metadata: JsonObject
  readonly userAgentVersion: string
}

export function describeNode(s: NodeSettings): NodeDescription {
  const app = s.labels['app'] ?? s.name
  return {
    id: `sidecar~${s.ip}~${s.name}.${s.namespace}~${s.namespace}.svc.cluster.local`,
    cluster: `${app}.${s.namespace}`,
    locality: s.locality,
    userAgentVersion: s.version,
    metadata: {
      NAME: s.name, NAMESPACE: s.namespace, WORKLOAD_NAME: s.name, SERVICE_ACCOUNT: s.serviceAccount, INSTANCE_IPS: s.ip,
      CLUSTER_ID: s.clusterId, NETWORK: s.network, MESH_ID: s.meshId,
      // Istio reads truth values as strings.
      INTERCEPTION_MODE: s.capture === 'explicit' ? 'NONE' : 'TPROXY',
      ...(s.dns ? { DNS_CAPTURE: 'true', DNS_AUTO_ALLOCATE: 'true' } : {}),
      ...(s.httpProxyPort === undefined ? {} : { HTTP_PROXY_PORT: String(s.httpProxyPort) }),
      LABELS: { app, 'service.istio.io/canonical-name': app, 'service.istio.io/canonical-revision': s.labels['version'] ?? 'latest', ...s.labels },
      PROXY_CONFIG: { discoveryAddress: s.discoveryAddress },
      ...(s.metadata as JsonObject),
    },
  }
}
