/** Specs that an istiod's validation refuses, and what is told of them; and others beside them that it takes. */
import { object } from './case.ts'

export type Refusal = { readonly yaml: string; readonly says: RegExp }
const one = (kind: string, spec: string, says: RegExp): Refusal => ({ yaml: object(kind, 'edge', 'x', spec), says })
const rule = (spec: string, says: RegExp): Refusal => one('DestinationRule', `host: a.test\n${spec}`, says)
const sidecar = (spec: string, says: RegExp): Refusal => one('Sidecar', spec, says)
const source = (text: string, says: RegExp): Refusal =>
  one('AuthorizationPolicy', `rules: [{from: [{source: {${text}}}]}]`, says)
const route = (text: string): string => `hosts: [a.test]\nhttp: [{route: [{destination: {host: a.test}}], ${text}}]`
const http = (text: string, says: RegExp): Refusal => one('VirtualService', route(text), says)
const header = (value: string): Refusal =>
  http(`headers: {request: {set: {x: ${JSON.stringify(value)}}}}`, /http\[0\]\.headers\.request\.set\.x: holds a/)

const host = (name: string): Refusal =>
  one(
    'ServiceEntry',
    `hosts: [${JSON.stringify(name)}]\nports: [{number: 80, name: http, protocol: HTTP}]`,
    /hosts\[0\]: must be a DNS name/,
  )

export const REFUSALS: readonly Refusal[] = [
  ...['a b.test', 'a\u0000.test', 'a_b.test', 'a..test', '-a.test', 'a.*.test', 'ä.test', 'a.1'].map(host),
  rule('trafficPolicy: {}', /spec\.trafficPolicy: must say something/),
  rule('trafficPolicy: {connectionPool: {}}', /trafficPolicy\.connectionPool: must have tcp or http/),
  rule('trafficPolicy: {portLevelSettings: [{port: {number: 80}}]}', /portLevelSettings\[0\]: must say something/),
  rule('subsets: [{name: v1, trafficPolicy: {}}]', /subsets\[0\]\.trafficPolicy: must say something/),
  rule('subsets: [{name: V_1}]', /subsets\[0\]\.name: must be letters/),
  rule(
    'trafficPolicy: {tunnel: {targetHost: a.test, targetPort: 1}, proxyProtocol: {version: V1}}',
    /tunnel: cannot stand beside proxyProtocol/,
  ),
  rule(
    'trafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 3}}',
    /needs splitExternalLocalOriginErrors/,
  ),
  rule('workloadSelector: {matchLabels: {app: "a*"}}', /workloadSelector\.matchLabels\.app: cannot have a wildcard/),
  rule('workloadSelector: {matchLabels: {app: a}}\nexportTo: ["*"]', /exportTo: .*workloadSelector/),
  rule('workloadSelector: {matchLabels: {app: a}}\nexportTo: [shop]', /exportTo: .*workloadSelector/),
  rule('workloadSelector: {matchLabels: {app: a}}\nexportTo: [".", shop]', /exportTo: .*workloadSelector/),
  sidecar('{}', /spec: must have egress, ingress/),
  sidecar('workloadSelector: {labels: {app: a}}', /spec: must have egress, ingress/),
  sidecar(
    'outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: a.test, port: {number: 1}}}',
    /needs mode ALLOW/,
  ),
  sidecar(
    'outboundTrafficPolicy: {egressProxy: {host: a.test, port: {number: 1}}}',
    /egressProxy: needs mode ALLOW_ANY/,
  ),
  sidecar('outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.test}}', /egressProxy\.port: is missing/),
  sidecar(
    'egress: [{port: {number: 80, protocol: HTTP}, hosts: ["*/*"]}, {port: {number: 80, protocol: HTTP}, hosts: ["*/*"]}]',
    /egress\[1\]\.port: 80 stands twice/,
  ),
  source('', /from\[0\]\.source: must say something/),
  source('serviceAccounts: [a], namespaces: [b]', /cannot have serviceAccounts beside namespaces or principals/),
  source('notServiceAccounts: [a], principals: [b]', /cannot have serviceAccounts beside/),
  source('serviceAccounts: ["a*"]', /serviceAccounts\[0\]: must be SERVICE-ACCOUNT/),
  source('serviceAccounts: [a/b/c]', /serviceAccounts\[0\]: must be SERVICE-ACCOUNT/),
  source('trustDomains: ["a*b"]', /trustDomains\[0\]: must be a trust domain/),
  source('notTrustDomains: ["a/b"]', /notTrustDomains\[0\]: must be a trust domain/),
  one('AuthorizationPolicy', 'rules: [{to: [{operation: {}}]}]', /to\[0\]\.operation: must say something/),
  http('corsPolicy: {maxAge: 1.5s}', /corsPolicy\.maxAge: must be whole seconds/),
  http('corsPolicy: {maxAge: 0s}', /corsPolicy\.maxAge: must be a duration/),
  http('corsPolicy: {allowMethods: [FETCH]}', /allowMethods\[0\]: /),
  http('corsPolicy: {allowHeaders: ["a b"]}', /allowHeaders\[0\]: must be the name of a header/),
  http('corsPolicy: {allowOrigins: [{}]}', /allowOrigins\[0\]: must be one of/),
  ...['%', '50% off', '%REQ(x)', '%REQ(x)x%', '%X(["a" "b"])%', '%X(["a"', 'a\u0001', '%%%'].map(header),
  one('VirtualService', route('name: r').replace('a.test]', '"*"]'), /hosts\[0\]: cannot be "\*" for the mesh/),
  one(
    'VirtualService',
    `gateways: [shop/g, mesh]\n${route('name: r').replace('a.test]', '"*"]')}`,
    /hosts\[0\]: cannot be "\*" for the mesh/,
  ),
]

/** Next to those, and right. */
export const TAKEN: readonly string[] = [
  ...[
    '100%%',
    '%START_TIME%',
    '%REQ(:authority)%',
    '%X( ["a", "b"] ) %',
    String.raw`%X(["a\""])%`,
    '%A%%B%',
    '\tä',
  ].map((value) =>
    object('VirtualService', 'edge', 'x', route(`headers: {request: {set: {x: ${JSON.stringify(value)}}}}`)),
  ),
  object(
    'VirtualService',
    'edge',
    'x',
    route('corsPolicy: {maxAge: 1m, allowHeaders: ["*", x-a], allowMethods: ["*"]}'),
  ),
  object('VirtualService', 'edge', 'x', `gateways: [shop/g]\n${route('name: r').replace('a.test]', '"*"]')}`),
  object(
    'Sidecar',
    'edge',
    'x',
    'outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.test, port: {number: 1}}}',
  ),
  object('DestinationRule', 'edge', 'x', 'host: a.test\nworkloadSelector: {matchLabels: {app: a}}\nexportTo: ["."]'),
  object(
    'AuthorizationPolicy',
    'edge',
    'x',
    'rules: [{from: [{source: {trustDomains: ["*", "a*", "*b"], serviceAccounts: [a, b/c]}}]}]',
  ),
]
