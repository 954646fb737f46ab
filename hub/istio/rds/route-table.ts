/** A route table by name: of a port, of a service at a port, or of the explicit proxy (core/httproute.go). */
import { compareText } from '../config.ts'
import type { Json } from '../json.ts'
import { parseProtocol } from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import type { EgressListener } from '../mesh/sidecar-scope.ts'
import { nameDestination } from './route.ts'
import { makeVirtualHosts, type VirtualHost } from './virtual-hosts.ts'

export const HTTP_PROXY_TABLE = 'http_proxy'
const MAX_BODY_BYTES = 1_048_576

export function makeRouteTable(proxy: Proxy, name: string): Json {
  const colon = name.lastIndexOf(':')
  const isOfService = colon >= 0
  const port = name === HTTP_PROXY_TABLE ? 0 : Number(name.slice(colon + 1))
  const listener = findListener(proxy, port)
  const asked = listener && isProxyPort(listener) ? 0 : port
  const found = listener ? makeVirtualHosts(proxy, listener, asked) : []
  const hosts = isOfService ? selectService(found, name) : found
  const written = [...hosts]
    .sort((a, b) => compareText(a.name, b.name))
    .map(({ name: host, domains, json }): Json => ({ name: host, domains: [...domains], ...json }))
  return {
    name,
    virtual_hosts: isOfService ? written : [...written, makeCatchAll(proxy)],
    validate_clusters: false,
    max_direct_response_body_size_bytes: MAX_BODY_BYTES,
    ignore_port_in_host_matching: true,
  }
}

/** The entry of the Sidecar with that port, or the one without a port. */
function findListener({ scope }: Proxy, port: number): EgressListener | undefined {
  return scope.egress.find(({ egress }) => !egress?.port || egress.port.number === port)
}
function isProxyPort({ egress }: EgressListener): boolean {
  return egress?.port !== undefined && parseProtocol(egress.port.protocol) === 'HTTP_PROXY'
}

/** At an address of its own, everything is for that service. */
function selectService(hosts: readonly VirtualHost[], name: string): VirtualHost[] {
  const host = name.slice(0, name.lastIndexOf(':'))
  const found = hosts.filter((h) => h.domains.includes(name) || h.domains.includes(host))
  return found.length === 1 ? [{ ...found[0]!, domains: ['*'] }] : found
}

function makeCatchAll({ scope }: Proxy): Json {
  const name = scope.allowsAny ? 'allow_any' : 'block_all'
  const egressProxy = scope.sidecar?.outboundTrafficPolicy?.egressProxy
  const cluster = egressProxy ? nameDestination(egressProxy, undefined, 0) : 'PassthroughCluster'
  const action = scope.allowsAny
    ? { route: { cluster, timeout: '0s', max_grpc_timeout: '0s' } }
    : { direct_response: { status: 502 } }
  return {
    name,
    domains: ['*'],
    routes: [{ name, match: { prefix: '/' }, ...action }],
    include_request_attempt_count: true,
  }
}
