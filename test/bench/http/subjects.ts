/**
 * Each proxy with the same job: one worker, keep-alive both sides, mTLS required and verified where the case says so,
 * no access log.
 */
import fs from 'node:fs'
import path from 'node:path'
import { envoyBinary } from '../../conformance/peers.ts'
import { findDebianProgram } from '../../../tools/debian.ts'
import { BUNDLE, collector, HTTP2, meshletHttp, rbac } from './meshlet.ts'
import {
  knowsClients,
  securesClients,
  securesOrigin,
  settingsOf,
  speaksHttp2,
  type HttpCase,
  type HttpJob,
  type HttpSubject,
} from './job.ts'
import { SIDECAR_FILTERS, sidecarManager } from './sidecar.ts'

const PEERS: readonly HttpSubject[] = [
  { name: 'nginx', prepare: nginx },
  { name: 'haproxy', prepare: haproxy },
  { name: 'envoy', prepare: (j) => envoy(j, 'envoy') },
  { name: 'envoy-sidecar', prepare: (j) => envoy(j, 'envoy-sidecar') },
  { name: 'copy', prepare: copy },
]
/** @param before another bundle of meshlet, for the same run */
export function httpSubjects(c: HttpCase = 'plain', before?: string): readonly HttpSubject[] {
  return [
    meshletHttp('meshlet', BUNDLE),
    meshletHttp('meshlet-sidecar', BUNDLE, true),
    // nginx speaks no HTTP/2 to an origin.
    ...PEERS.filter(({ name }) => name !== 'nginx' || !speaksHttp2(c)),
    ...(before === undefined ? [] : [meshletHttp('before', before)]),
  ]
}

/** Not a peer but the floor for a program on Node: it copies bytes and reads nothing. */
function copy({
  case: c,
  port,
  originPort,
  certificates: { proxy, roots, originName },
}: HttpJob): ReturnType<HttpSubject['prepare']> {
  const setting = {
    port,
    originPort,
    ...(securesOrigin(c) ? { tls: { cert: proxy.chain, key: proxy.key, roots, originName } } : {}),
  }
  return {
    command: process.execPath,
    args: ['--max-semi-space-size=4', path.join(import.meta.dirname, 'copy-proxy.ts'), JSON.stringify(setting)],
  }
}

function nginx(j: HttpJob): ReturnType<HttpSubject['prepare']> {
  const { certificates: c } = j
  const listen = knowsClients(j.case)
    ? `listen 127.0.0.1:${j.port} ssl backlog=1024; ssl_certificate ${c.proxy.chain}; ssl_certificate_key ${c.proxy.key}; ssl_client_certificate ${c.roots}; ssl_verify_client on;`
    : `listen 127.0.0.1:${j.port} backlog=1024;`
  const upstream = securesOrigin(j.case)
    ? `proxy_pass https://origin; proxy_ssl_certificate ${c.proxy.chain}; proxy_ssl_certificate_key ${c.proxy.key}; proxy_ssl_trusted_certificate ${c.roots}; proxy_ssl_verify on; proxy_ssl_name ${c.originName}; proxy_ssl_session_reuse on;`
    : 'proxy_pass http://origin;'
  const file = path.join(j.dir, `nginx-${j.case}.conf`)
  fs.writeFileSync(
    file,
    `daemon off; master_process off; pid ${j.dir}/subject.pid; error_log stderr error; events { worker_connections 32768; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path ${j.dir}/sb; proxy_temp_path ${j.dir}/sp; fastcgi_temp_path ${j.dir}/sf; uwsgi_temp_path ${j.dir}/su; scgi_temp_path ${j.dir}/ss;
  upstream origin { server 127.0.0.1:${j.originPort}; keepalive 64; keepalive_requests 1000000000; }
  server { ${listen} location / { ${upstream} proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } } }\n`,
  )
  return { command: findDebianProgram('nginx'), args: ['-p', j.dir, '-c', file] }
}

function haproxy(j: HttpJob): ReturnType<HttpSubject['prepare']> {
  const { certificates: c } = j
  const alpn = speaksHttp2(j.case) ? ' alpn h2' : ''
  const verify = knowsClients(j.case) ? ` ca-file ${c.roots} verify required` : ''
  const bind = securesClients(j.case) ? `ssl crt ${c.proxy.both}${verify}${alpn}` : ''
  const server = securesOrigin(j.case)
    ? `ssl crt ${c.proxy.both} ca-file ${c.roots} verify required verifyhost ${c.originName}${alpn}`
    : ''
  const h2 = speaksHttp2(j.case) && !securesClients(j.case) ? ' proto h2' : ''
  const file = path.join(j.dir, `haproxy-${j.case}.cfg`)
  fs.writeFileSync(
    file,
    `global\n  nbthread 1\n  maxconn ${settingsOf(j.case).load === 'idle' ? '10050\n  ulimit-n 19000' : 4096}\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  option http-keep-alive\n  http-reuse always\n  option forwardfor
frontend f\n  bind 127.0.0.1:${j.port} ${bind}${h2}\n  default_backend b\nbackend b\n  server o 127.0.0.1:${j.originPort} ${server}${h2}\n`,
  )
  return { command: findDebianProgram('haproxy'), args: ['-db', '-f', file] }
}

function envoy(j: HttpJob, name: 'envoy' | 'envoy-sidecar'): ReturnType<HttpSubject['prepare']> {
  const file = path.join(j.dir, `${name}-${j.case}.json`)
  const manager = name === 'envoy' ? ENVOY_MANAGER : envoySidecar(j)
  fs.writeFileSync(
    file,
    JSON.stringify({
      static_resources: {
        listeners: [
          {
            address: { socket_address: { address: '127.0.0.1', port_value: j.port } },
            filter_chains: [
              {
                ...envoyTls(j, 'Downstream'),
                filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
              },
            ],
          },
        ],
        clusters: [
          { ...collector(j), '@type': undefined },
          {
            name: 'origin',
            connect_timeout: '5s',
            ...envoyTls(j, 'Upstream'),
            ...(speaksHttp2(j.case) ? HTTP2 : {}),
            circuit_breakers: {
              thresholds: [{ max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 }],
            },
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
          },
        ],
      },
    }),
  )
  return {
    command: envoyBinary(),
    args: ['--concurrency', '1', '-c', file, '--log-level', 'error', '--use-dynamic-base-id'],
  }
}

function envoyTls({ case: of, certificates: c }: HttpJob, kind: 'Upstream' | 'Downstream'): object {
  if (!(kind === 'Upstream' ? securesOrigin(of) : securesClients(of))) return {}
  const common = {
    tls_certificates: [{ certificate_chain: { filename: c.proxy.chain }, private_key: { filename: c.proxy.key } }],
    validation_context: { trusted_ca: { filename: c.roots } },
    ...(speaksHttp2(of) ? { alpn_protocols: ['h2'] } : {}),
  }
  return {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${kind}TlsContext`,
        common_tls_context: common,
        ...(kind === 'Downstream' ? { require_client_certificate: knowsClients(of) } : {}),
      },
    },
  }
}

function envoySidecar(j: HttpJob): object {
  const [router] = ENVOY_MANAGER.http_filters
  const rules = { name: 'envoy.filters.http.rbac', typed_config: rbac(j) }
  return {
    ...ENVOY_MANAGER,
    ...sidecarManager(j, 'envoy-access.log'),
    forward_client_cert_details: 'APPEND_FORWARD',
    set_current_client_cert_details: { subject: true, uri: true, dns: true },
    http_filters: [rules, ...SIDECAR_FILTERS, router],
  }
}

const ENVOY_MANAGER = {
  '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  stat_prefix: 'bench',
  http_filters: [
    {
      name: 'envoy.filters.http.router',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
    },
  ],
  route_config: {
    virtual_hosts: [
      { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'origin' } }] },
    ],
  },
}
