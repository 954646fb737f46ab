/**
 * meshlet's shipped bundle as a benchmark subject: a directory of resources, an identity folder, routing and
 * authorization switched on.
 */
import fs from 'node:fs'
import path from 'node:path'
import { BENCH_TRUST_DOMAIN } from '../certificates.ts'
import {
  knowsClients,
  securesClients,
  securesOrigin,
  settingsOf,
  speaksHttp2,
  type HttpJob,
  type HttpSubject,
} from './job.ts'
import { ISTIO_FILTERS, SIDECAR_FILTERS, sidecarManager } from './sidecar.ts'

/** As deploy/edge/meshlet.service sets it. */
export const UNIT_ENVIRONMENT = ['MALLOC_ARENA_MAX=1', 'MALLOC_TRIM_THRESHOLD_=65536']
export const BUNDLE = path.resolve(import.meta.dirname, '../../../dist/meshlet.cjs')
const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3'
const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** Of a cluster; also Envoy's. */
export const HTTP2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}

/** All connections are of one client. */
const LIMITS = 'limits: {maxConnections: 20000, maxConnectionsTotal: 20000, maxConnectionsPerSource: 20000}\n'

/** Earlier bundles, which are measured without a sidecar's filters, do not know the setting. */
const accessLogs = (folder: string): string =>
  `telemetry: {accessLogs: {folders: [${folder}], maxLinesPerSecond: 1000000, maxFileBytes: 1073741824}}\n`

/** @param isSidecar with all that istiod gives a sidecar */
export function meshletHttp(name: string, bundle: string, isSidecar = false): HttpSubject {
  return {
    name,
    prepare(j) {
      if (!fs.existsSync(bundle)) throw new Error(`there is no ${bundle}`)
      const home = path.join(j.dir, `${name}-${j.case}`)
      const resources = path.join(home, 'resources')
      fs.mkdirSync(resources, { recursive: true })
      fs.writeFileSync(
        path.join(resources, 'mesh.json'),
        JSON.stringify({ resources: [listener(j, isSidecar), cluster(j), collector(j)] }),
      )
      const config = path.join(home, 'agent.yaml')
      fs.writeFileSync(
        config,
        `node: {name: bench}\ndirectory: ${resources}\nidentity: {folder: ${j.certificates.identityFolder}}\nstate: ${home}/state\nadmin: {port: 0}\n${settingsOf(j.case).load === 'idle' ? LIMITS : ''}log: {level: warn}\n${isSidecar ? accessLogs(j.dir) : ''}`,
      )
      const flags = ['--max-semi-space-size=4', '--v8-pool-size=1']
      return {
        command: 'env',
        args: [...UNIT_ENVIRONMENT, process.execPath, ...flags, bundle, 'run', '--config', config],
      }
    },
  }
}

const sds = {
  tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: { ads: {} } }],
  combined_validation_context: {
    default_validation_context: {},
    validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: { ads: {} } },
  },
}

function listener(j: HttpJob, isSidecar: boolean): object {
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'bench',
    forward_client_cert_details: 'APPEND_FORWARD',
    set_current_client_cert_details: { subject: true, uri: true, dns: true },
    ...(isSidecar && sidecarManager(j, 'meshlet-access.log')),
    route_config: {
      name: 'bench',
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, route: { cluster: 'origin', timeout: '0s' } }],
        },
      ],
    },
    http_filters: [
      { name: 'envoy.filters.http.rbac', typed_config: rbac(j) },
      ...(isSidecar ? [...SIDECAR_FILTERS, ...ISTIO_FILTERS] : []),
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
      },
    ],
  }
  return {
    '@type': type('config.listener.v3.Listener'),
    name: 'bench',
    traffic_direction: 'INBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: j.port } },
    filter_chains: [
      {
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
        ...(securesClients(j.case)
          ? {
              transport_socket: {
                name: 'envoy.transport_sockets.tls',
                typed_config: {
                  '@type': `${TLS}.DownstreamTlsContext`,
                  require_client_certificate: knowsClients(j.case),
                  common_tls_context: { alpn_protocols: ['h2', 'http/1.1'], ...sds },
                },
              },
            }
          : {}),
      },
    ],
  }
}

export function rbac(j: HttpJob): object {
  return {
    '@type': type('extensions.filters.http.rbac.v3.RBAC'),
    rules: {
      action: 'ALLOW',
      policies: {
        'ns[bench]-policy[all]-rule[0]': {
          permissions: [{ any: true }],
          principals: [
            knowsClients(j.case)
              ? { authenticated: { principal_name: { prefix: `spiffe://${BENCH_TRUST_DOMAIN}/` } } }
              : { any: true },
          ],
        },
      },
    },
  }
}

/** Also Envoy's. */
export function collector({ collectorPort }: HttpJob): object {
  const address = { socket_address: { address: '127.0.0.1', port_value: collectorPort } }
  return {
    '@type': type('config.cluster.v3.Cluster'),
    name: 'collector',
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: { cluster_name: 'collector', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  }
}

function cluster(j: HttpJob): object {
  return {
    '@type': type('config.cluster.v3.Cluster'),
    name: 'origin',
    type: 'STATIC',
    connect_timeout: '5s',
    ...(speaksHttp2(j.case) ? HTTP2 : {}),
    load_assignment: {
      cluster_name: 'origin',
      endpoints: [
        {
          lb_endpoints: [
            { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: j.originPort } } } },
          ],
        },
      ],
    },
    ...(securesOrigin(j.case)
      ? {
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: {
              '@type': `${TLS}.UpstreamTlsContext`,
              sni: j.certificates.originName,
              common_tls_context: {
                ...sds,
                ...(speaksHttp2(j.case) ? { alpn_protocols: ['h2'] } : {}),
                combined_validation_context: {
                  ...sds.combined_validation_context,
                  default_validation_context: {
                    match_typed_subject_alt_names: [
                      { san_type: 'URI', matcher: { exact: `spiffe://${BENCH_TRUST_DOMAIN}/ns/bench/sa/origin` } },
                    ],
                  },
                },
              },
            },
          },
        }
      : {}),
  }
}
