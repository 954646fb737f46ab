/** DestinationRule. */
import { BILLS, object, ORDERS, OWN, type YamlCase } from './case.ts'

const rule = (spec: string, name = 'orders', namespace = 'shop', host = 'orders.shop.svc.cluster.local'): string =>
  object('DestinationRule', namespace, name, `host: "${host}"\n${spec}`)
const policy = (fields: string): string => rule(`trafficPolicy:\n${fields.replace(/^/gm, '  ')}`)
const ROUTED = object(
  'VirtualService',
  'shop',
  'orders',
  'hosts: [orders.shop.svc.cluster.local]\nhttp:\n- match: [{uri: {prefix: /a}}]\n  route: [{destination: {host: orders.shop.svc.cluster.local, subset: v1}}]\n- route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 80}}, weight: 1}, {destination: {host: orders.shop.svc.cluster.local, subset: v1}, weight: 1}]',
)
const EXTERNAL = object(
  'ServiceEntry',
  'shop',
  'api',
  'hosts: [api.example.com]\nports: [{number: 443, name: https, protocol: HTTPS}, {number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 8443, name: h2, protocol: HTTP2}]\nresolution: DNS\nsubjectAltNames: [api.example.org]',
)
const outside = (tls: string): string =>
  EXTERNAL + rule(`trafficPolicy: {tls: {${tls}}}`, 'api', 'shop', 'api.example.com')
const AT: {
  readonly node: { readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string } }
} = { node: { locality: { region: 'eu', zone: 'b', subZone: 'one' } } }

export const RULES: readonly YamlCase[] = [
  {
    name: 'rule: subsets',
    yaml:
      ORDERS +
      rule(
        'subsets:\n- {name: v1, labels: {version: v1}}\n- {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {http: {http1MaxPendingRequests: 2}}}}\n- {name: all}',
      ),
  },
  {
    name: 'rule: connection pools',
    yaml:
      ORDERS +
      BILLS +
      policy(
        'connectionPool:\n  tcp: {maxConnections: 10, connectTimeout: 250ms, maxConnectionDuration: 1h, idleTimeout: 5m, tcpKeepalive: {probes: 3, time: 7200s, interval: 75s}}\n  http: {http1MaxPendingRequests: 11, http2MaxRequests: 12, maxRequestsPerConnection: 13, maxRetries: 14, idleTimeout: 15s, maxConcurrentStreams: 16}',
      ) +
      rule(
        'trafficPolicy: {connectionPool: {http: {maxConcurrentStreams: 17, h2UpgradePolicy: UPGRADE}}}',
        'bills',
        'shop',
        'bills.shop.svc.cluster.local',
      ),
  },
  {
    name: 'rule: client protocol, keepalive of the system',
    yaml:
      ORDERS +
      BILLS +
      policy('connectionPool: {tcp: {tcpKeepalive: {}}, http: {useClientProtocol: true}}') +
      rule(
        'trafficPolicy: {connectionPool: {http: {useClientProtocol: true, maxConcurrentStreams: 3}}}',
        'bills',
        'shop',
        'bills.shop.svc.cluster.local',
      ),
  },
  {
    name: 'rule: outlier detection',
    yaml:
      ORDERS +
      policy(
        'outlierDetection: {consecutive5xxErrors: 7, consecutiveGatewayErrors: 0, interval: 5m, baseEjectionTime: 15m, maxEjectionPercent: 50, minHealthPercent: 30, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3}',
      ),
  },
  {
    name: 'rule: outlier detection, little said, failover by place',
    yaml: ORDERS + policy('outlierDetection: {}'),
    ...AT,
  },
  ...(['RANDOM', 'ROUND_ROBIN', 'LEAST_CONN', 'LEAST_REQUEST', 'PASSTHROUGH', 'UNSPECIFIED'] as const).map(
    (simple) => ({
      name: `rule: balancer ${simple}`,
      yaml: ORDERS + policy(`loadBalancer: {simple: ${simple}, warmupDurationSecs: 30s}`),
    }),
  ),
  {
    name: 'rule: warm-up',
    yaml:
      ORDERS +
      policy('loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1m, aggression: 2, minimumPercent: 5}}') +
      rule(
        'trafficPolicy: {loadBalancer: {warmup: {duration: 10s}}}',
        'bills',
        'shop',
        'bills.shop.svc.cluster.local',
      ) +
      BILLS,
  },
  ...[
    'httpHeaderName: x-user',
    'httpCookie: {name: c, path: /p, ttl: 1h, attributes: [{name: SameSite, value: Strict}]}',
    'httpCookie: {name: c, ttl: 0s}',
    'useSourceIp: true',
    'httpQueryParameterName: q, ringHash: {minimumRingSize: 99}',
    'httpHeaderName: x, maglev: {tableSize: 65537}',
    'useSourceIp: true, maglev: {tableSize: 7}',
    'useSourceIp: true, minimumRingSize: 7',
  ].map((hash) => ({
    name: `rule: hash ${hash}`,
    yaml:
      ORDERS +
      ROUTED +
      BILLS +
      rule(`subsets: [{name: v1, labels: {version: v1}}]\ntrafficPolicy: {loadBalancer: {consistentHash: {${hash}}}}`) +
      rule(
        `trafficPolicy: {loadBalancer: {consistentHash: {${hash}}}}`,
        'bills',
        'shop',
        'bills.shop.svc.cluster.local',
      ),
  })),
  {
    name: 'rule: hash of a subset and of a port',
    yaml:
      ORDERS +
      ROUTED +
      rule(
        'subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-subset}}}}]\ntrafficPolicy: {portLevelSettings: [{port: {number: 80}, loadBalancer: {consistentHash: {httpHeaderName: x-port}}}]}',
      ),
  },
  {
    name: 'rule: locality distribute',
    yaml:
      ORDERS +
      policy(
        'loadBalancer: {localityLbSetting: {distribute: [{from: "eu/*", to: {"eu/a": 70, "eu/b/*": 30}}, {from: "*", to: {"us/*": 100}}]}}',
      ),
    ...AT,
  },
  {
    name: 'rule: locality failover',
    yaml:
      ORDERS +
      policy(
        'outlierDetection: {consecutive5xxErrors: 1}\nloadBalancer: {simple: ROUND_ROBIN, localityLbSetting: {failover: [{from: eu, to: us}]}}',
      ),
    ...AT,
  },
  {
    name: 'rule: locality priorities by labels',
    yaml:
      ORDERS +
      policy(
        'outlierDetection: {consecutive5xxErrors: 1}\nloadBalancer: {localityLbSetting: {failoverPriority: ["topology.kubernetes.io/region", "version=v2"]}}',
      ),
    node: {
      locality: { region: 'eu', zone: 'b', subZone: '' },
      labels: { app: 'edge', 'topology.kubernetes.io/region': 'eu' },
    },
  },
  {
    name: 'rule: locality off',
    yaml:
      ORDERS +
      policy('outlierDetection: {consecutive5xxErrors: 1}\nloadBalancer: {localityLbSetting: {enabled: false}}'),
    ...AT,
  },
  ...['DISABLE', 'ISTIO_MUTUAL'].map((mode) => ({
    name: `rule: TLS ${mode}`,
    yaml:
      ORDERS +
      BILLS +
      policy(`tls: {mode: ${mode}}`) +
      rule(
        `trafficPolicy: {tls: {mode: ${mode}, sni: other.example.com, subjectAltNames: [a, b]}}`,
        'bills',
        'shop',
        'bills.shop.svc.cluster.local',
      ),
  })),
  { name: 'rule: TLS SIMPLE', yaml: outside('mode: SIMPLE') },
  {
    name: 'rule: TLS SIMPLE, all said',
    yaml: outside(
      'mode: SIMPLE, sni: x.example.com, subjectAltNames: [y.example.com], caCertificates: /etc/ssl/ca.pem, caCrl: /etc/ssl/crl.pem',
    ),
  },
  { name: 'rule: TLS SIMPLE, unchecked', yaml: outside('mode: SIMPLE, insecureSkipVerify: true') },
  {
    name: 'rule: TLS MUTUAL',
    yaml: outside('mode: MUTUAL, clientCertificate: /a/chain.pem, privateKey: /a/key.pem, caCertificates: /a/root.pem'),
  },
  {
    name: 'rule: of ports',
    yaml:
      ORDERS +
      policy(
        'connectionPool: {tcp: {maxConnections: 1}}\nportLevelSettings:\n- {port: {number: 80}, tls: {mode: DISABLE}, loadBalancer: {simple: RANDOM}}\n- {port: {number: 9000}, connectionPool: {tcp: {maxConnections: 9, idleTimeout: 9s}}}',
      ),
  },
  {
    name: 'rule: TCP proxies',
    yaml:
      ORDERS +
      policy(
        'connectionPool: {tcp: {idleTimeout: 10m, maxConnectionDuration: 2h}}\nloadBalancer: {consistentHash: {useSourceIp: true}}\ntunnel: {targetHost: proxy.example.com, targetPort: 3128, protocol: POST}',
      ),
  },
  {
    name: 'rule: PROXY protocol, retry budget',
    yaml:
      ORDERS +
      BILLS +
      EXTERNAL +
      policy('proxyProtocol: {version: V2}\nretryBudget: {percent: 25, minRetryConcurrency: 5}') +
      rule(
        'trafficPolicy: {proxyProtocol: {}, tls: {mode: SIMPLE}, retryBudget: {}}',
        'api',
        'shop',
        'api.example.com',
      ),
  },
  {
    name: 'rule: several of one host',
    yaml:
      ORDERS +
      rule('subsets: [{name: v1, labels: {version: v1}}]', 'b') +
      rule(
        'trafficPolicy: {loadBalancer: {simple: RANDOM}}\nsubsets: [{name: v2, labels: {version: v2}}, {name: v1, labels: {version: v2}}]',
        'c',
      ) +
      rule('trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}', 'd'),
  },
  {
    name: 'rule: of a wildcard, of the client, of the root',
    yaml:
      ORDERS +
      BILLS +
      rule('trafficPolicy: {loadBalancer: {simple: RANDOM}}', 'wild', 'shop', '*.shop.svc.cluster.local') +
      rule('trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}', 'client', 'edge') +
      rule('trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}', 'root', 'istio-system', '*.local'),
  },
  {
    name: 'rule: private, of a workload',
    yaml:
      ORDERS +
      BILLS +
      rule('exportTo: ["."]\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}', 'private') +
      rule(
        'workloadSelector: {matchLabels: {app: edge}}\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}',
        'mine',
        'edge',
        'bills.shop.svc.cluster.local',
      ) +
      rule('trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}', 'all', 'edge', 'bills.shop.svc.cluster.local') +
      rule(
        'workloadSelector: {matchLabels: {app: x}}\ntrafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}',
        'other',
        'edge',
        'bills.shop.svc.cluster.local',
      ),
  },
  {
    name: 'rule: holds at the server, too',
    yaml:
      OWN +
      rule(
        'trafficPolicy: {connectionPool: {tcp: {maxConnections: 4}}, tls: {mode: DISABLE}, loadBalancer: {simple: RANDOM}}',
        'edge',
        'edge',
        'edge.edge.svc.cluster.local',
      ),
  },
  {
    name: 'rule: of a name that is looked up',
    yaml:
      object(
        'ServiceEntry',
        'shop',
        'pool',
        'hosts: [pool.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DNS\nendpoints: [{address: a.example.org, locality: eu/b, labels: {version: v1}}, {address: b.example.org, locality: us/a, labels: {version: v2}}]',
      ) +
      rule(
        'subsets: [{name: v1, labels: {version: v1}}, {name: none, labels: {version: v3}}]\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}',
        'pool',
        'shop',
        'pool.example.com',
      ),
    ...AT,
  },
]
