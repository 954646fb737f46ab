/** Who this agent says it is to the control plane: Envoy's Node with Istio's metadata (istio pkg/model/proxy.go). */
import type { JsonObject } from '@bufbuild/protobuf'

export type NodeSettings = {
  /** Left out: a sidecar. */
  readonly type?: 'sidecar' | 'router'
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
  /** Goes before everything else; null leaves out what would be sent. */
  readonly metadata: Readonly<Record<string, unknown>>
  readonly version: string
  readonly capture: 'explicit' | 'transparent' | 'redirect'
  /**
   * Port of the explicit HTTP proxy; istiod then sends the route table `http_proxy`, which names every service a second
   * time.
   */
  readonly httpProxyPort: number | undefined
  /**
   * Whether this node resolves names for its clients: istiod then gives services without an address one of
   * 240.240.0.0/16 or 2001:2::/48.
   */
  readonly dns: boolean
  /** Tunnels of an ambient mesh end here (a listener of kind `hbone`). */
  readonly takesTunnels?: boolean
  /**
   * In Istio's form, for PROXY_CONFIG: istiod then takes an auto-registered node for unhealthy until it says otherwise.
   */
  readonly readinessProbe: object | undefined
  /** control.address, for PROXY_CONFIG: without one the node is missing in `istioctl proxy-status`. */
  readonly discoveryAddress: string
}

export type NodeDescription = {
  /** TYPE~IP~NAME.NS~NS.svc.cluster.local */
  readonly id: string
  readonly cluster: string
  readonly locality: NodeSettings['locality']
  readonly metadata: JsonObject
  readonly userAgentVersion: string
}

/** istiod writes for this version of its own sidecar; the one that meshlet is checked against (test/conformance). */
const ISTIO_VERSION = '1.30.0'
const INTERCEPTION_MODE = { explicit: 'NONE', transparent: 'TPROXY', redirect: 'REDIRECT' } as const

/**
 * Whose a stored snapshot is: of the workload, whatever its address. The namespace, the service account and the trust
 * domain decide what a control plane tells it and what it may do; the network address is DHCP's affair.
 */
export function deriveSnapshotOwner({
  name,
  namespace,
  serviceAccount,
  meshId,
  metadata,
}: Pick<NodeSettings, 'name' | 'namespace' | 'serviceAccount' | 'meshId' | 'metadata'>): string {
  return `${name}.${namespace} ${formatSpiffeUri({ namespace, serviceAccount, meshId, metadata })}`
}

/** Istio's trust domain is the CA's to say; until a certificate is there this is what is asked for. */
export function formatSpiffeUri({
  namespace,
  serviceAccount,
  meshId,
  metadata,
}: Pick<NodeSettings, 'namespace' | 'serviceAccount' | 'meshId' | 'metadata'>): string {
  const trustDomain = typeof metadata['TRUST_DOMAIN'] === 'string' ? metadata['TRUST_DOMAIN'] : meshId
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
}

export function describeNode(s: NodeSettings): NodeDescription {
  const { type = 'sidecar' } = s
  const app = s.labels['app'] ?? s.name
  const labels = {
    app,
    'service.istio.io/canonical-name': app,
    'service.istio.io/canonical-revision': s.labels['version'] ?? 'latest',
    ...s.labels,
  }
  const { PROXY_CONFIG: proxyConfig, POD_PORTS: podPorts, ...metadata } = s.metadata
  const all: Record<string, unknown> = {
    NAME: s.name,
    NAMESPACE: s.namespace,
    WORKLOAD_NAME: s.name,
    SERVICE_ACCOUNT: s.serviceAccount,
    INSTANCE_IPS: s.ip,
    CLUSTER_ID: s.clusterId,
    NETWORK: s.network,
    MESH_ID: s.meshId,
    ISTIO_VERSION,
    ...(type === 'sidecar' ? { INTERCEPTION_MODE: INTERCEPTION_MODE[s.capture] } : {}),
    // Istio reads truth values as strings.
    ...(s.dns ? { DNS_CAPTURE: 'true', DNS_AUTO_ALLOCATE: 'true' } : {}),
    // istiod then sends the listener where tunnels end, and peers of an ambient mesh come through them.
    ...(s.takesTunnels ? { ENABLE_HBONE: 'true' } : {}),
    ...(s.httpProxyPort === undefined ? {} : { HTTP_PROXY_PORT: String(s.httpProxyPort) }),
    LABELS: labels,
    STATIC_LABELS: labels,
    PROXY_CONFIG:
      proxyConfig === null
        ? null
        : {
            discoveryAddress: s.discoveryAddress,
            ...(proxyConfig as object | undefined),
            ...(s.readinessProbe && { readinessProbe: s.readinessProbe }),
          },
    // istiod takes the list as JSON inside a text, and refuses the node otherwise.
    ...(podPorts === undefined
      ? {}
      : { POD_PORTS: podPorts === null || typeof podPorts === 'string' ? podPorts : JSON.stringify(podPorts) }),
    ...metadata,
  }
  return {
    id: `${type}~${s.ip}~${s.name}.${s.namespace}~${s.namespace}.svc.cluster.local`,
    cluster: `${app}.${s.namespace}`,
    locality: localityOf(s),
    userAgentVersion: s.version,
    metadata: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as JsonObject,
  }
}

/** Istio's label `istio-locality`, region.zone.sub-zone or with slashes, where the node's settings say nothing. */
function localityOf({ locality, labels }: NodeSettings): NodeSettings['locality'] {
  const label = labels['istio-locality']
  if (label === undefined || locality.region !== '' || locality.zone !== '' || locality.subZone !== '') return locality
  const [region = '', zone = '', ...rest] = label.split(label.includes('/') ? '/' : '.')
  return { region, zone, subZone: rest.join('/') }
}

/**
 * Whether istiod keeps a WorkloadEntry for this node, and so can be told of its health. An istiod without Kubernetes
 * crashes when it is told.
 */
export function hasWorkloadEntry({ metadata }: NodeDescription): boolean {
  return ['AUTO_REGISTER_GROUP', 'WORKLOAD_ENTRY'].some(
    (key) => typeof metadata[key] === 'string' && metadata[key] !== '',
  )
}
