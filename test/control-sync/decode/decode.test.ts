import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { decode, type ModelOf } from '../../../control-sync/decode/decode.ts'
import { golden, GOLDEN } from '../../helpers/control-plane/resources.ts'

/** What a real istiod sent (test/golden), and what that has to mean for a sidecar. */
function model<K extends ResourceKind>(file: (typeof GOLDEN)[number], kind: K, name: string): ModelOf<K> {
  const found = golden(file).find((s) => s.kind === kind && s.name === name)
  assert.ok(found, `${name} is not in ${file}`)
  const decoded = decode(kind, found.bytes)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

test('everything that istiod sends to a sidecar decodes, and only fields without meaning for traffic are ignored', () => {
  const harmless =
    /\.?(tracing|transport_socket_connect_timeout|max_connections_to_accept_per_socket_event|max_direct_response_body_size_bytes)$/
  for (const file of GOLDEN) {
    for (const { kind, name, bytes } of golden(file)) {
      const decoded = decode(kind, bytes)
      assert.ok(decoded.ok, `${file} ${name}: ${JSON.stringify(decoded)}`)
      assert.deepEqual(
        decoded.ignored.filter((path) => !harmless.test(path)),
        [],
        `${file} ${name}`,
      )
    }
  }
})

test('auto-mTLS: a cluster has TLS for endpoints labelled istio and plain text for the rest, with the names of its service accounts', () => {
  const cluster = model('istiod-sidecar', 'cluster', 'outbound|80||svc-0.shop.svc.cluster.local')
  assert.deepEqual(cluster.discovery, { kind: 'eds', serviceName: 'outbound|80||svc-0.shop.svc.cluster.local' })
  assert.deepEqual(
    cluster.transportMatches.map((m) => [m.name, m.match, m.transport.kind]),
    [
      ['tlsMode-istio', { tlsMode: 'istio' }, 'tls'],
      ['tlsMode-disabled', {}, 'plaintext'],
    ],
  )
  const [tls] = cluster.transportMatches.flatMap((m) => (m.transport.kind === 'tls' ? [m.transport.tls] : []))
  assert.deepEqual(tls, {
    certificate: { from: 'workload' },
    validation: {
      roots: { from: 'workload' },
      sans: [
        { type: 'any', match: { kind: 'exact', value: 'spiffe://cluster.local/ns/shop/sa/svc-0', ignoreCase: false } },
      ],
    },
    alpnProtocols: ['istio-peer-exchange', 'istio'],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    sni: 'outbound_.80_._.svc-0.shop.svc.cluster.local',
    autoSni: false,
  })
  assert.deepEqual(cluster.breakers, {
    maxConnections: Infinity,
    maxPendingRequests: Infinity,
    maxRequests: Infinity,
    maxRetries: Infinity,
    retryBudget: undefined,
  })
  assert.equal(cluster.balancer.kind, 'least-request')
  assert.equal(cluster.panicPercent, 0)
})

test('inbound and passthrough clusters go to the original destination; the inbound one from 127.0.0.6', () => {
  const inbound = model('istiod-sidecar', 'cluster', 'inbound|8080||')
  assert.deepEqual([inbound.discovery.kind, inbound.bindAddress], ['original-dst', '127.0.0.6'])
  const passthrough = model('istiod-sidecar', 'cluster', 'PassthroughCluster')
  assert.deepEqual(
    [passthrough.discovery.kind, passthrough.protocol, passthrough.idleMs],
    ['original-dst', 'downstream', 300_000],
  )
})

test('endpoints carry the label that chooses their transport and the workload behind them', () => {
  const load = model('istiod-sidecar', 'endpoint', 'outbound|80||svc-0.shop.svc.cluster.local')
  const endpoints = load.localities.flatMap((l) => l.endpoints)
  assert.deepEqual(
    endpoints.map((e) => `${e.address}:${e.port}`),
    ['127.0.0.2:8080', '127.0.0.3:8081', '127.0.0.4:8082'],
  )
  assert.ok(endpoints.every((e) => e.transportLabels['tlsMode'] === 'istio' && e.health === 'healthy'))
  assert.equal(endpoints[0]!.workload, 'svc-0-0;shop;svc-0;v1;Kubernetes')
})

test('retries and timeouts of a VirtualService arrive; a timeout of 0 is none', () => {
  const table = model('istiod-sidecar', 'route', '80')
  const action = (host: string): unknown => table.virtualHosts.find((h) => h.name === host)!.routes[0]!.action
  const edge = action('edge.edge.svc.cluster.local:80') as {
    timeoutMs?: number
    retry: {
      on: Set<string>
      maxRetries: number
      perTryTimeoutMs: number
      avoidPreviousHosts: boolean
      maxHostPicks: number
    }
  }
  assert.equal(edge.timeoutMs, 5_000)
  assert.deepEqual([...edge.retry.on], ['5xx', 'reset'])
  assert.deepEqual(
    [edge.retry.maxRetries, edge.retry.perTryTimeoutMs, edge.retry.avoidPreviousHosts, edge.retry.maxHostPicks],
    [2, 1_000, true, 5],
  )
  const shop = action('svc-0.shop.svc.cluster.local:80') as { timeoutMs?: number }
  assert.equal(shop.timeoutMs, undefined)
  assert.equal(table.ignorePortInHost, true)
})

test('virtualInbound under PERMISSIVE: mTLS and plain chains, ALLOW policies where istiod put them, nothing blocked', () => {
  const listener = model('istiod-sidecar', 'listener', 'virtualInbound')
  assert.deepEqual(
    [listener.direction, listener.port, listener.sniff.tls, listener.useOriginalDst],
    ['inbound', 15006, true, false],
  )
  assert.deepEqual(
    listener.filterChains.filter((c) => c.codec.kind === 'blocked').map((c) => c.name),
    [],
  )
  const mtls = listener.filterChains.filter((c) => c.tls)
  assert.ok(
    mtls.length > 0 &&
      mtls.every(
        (c) =>
          c.tls!.requireClientCertificate &&
          c.tls!.certificate?.from === 'workload' &&
          c.tls!.validation?.roots.from === 'workload',
      ),
  )
  assert.ok(
    mtls.every(
      (c) =>
        JSON.stringify(c.tls!.validation!.sans) ===
        JSON.stringify([
          { type: 'any', match: { kind: 'prefix', value: 'spiffe://cluster.local/', ignoreCase: false } },
        ]),
    ),
  )
  const http = listener.filterChains.find((c) => c.codec.kind === 'http')!.codec
  assert.ok(http.kind === 'http')
  const [rbac] = http.http.filters.filter((f) => f.kind === 'rbac')
  assert.equal(rbac?.policy.action, 'allow')
  assert.deepEqual(
    rbac.policy.rules.map((r) => r.name),
    ['ns[edge]-policy[edge]-rule[0]'],
  )
  assert.equal(http.http.forwardClientCert, 'append-forward')
  assert.deepEqual(http.http.clientCertDetails, { subject: true, uri: true, dns: true, cert: false, chain: false })
  const tcp = listener.filterChains.find((c) => c.name === 'virtualInbound' && c.tls)!
  assert.deepEqual(
    tcp.policies,
    [{ action: 'allow', rules: [], shadow: undefined }],
    'a policy about HTTP methods allows no TCP',
  )
})

test('under STRICT there is no inbound chain without TLS but the black hole', () => {
  const listener = model('istiod-strict-authz', 'listener', 'virtualInbound')
  assert.deepEqual(
    listener.filterChains.filter((c) => !c.tls).map((c) => c.name),
    ['virtualInbound-blackhole'],
  )
})

test('mode NONE: listeners bind, the proxy port serves proxy requests and the ingress forwards to its cluster', () => {
  assert.equal(model('istiod-mode-none', 'listener', '127.0.0.1_80').bindToPort, true)
  const proxy = model('istiod-mode-none', 'listener', '127.0.0.1_15080').filterChains[0]!.codec
  assert.ok(proxy.kind === 'http' && proxy.http.explicitProxy)
  assert.deepEqual(proxy.http.routes, { from: 'rds', name: 'http_proxy' })
  const ingress = model('istiod-mode-none', 'listener', '0.0.0.0_8443').filterChains[0]!.codec
  assert.ok(ingress.kind === 'http' && !ingress.http.explicitProxy)
})

test('outbound listeners of mode REDIRECT do not bind and fall back to the passthrough cluster', () => {
  const listener = model('istiod-sidecar', 'listener', '0.0.0.0_80')
  assert.deepEqual(
    [listener.bindToPort, listener.sniff, listener.direction],
    [false, { tls: false, http: true, timeoutMs: 0, onTimeout: 'continue' }, 'outbound'],
  )
  assert.deepEqual(
    listener.defaultFilterChain?.codec.kind === 'tcp' &&
      listener.defaultFilterChain.codec.tcp.clusters.map((c) => c.name),
    ['PassthroughCluster'],
  )
})

test('names have addresses, and Kubernetes services what their short names are made of', () => {
  const names = model('istiod-sidecar', 'nameTable', '')
  assert.deepEqual(names.get('svc-0.shop.svc.cluster.local'), { addresses: ['10.100.0.0'], service: undefined })
  assert.deepEqual(names.get('edge.edge.svc.cluster.local'), {
    addresses: ['10.96.69.177'],
    service: { name: 'edge', namespace: 'edge' },
  })
})
