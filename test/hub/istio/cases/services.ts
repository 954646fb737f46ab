/** ServiceEntry, WorkloadEntry, Sidecar. */
import { BILLS, object, ORDERS, OWN, type YamlCase } from './case.ts'

const entry = (name: string, spec: string, namespace = 'shop'): string => object('ServiceEntry', namespace, name, spec)
const external = (name: string, ports: string, more: string): string =>
  entry(name, `hosts: [${name}.example.com]\nports: [${ports}]\nlocation: MESH_EXTERNAL\n${more}`)

const KINDS_OF_PORTS = external(
  'ports',
  ['HTTP', 'HTTP2', 'GRPC', 'GRPC-Web', 'TCP', 'TLS', 'HTTPS', 'MySQL', 'Redis', 'UDP', '""']
    .map((protocol, i) => `{number: ${4_000 + i}, name: p${i}, protocol: ${protocol}}`)
    .join(', '),
  'resolution: STATIC\nendpoints: [{address: 192.0.2.1}, {address: "2001:db8::1"}]',
)

const RESOLUTIONS =
  external(
    'dns',
    '{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}',
    'resolution: DNS',
  ) +
  external(
    'pool',
    '{number: 80, name: http, protocol: HTTP}',
    'resolution: DNS\nendpoints: [{address: a.example.org, ports: {http: 8080}, locality: eu/a}, {address: 192.0.2.7, labels: {version: v2}}]',
  ) +
  external('robin', '{number: 8443, name: https, protocol: HTTPS}', 'resolution: DNS_ROUND_ROBIN') +
  external(
    'none',
    '{number: 5000, name: tcp, protocol: TCP, targetPort: 5001}',
    'addresses: [192.168.7.0/24]\nresolution: NONE',
  ) +
  external('nonehttp', '{number: 80, name: http, protocol: HTTP}', 'resolution: NONE') +
  external('free', '{number: 5002, name: tcp, protocol: TCP}', 'resolution: NONE')

const SHARED_PORTS =
  entry(
    'tcp',
    'hosts: [tcp.shop.svc.cluster.local]\nports: [{number: 80, name: tcp, protocol: TCP}]\nresolution: STATIC\nlocation: MESH_INTERNAL\nendpoints: [{address: 10.0.0.7}]',
  ) +
  entry(
    'auto',
    'hosts: [auto.shop.svc.cluster.local]\nports: [{number: 80, name: any}]\nresolution: STATIC\nlocation: MESH_INTERNAL\nendpoints: [{address: 10.0.0.8}]',
  )

const WORKLOADS =
  object(
    'ServiceEntry',
    'edge',
    'fleet',
    'hosts: [fleet.edge.svc.cluster.local]\nports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 1883, name: mqtt, protocol: TCP}]\nresolution: STATIC\nlocation: MESH_INTERNAL\nworkloadSelector: {labels: {app: edge}}',
  ) +
  object(
    'WorkloadEntry',
    'edge',
    'edge-1',
    'address: 10.0.0.9\nlabels: {app: edge, version: v7}\nserviceAccount: gateway\nlocality: eu/a/hall',
    ', labels: {site: north}',
  ) +
  object(
    'WorkloadEntry',
    'edge',
    'edge-2',
    'address: 10.0.0.10\nlabels: {app: edge, security.istio.io/tlsMode: istio}\nports: {http: 9090}\nweight: 7\nnetwork: other',
  ) +
  object('WorkloadEntry', 'edge', 'other', 'address: 10.0.0.11\nlabels: {app: other}') +
  object('WorkloadEntry', 'shop', 'edge-3', 'address: 10.0.0.12\nlabels: {app: edge}') +
  object(
    'WorkloadGroup',
    'edge',
    'edge',
    'metadata: {labels: {app: edge}}\ntemplate: {serviceAccount: gateway}\nprobe: {httpGet: {port: 8080}}',
  )

const sidecar = (spec: string, name = 'edge', namespace = 'edge'): string => object('Sidecar', namespace, name, spec)

export const SERVICES: readonly YamlCase[] = [
  { name: 'nothing', yaml: '---\n' + object('WorkloadGroup', 'edge', 'g', 'template: {}') },
  { name: 'a service', yaml: ORDERS },
  { name: 'a service, explicit capture', yaml: ORDERS + BILLS, node: { capture: 'explicit' } },
  {
    name: 'a service, transparent capture, no proxy port',
    yaml: ORDERS,
    node: { capture: 'transparent', httpProxyPort: undefined },
  },
  { name: 'a service, node in its namespace', yaml: ORDERS + BILLS, node: { namespace: 'shop' } },
  { name: 'a service, IPv6 node', yaml: ORDERS + OWN, node: { ip: '2001:db8::9' } },
  { name: 'every kind of port', yaml: KINDS_OF_PORTS },
  { name: 'every kind of port, explicit', yaml: KINDS_OF_PORTS, node: { capture: 'explicit' } },
  { name: 'resolutions', yaml: RESOLUTIONS },
  { name: 'resolutions, explicit', yaml: RESOLUTIONS, node: { capture: 'explicit' } },
  { name: 'protocols that share a port', yaml: ORDERS + SHARED_PORTS },
  {
    name: 'protocols that share a port at one address',
    yaml: SHARED_PORTS.replaceAll('resolution: STATIC', 'addresses: [10.96.0.77]\n  resolution: STATIC'),
  },
  { name: 'the node is an endpoint', yaml: OWN },
  { name: 'the node is an endpoint, transparent', yaml: OWN + BILLS, node: { capture: 'transparent' } },
  { name: 'workload entries', yaml: WORKLOADS },
  { name: 'workload entries, another namespace', yaml: WORKLOADS, node: { namespace: 'shop' } },
  {
    name: 'two hosts, SANs',
    yaml: entry(
      'two',
      'hosts: [one.example.com, two.example.com]\nports: [{number: 8080, name: http, protocol: HTTP}, {number: 5432, name: db, protocol: TLS}]\nresolution: STATIC\nlocation: MESH_INTERNAL\nendpoints: [{address: 10.1.0.1}]\nsubjectAltNames: [spiffe://other/ns/a/sa/b, spiffe://cluster.local/ns/x/sa/y]',
    ),
  },
  {
    // With HTTP, which of the two the route table has depends on the order of a map in the istiod.
    name: 'two addresses',
    yaml: entry(
      'two',
      'hosts: [two.example.com]\naddresses: [192.0.2.10, 192.0.2.11/32]\nports: [{number: 5432, name: db, protocol: TCP}]\nresolution: STATIC\nlocation: MESH_INTERNAL\nendpoints: [{address: 10.1.0.1}]',
    ),
  },
  {
    name: 'wildcard hosts',
    yaml: entry(
      'wild',
      'hosts: ["*.example.com"]\nports: [{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}]\nresolution: NONE\nlocation: MESH_EXTERNAL',
    ),
  },
  {
    name: 'exportTo',
    yaml:
      entry(
        'priv',
        'hosts: [priv.shop.svc.cluster.local]\nexportTo: ["."]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.1}]',
      ) +
      entry(
        'named',
        'hosts: [named.shop.svc.cluster.local]\nexportTo: [edge, other]\nports: [{number: 81, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.2}]',
      ) +
      entry(
        'nobody',
        'hosts: [nobody.shop.svc.cluster.local]\nexportTo: ["~"]\nports: [{number: 82, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.3}]',
      ),
  },
  {
    name: 'one host in two namespaces',
    yaml:
      entry(
        'b',
        'hosts: [same.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.1}]',
        'zoo',
      ) +
      entry(
        'a',
        'hosts: [same.example.com]\nports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: more, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.2}]',
        'edge',
      ),
  },
  {
    name: 'one host in two entries of a namespace',
    yaml:
      entry(
        'b',
        'hosts: [same.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.1}]',
      ) +
      entry(
        'a',
        'hosts: [same.example.com]\nports: [{number: 81, name: more, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.1.2}]',
      ),
    // Which of the two `http_proxy` has depends on the order in which an istiod got them.
    node: { httpProxyPort: undefined },
  },
  {
    name: 'Sidecar: some hosts',
    yaml:
      ORDERS +
      BILLS +
      RESOLUTIONS +
      sidecar('egress: [{hosts: ["shop/orders.shop.svc.cluster.local", "./*", "*/*.example.com"]}]'),
  },
  {
    name: 'Sidecar: nothing',
    yaml: ORDERS + sidecar('egress: [{hosts: ["~/*"]}]\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}'),
  },
  {
    name: 'Sidecar: egress proxy',
    yaml:
      ORDERS +
      sidecar(
        'outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: orders.shop.svc.cluster.local, port: {number: 80}, subset: v1}}',
      ),
  },
  {
    name: 'Sidecar: ports of its own',
    yaml:
      ORDERS +
      BILLS +
      sidecar(
        'egress:\n- {port: {number: 80, protocol: HTTP, name: http}, bind: 127.0.0.53, captureMode: NONE, hosts: ["shop/orders.shop.svc.cluster.local"]}\n- {port: {number: 9000, protocol: TCP, name: tcp}, hosts: ["shop/*"]}\n- {port: {number: 3128, protocol: HTTP_PROXY, name: proxy}, bind: 127.0.0.1, captureMode: NONE, hosts: ["*/*"]}\n- {hosts: ["shop/bills.shop.svc.cluster.local"]}',
      ),
  },
  {
    name: 'Sidecar: ports of its own, explicit',
    yaml:
      ORDERS +
      BILLS +
      sidecar(
        'workloadSelector: {labels: {app: edge}}\negress:\n- {port: {number: 80, protocol: HTTP, name: http}, bind: 127.0.0.53, hosts: ["shop/orders.shop.svc.cluster.local"]}\n- {port: {number: 9001, protocol: HTTP, name: wrong}, bind: 127.0.0.55, hosts: ["shop/*"]}\n- {hosts: ["shop/bills.shop.svc.cluster.local"]}',
      ) +
      sidecar('egress: [{hosts: ["~/*"]}]', 'general'),
    node: { capture: 'explicit' },
  },
  {
    name: 'Sidecar: ingress',
    yaml:
      OWN +
      sidecar(
        'ingress:\n- {port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:8081"}\n- {port: {number: 9443, protocol: TCP, name: tcp}, bind: 10.0.0.9, defaultEndpoint: "0.0.0.0:9444", captureMode: NONE}\n- {port: {number: 7777, protocol: GRPC, name: grpc}, connectionPool: {tcp: {maxConnections: 5}}}\ninboundConnectionPool: {http: {http2MaxRequests: 9}}',
      ),
  },
  {
    name: 'Sidecar: ingress, explicit',
    yaml: sidecar(
      'ingress:\n- {port: {number: 8443, protocol: HTTP, name: http}, bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:8080"}\n- {port: {number: 8444, name: any}, defaultEndpoint: "[::1]:8080"}\n- {port: {number: 8445, protocol: HTTP2, name: h2}, bind: 127.0.0.7, defaultEndpoint: "127.0.0.1:8082"}',
    ),
    node: { capture: 'explicit' },
  },
  {
    name: 'Sidecar: of the root namespace',
    yaml:
      ORDERS +
      BILLS +
      sidecar(
        'egress: [{hosts: ["shop/bills.shop.svc.cluster.local"]}]\noutboundTrafficPolicy: {}',
        'root',
        'istio-system',
      ),
  },
  {
    name: 'metadata: HTTP/1.0, idle timeout, status port',
    yaml: ORDERS + OWN,
    node: { metadata: { HTTP10: '1', IDLE_TIMEOUT: '90s', ENVOY_STATUS_PORT: 80, CLUSTER_ID: 'Kubernetes' } },
  },
  {
    name: 'headless service with endpoints',
    yaml:
      entry(
        'headless',
        'hosts: [headless.shop.svc.cluster.local]\nports: [{number: 5672, name: amqp, protocol: TCP}, {number: 80, name: http, protocol: HTTP}]\nresolution: NONE\nlocation: MESH_INTERNAL\nworkloadSelector: {labels: {app: h}}',
      ) +
      object('WorkloadEntry', 'shop', 'h1', 'address: 10.0.2.1\nlabels: {app: h}\nserviceAccount: h') +
      object('WorkloadEntry', 'shop', 'h2', 'address: 10.0.2.2\nlabels: {app: h}\nserviceAccount: h'),
  },
]
