/** VirtualService. */
import { BILLS, object, ORDERS, type YamlCase } from './case.ts'

const virtual = (spec: string, name = 'orders', namespace = 'shop'): string =>
  object('VirtualService', namespace, name, spec)
const http = (routes: string): string => virtual(`hosts: [orders.shop.svc.cluster.local]\nhttp:\n${routes}`)
const TO = 'route: [{destination: {host: orders.shop.svc.cluster.local}}]'
const BOTH = ORDERS + BILLS
const SUBSETS = object(
  'DestinationRule',
  'shop',
  'orders',
  'host: orders.shop.svc.cluster.local\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]',
)

export const ROUTES: readonly YamlCase[] = [
  { name: 'route: plain', yaml: ORDERS + http(`- ${TO}`) },
  {
    name: 'route: matches of paths and methods',
    yaml:
      ORDERS +
      http(
        `- match: [{uri: {exact: /a}}, {uri: {prefix: /b}, ignoreUriCase: true}, {uri: {regex: "/c/[0-9]+"}}, {method: {exact: POST}, authority: {prefix: or}, scheme: {exact: http}}]\n  ${TO}\n- match: [{uri: {prefix: /}}, {uri: {exact: /never}}]\n  name: all\n  ${TO}\n- ${TO}`,
      ),
  },
  {
    name: 'route: matches of headers and parameters',
    yaml:
      ORDERS +
      http(
        `- match:\n  - name: named\n    headers: {x-b: {exact: "1"}, x-a: {regex: "a+"}, x-c: {}, x-d: {regex: ".*"}}\n    withoutHeaders: {y-a: {prefix: p}, y-b: {}}\n    queryParams: {q: {exact: "1"}, r: {regex: ".+"}, s: {}}\n    statPrefix: stat\n  name: route\n  ${TO}`,
      ),
  },
  {
    name: 'route: who asks',
    yaml:
      ORDERS +
      http(
        `- match: [{sourceLabels: {app: edge}}, {sourceLabels: {app: other}}]\n  name: ours\n  ${TO}\n- match: [{sourceNamespace: shop}]\n  name: shop\n  ${TO}\n- match: [{sourceNamespace: edge, port: 80, uri: {prefix: /x}}, {port: 81}]\n  ${TO}\n- match: [{gateways: [mesh], uri: {prefix: /g}}, {gateways: [other/gw]}]\n  ${TO}`,
      ),
  },
  {
    name: 'route: subsets and weights',
    yaml:
      BOTH +
      SUBSETS +
      http(
        '- route:\n  - {destination: {host: orders.shop.svc.cluster.local, subset: v1}, weight: 80}\n  - {destination: {host: orders.shop.svc.cluster.local, subset: v2}, weight: 20, headers: {request: {set: {x-v: "2"}, remove: [x-old]}, response: {add: {x-r: r}}}}\n  - {destination: {host: bills.shop.svc.cluster.local, port: {number: 80}}, weight: 0}',
      ),
  },
  {
    name: 'route: timeouts and retries',
    yaml:
      ORDERS +
      http(
        `- match: [{uri: {prefix: /a}}]\n  timeout: 1.5s\n  retries: {attempts: 3, perTryTimeout: 500ms, retryOn: "5xx,503,gateway-error,409"}\n  ${TO}\n- match: [{uri: {prefix: /b}}]\n  retries: {attempts: 0}\n  ${TO}\n- match: [{uri: {prefix: /c}}]\n  timeout: 1ms\n  retries: {attempts: 1, retryRemoteLocalities: true, retryIgnorePreviousHosts: false, backoff: 1m}\n  ${TO}`,
      ),
  },
  {
    name: 'route: faults',
    yaml:
      ORDERS +
      http(
        `- match: [{uri: {prefix: /a}}]\n  fault: {delay: {fixedDelay: 2s, percentage: {value: 12.5}}, abort: {httpStatus: 418, percentage: {value: 50}}}\n  ${TO}\n- match: [{uri: {prefix: /b}}]\n  fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}\n  ${TO}\n- fault: {delay: {fixedDelay: 1s, percent: 7}}\n  ${TO}`,
      ),
  },
  {
    name: 'route: redirects and direct responses',
    yaml:
      ORDERS +
      http(
        '- match: [{uri: {exact: /a}}]\n  redirect: {uri: /b, authority: other.example.com, redirectCode: 302}\n- match: [{uri: {exact: /c}}]\n  redirect: {scheme: https, port: 8443}\n- match: [{uri: {exact: /d}}]\n  redirect: {derivePort: FROM_REQUEST_PORT, redirectCode: 308}\n- match: [{uri: {exact: /e}}]\n  redirect: {scheme: https, port: 443, uri: /x}\n- match: [{uri: {exact: /f}}]\n  directResponse: {status: 503, body: {string: "later\\n"}}\n- directResponse: {status: 204}',
      ),
  },
  {
    name: 'route: rewrites',
    yaml:
      ORDERS +
      http(
        `- match: [{uri: {prefix: /a}}]\n  rewrite: {uri: /b, authority: rewritten.example.com}\n  ${TO}\n- match: [{uri: {prefix: /c}}]\n  rewrite: {uriRegexRewrite: {match: "^/c/(.*)$", rewrite: "/d/\\\\1"}}\n  ${TO}`,
      ),
  },
  {
    name: 'route: mirrors',
    yaml:
      BOTH +
      http(
        `- match: [{uri: {prefix: /a}}]\n  mirror: {host: bills.shop.svc.cluster.local, port: {number: 80}}\n  mirrorPercentage: {value: 10.5}\n  ${TO}\n- match: [{uri: {prefix: /b}}]\n  mirrors: [{destination: {host: bills.shop.svc.cluster.local}}, {destination: {host: orders.shop.svc.cluster.local, subset: v2}, percentage: {value: 1}}, {destination: {host: bills.shop.svc.cluster.local}, percentage: {value: 0}}]\n  ${TO}\n- mirror: {host: bills.shop.svc.cluster.local}\n  ${TO}`,
      ),
  },
  {
    name: 'route: headers',
    yaml:
      ORDERS +
      http(
        '- headers: {request: {set: {x-b: "2", x-a: "1", Host: set.example.com}, add: {x-c: "%REQ(x)%"}, remove: [x-d]}, response: {set: {x-e: e}, add: {x-f: f}, remove: [x-g]}}\n  route: [{destination: {host: orders.shop.svc.cluster.local}, headers: {request: {add: {x-h: h}, set: {":authority": other}}, response: {remove: [x-i]}}}]',
      ),
  },
  {
    name: 'route: CORS',
    yaml:
      ORDERS +
      http(
        `- corsPolicy: {allowOrigins: [{exact: "https://a.example"}, {prefix: "https://b"}, {regex: ".*"}], allowMethods: [GET, POST], allowHeaders: [x-a, x-b], exposeHeaders: [x-c], maxAge: 24h, allowCredentials: true}\n  match: [{uri: {prefix: /a}}]\n  ${TO}\n- corsPolicy: {allowOrigin: ["https://c.example"], allowCredentials: false, unmatchedPreflights: IGNORE}\n  ${TO}`,
      ),
  },
  {
    name: 'route: hosts that nobody has',
    yaml:
      ORDERS +
      virtual(
        'hosts: [elsewhere.example.org, ORDERS.shop.svc.cluster.local]\nhttp:\n- route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 80}}}]',
      ),
  },
  {
    name: 'route: wildcard hosts',
    yaml:
      BOTH +
      virtual(
        'hosts: ["*.shop.svc.cluster.local"]\nhttp:\n- name: wild\n  route: [{destination: {host: orders.shop.svc.cluster.local}}]',
        'wild',
      ) +
      virtual(
        'hosts: [bills.shop.svc.cluster.local]\nhttp:\n- name: own\n  route: [{destination: {host: bills.shop.svc.cluster.local, port: {number: 80}}}]',
        'bills',
      ),
  },
  {
    name: 'route: short names',
    yaml: BOTH + virtual('hosts: [orders]\nhttp: [{route: [{destination: {host: bills, port: {number: 80}}}]}]'),
  },
  {
    name: 'route: two of one host',
    yaml:
      ORDERS +
      virtual(
        'hosts: [orders.shop.svc.cluster.local]\nhttp: [{name: b, route: [{destination: {host: orders.shop.svc.cluster.local}}]}]',
        'b',
      ) +
      virtual(
        'hosts: [orders.shop.svc.cluster.local]\nhttp: [{name: a, route: [{destination: {host: orders.shop.svc.cluster.local}}]}]',
        'a',
      ),
  },
  {
    name: 'route: exported',
    yaml:
      BOTH +
      virtual(
        'hosts: [orders.shop.svc.cluster.local]\nexportTo: ["."]\nhttp: [{name: private, route: [{destination: {host: bills.shop.svc.cluster.local}}]}]',
        'private',
      ) +
      virtual(
        'hosts: [bills.shop.svc.cluster.local]\nexportTo: [edge]\nhttp: [{name: exported, route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 80}}}]}]',
        'exported',
      ) +
      virtual(
        'hosts: [orders.shop.svc.cluster.local]\ngateways: [some/gateway]\nhttp: [{name: gateway, route: [{destination: {host: bills.shop.svc.cluster.local}}]}]',
        'gateway',
      ),
  },
  {
    name: 'route: destinations bring services',
    yaml:
      BOTH +
      http('- route: [{destination: {host: bills.shop.svc.cluster.local, port: {number: 80}}}]') +
      object('Sidecar', 'edge', 'edge', 'egress: [{hosts: ["shop/orders.shop.svc.cluster.local"]}]'),
  },
  {
    name: 'route: explicit capture',
    yaml:
      BOTH +
      SUBSETS +
      http(
        '- match: [{uri: {prefix: /v2}}]\n  route: [{destination: {host: orders.shop.svc.cluster.local, subset: v2}}]\n- route: [{destination: {host: orders.shop.svc.cluster.local, subset: v1}}]',
      ),
    node: { capture: 'explicit' },
  },
  {
    name: 'TCP routes',
    yaml:
      BOTH +
      SUBSETS +
      virtual(
        'hosts: [orders.shop.svc.cluster.local]\ntcp:\n- match: [{port: 9000, sourceLabels: {app: edge}, destinationSubnets: [10.96.0.10/32, 10.97.0.0/16]}]\n  route: [{destination: {host: orders.shop.svc.cluster.local, subset: v1}}]\n- match: [{port: 9000}]\n  route: [{destination: {host: orders.shop.svc.cluster.local, subset: v1}, weight: 1}, {destination: {host: orders.shop.svc.cluster.local, subset: v2, port: {number: 9000}}, weight: 3}]',
      ),
  },
  {
    name: 'TLS routes',
    yaml:
      ORDERS +
      object(
        'ServiceEntry',
        'shop',
        'secure',
        'hosts: [secure.example.com]\nports: [{number: 443, name: tls, protocol: TLS}]\nresolution: DNS',
      ) +
      virtual(
        'hosts: [secure.example.com, "*.secure.example.com"]\ntls:\n- match: [{port: 443, sniHosts: [secure.example.com, "*.secure.example.com"]}, {sniHosts: [secure.example.com, "*.secure.example.com"]}]\n  route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 9000}}, weight: 40}, {destination: {host: secure.example.com}, weight: 60}]\n- match: [{sniHosts: [third.secure.example.com]}]\n  route: [{destination: {host: secure.example.com}}]',
        'secure',
      ),
  },
]
