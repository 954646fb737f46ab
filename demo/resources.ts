/** The mesh of the demo as the files an operator would write: one folder per node, Envoy's own format. */
import fs from 'node:fs'
import path from 'node:path'

export const TRUST_DOMAIN = 'demo.mesh'
export const ORDERS = 'orders.cloud.svc.cluster.local'
export const PLC = 'plc.edge.svc.cluster.local'
export const ORDERS_CLUSTER = `outbound|80||${ORDERS}`
export const BROKER_CLUSTER = 'outbound|8883||broker.cloud.svc.cluster.local'

export type Ports = {
  /** The link's end at the site, for HTTP and MQTT to the cloud agent. */
  readonly linkHttp: number
  readonly linkMqtt: number
  readonly cloudHttp: number
  readonly orders: number
  readonly plc: number
}

const spiffe = (namespace: string): string => `spiffe://${TRUST_DOMAIN}/ns/${namespace}/sa/gateway`
const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3'
const secrets = (san: string): string => `
            alpn_protocols: [istio-peer-exchange, istio]
            tls_certificate_sds_secret_configs: [{name: default, sds_config: {ads: {}}}]
            combined_validation_context:
              default_validation_context: {match_typed_subject_alt_names: [{san_type: URI, matcher: {${san}}}]}
              validation_context_sds_secret_config: {name: ROOTCA, sds_config: {ads: {}}}`

export function writeResources(folder: string, ports: Ports): void {
  for (const node of ['edge', 'line2']) {
    write(folder, `${node}/clusters.yaml`, edgeClusters(ports))
    write(folder, `${node}/routes.yaml`, edgeRoutes())
  }
  write(folder, 'cloud/orders.yaml', cloudOrders(ports))
  write(folder, 'cloud/policy.yaml', describeInboundListener(ports, { deny: [] }))
}

/**
 * The inbound side of the cloud node with its authorization: the edge's gateway may call orders, but not the paths in
 * `deny`.
 */
export function describeInboundListener(ports: Ports, { deny }: { deny: readonly string[] }): string {
  const denied = deny
    .map(
      (prefix, i) => `
                ns[cloud]-policy[no-${i}]-rule[0]:
                  permissions: [{url_path: {path: {prefix: ${prefix}}}}]
                  principals: [{authenticated: {principal_name: {exact: "${spiffe('edge')}"}}}]`,
    )
    .join('')
  return `# Who may call what at cloud. Change it while the demo runs: it is in force within a second.
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: inbound
  traffic_direction: INBOUND
  address: {socket_address: {address: 127.0.0.1, port_value: ${ports.cloudHttp}}}
  filter_chains:
  - transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
          "@type": ${TLS}.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:${secrets(`prefix: "spiffe://${TRUST_DOMAIN}/"`).replace('[istio-peer-exchange, istio]', '[h2, http/1.1]')}
    filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: inbound
        forward_client_cert_details: APPEND_FORWARD
        set_current_client_cert_details: {subject: true, uri: true, dns: true}
        route_config:
          name: inbound|80||
          virtual_hosts: [{name: orders, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: "inbound|80||", timeout: 0s}}]}]
        http_filters:${
          denied &&
          `
        - name: envoy.filters.http.rbac
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
            rules:
              action: DENY
              policies:${denied}`
        }
        - name: envoy.filters.http.rbac
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
            rules:
              action: ALLOW
              policies:
                ns[cloud]-policy[edge-may-call]-rule[0]:
                  permissions: [{any: true}]
                  principals: [{authenticated: {principal_name: {exact: "${spiffe('edge')}"}}}]
        - name: envoy.filters.http.router
          typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`
}

/** Right as far as a hub can tell, which has the file; but no node's agent.yaml permits it (`control.tlsFileFolders`). */
export const describePoison = (file: string): string => `resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: outbound|443||erp.example.org
  type: STATIC
  load_assignment: {cluster_name: "outbound|443||erp.example.org"}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": ${TLS}.UpstreamTlsContext
      common_tls_context: {validation_context_sds_secret_config: {name: "file-root:${file}"}}
`

const edgeClusters = (
  p: Ports,
): string => `# Where the services are. The endpoints of orders and of the broker are behind the link.
resources:
${meshCluster(ORDERS_CLUSTER, p.linkHttp)}${meshCluster(BROKER_CLUSTER, p.linkMqtt)}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: outbound|80||${PLC}
  type: STATIC
  connect_timeout: 2s
  load_assignment:
    cluster_name: outbound|80||${PLC}
    endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${p.plc}}}}}]}]
`

const meshCluster = (
  name: string,
  port: number,
): string => `- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: "${name}"
  type: EDS
  connect_timeout: 2s
  eds_cluster_config: {service_name: "${name}", eds_config: {ads: {}, resource_api_version: V3}}
  transport_socket_matches:
  - name: tlsMode-istio
    match: {tlsMode: istio}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
          "@type": ${TLS}.UpstreamTlsContext
          sni: ${name.replace('outbound|', 'outbound_.').replace('||', '_._.')}
          common_tls_context:${secrets(`exact: "${spiffe('cloud')}"`)}
  - {name: tlsMode-disabled, match: {}, transport_socket: {name: envoy.transport_sockets.raw_buffer, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: "${name}"
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}}
      metadata: {filter_metadata: {envoy.transport_socket_match: {tlsMode: istio}}}
`

const edgeRoutes = (): string => `# What applications at the site can call by name through 127.0.0.1:15080.
resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: http_proxy
  ignore_port_in_host_matching: true
  virtual_hosts:
  - name: ${ORDERS}:80
    domains: [${ORDERS}, orders.cloud]
    include_request_attempt_count: true
    routes:
    - match: {prefix: /}
      route:
        cluster: "${ORDERS_CLUSTER}"
        timeout: 10s
        retry_policy:
          retry_on: connect-failure,refused-stream,unavailable,cancelled,reset,retriable-status-codes
          num_retries: 3
          retriable_status_codes: [503]
  - name: ${PLC}:80
    domains: [${PLC}, plc.edge]
    routes: [{match: {prefix: /}, route: {cluster: "outbound|80||${PLC}", timeout: 10s}}]
  - {name: block_all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 502}}]}
`

const cloudOrders = (p: Ports): string => `# The service itself, behind the cloud node.
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: inbound|80||
  type: STATIC
  connect_timeout: 2s
  load_assignment:
    cluster_name: inbound|80||
    endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${p.orders}}}}}]}]
`

function write(folder: string, name: string, text: string): void {
  const file = path.join(folder, name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}
