/** PeerAuthentication, AuthorizationPolicy, RequestAuthentication. */
import { BILLS, object, ORDERS, OWN, type YamlCase } from './case.ts'

const peer = (spec: string, name = 'default', namespace = 'edge'): string =>
  object('PeerAuthentication', namespace, name, spec)
const authorize = (spec: string, name = 'policy', namespace = 'edge', more = ''): string =>
  object('AuthorizationPolicy', namespace, name, spec, more)
const tokens = (spec: string, name = 'jwt'): string => object('RequestAuthentication', 'edge', name, spec)
const JWKS = String.raw`'{"keys":[{"kty":"oct","kid":"1","k":"YQ"}]}'`
const KEYS = '"http://orders.shop.svc.cluster.local/keys"'
const EVERYTHING = `
rules:
- from:
  - source: {principals: ["cluster.local/ns/shop/sa/orders", "*/sa/x", "other/ns/a/*", "*"], notPrincipals: ["*"], namespaces: [shop, "pre-*", "*-post"], notNamespaces: [bad], ipBlocks: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32"], notIpBlocks: [10.1.0.0/16], remoteIpBlocks: [172.16.0.0/12], notRemoteIpBlocks: [172.17.0.1]}
  - source: {serviceAccounts: [orders, shop/bills], notServiceAccounts: [shop/bad], trustDomains: [cluster.local, "*", "*.org", "a*"], notTrustDomains: [evil.org]}
  to:
  - operation: {methods: [GET, "P*"], notMethods: [PUT], paths: [/a, /b*, "*c", "*", "/d/{*}/e", "/f/{**}"], notPaths: [/admin*], hosts: [a.example.com, "*.b", "c*", "*"], notHosts: [x], ports: ["80", "8080"], notPorts: ["22"]}
  - operation: {ports: ["9000"]}
  when:
  - {key: source.ip, values: [10.2.0.0/16], notValues: [10.2.3.0/24]}
  - {key: destination.ip, values: [10.0.0.9]}
  - {key: destination.port, values: ["8080"]}
  - {key: connection.sni, values: [a.example.com, "*.example.org"]}
  - {key: source.namespace, values: [shop]}
`
const HTTP_CONDITIONS = `
rules:
- when:
  - {key: "request.headers[x-token]", values: [a, "b*", "*c", "*"], notValues: [d]}
  - {key: remote.ip, values: [10.0.0.0/8]}
  - {key: source.principal, values: ["cluster.local/ns/shop/sa/orders"]}
  - {key: request.auth.principal, values: ["https://issuer/sub", "*", "*/sub", "https://issuer/*", "iss*", "*b"], notValues: [x/y]}
  - {key: request.auth.audiences, values: [aud, "aud*"]}
  - {key: request.auth.presenter, values: [presenter]}
  - {key: "request.auth.claims[group]", values: [admin, "*"]}
  - {key: "request.auth.claims[a][b]", values: ["x*"], notValues: ["xy"]}
  - {key: "experimental.envoy.filters.network.meshlet.mqtt_proxy[topic]", values: ["a/#", "[b/+]"], notValues: ["c"]}
- from: [{source: {requestPrincipals: ["https://issuer/*"], notRequestPrincipals: ["*"]}}]
`

export const SECURITY: readonly YamlCase[] = [
  ...['STRICT', 'PERMISSIVE', 'DISABLE', 'UNSET'].flatMap((mode) => [
    { name: `peer: ${mode}`, yaml: OWN + ORDERS + peer(`mtls: {mode: ${mode}}`) },
    {
      name: `peer: ${mode} of the mesh, and of a service`,
      yaml:
        OWN +
        ORDERS +
        BILLS +
        peer(`mtls: {mode: ${mode}}`, 'root', 'istio-system') +
        peer('mtls: {mode: DISABLE}', 'shop', 'shop'),
    },
  ]),
  {
    name: 'peer: of a workload, by ports',
    yaml:
      OWN +
      peer('mtls: {mode: PERMISSIVE}') +
      peer(
        'selector: {matchLabels: {app: edge}}\nmtls: {mode: STRICT}\nportLevelMtls: {8080: {mode: DISABLE}, 9001: {mode: PERMISSIVE}, 7777: {mode: UNSET}, 7778: {mode: DISABLE}}',
        'edge',
      ),
  },
  {
    name: 'peer: of endpoints',
    yaml:
      ORDERS +
      peer('selector: {matchLabels: {version: v1}}\nmtls: {mode: DISABLE}', 'v1', 'shop') +
      peer('selector: {matchLabels: {version: v2}}\nportLevelMtls: {8081: {mode: DISABLE}}', 'v2', 'shop'),
  },
  {
    name: 'peer: two of a namespace, none said',
    yaml:
      OWN + peer('mtls: {mode: STRICT}', 'b') + peer('mtls: {mode: DISABLE}', 'a') + peer('{}', 'root', 'istio-system'),
  },
  {
    name: 'peer: Sidecar ingress, explicit',
    yaml:
      peer('mtls: {mode: STRICT}') +
      object(
        'Sidecar',
        'edge',
        'edge',
        'ingress: [{port: {number: 8443, protocol: HTTP, name: http}, bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:8080"}, {port: {number: 8444, protocol: TCP, name: tcp}, bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:8081"}]',
      ),
    node: { capture: 'explicit' },
  },
  ...['ALLOW', 'DENY', 'AUDIT'].flatMap((action) => [
    { name: `authorize: ${action}, all of a connection`, yaml: OWN + authorize(`action: ${action}\n${EVERYTHING}`) },
    { name: `authorize: ${action}, all of a request`, yaml: OWN + authorize(`action: ${action}\n${HTTP_CONDITIONS}`) },
  ]),
  { name: 'authorize: nothing', yaml: OWN + authorize('{}') },
  { name: 'authorize: anything', yaml: OWN + authorize('rules: [{}]') },
  {
    name: 'authorize: all actions, root and workload',
    yaml:
      OWN +
      authorize('action: DENY\nrules: [{to: [{operation: {paths: [/admin]}}]}]', 'deny') +
      authorize('selector: {matchLabels: {app: edge}}\nrules: [{from: [{source: {namespaces: [shop]}}]}]', 'allow') +
      authorize('action: AUDIT\nrules: [{}]', 'audit') +
      authorize('rules: [{to: [{operation: {methods: [GET]}}]}]', 'root', 'istio-system') +
      authorize('selector: {matchLabels: {app: other}}\nrules: [{}]', 'other') +
      authorize('rules: [{}]', 'elsewhere', 'shop'),
  },
  {
    name: 'authorize: dry run',
    yaml:
      OWN +
      ['ALLOW', 'DENY']
        .map((action) =>
          authorize(
            `action: ${action}\nrules: [{to: [{operation: {methods: [GET]}}]}]`,
            action.toLowerCase(),
            'edge',
            ', annotations: {istio.io/dry-run: "true"}',
          ),
        )
        .join('') +
      authorize('rules: [{to: [{operation: {ports: ["80"]}}]}]', 'enforced'),
  },
  { name: 'tokens: one issuer', yaml: OWN + tokens(`jwtRules: [{issuer: "https://a", jwks: ${JWKS}}]`) },
  {
    name: 'tokens: two issuers, all said',
    yaml:
      OWN +
      tokens(
        `selector: {matchLabels: {app: edge}}\njwtRules:\n- {issuer: "https://b", jwks: ${JWKS}, audiences: [x, z], fromHeaders: [{name: x-jwt, prefix: "Bearer "}, {name: "y"}], fromParams: [token], fromCookies: [c], outputPayloadToHeader: x-payload, forwardOriginalToken: true, outputClaimToHeaders: [{header: x-sub, claim: sub}], timeout: 3s, spaceDelimitedClaims: [roles]}\n- {issuer: "https://a", jwks: ${JWKS}}`,
      ) +
      authorize('rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]'),
  },
  {
    name: 'tokens: keys of a service',
    yaml: OWN + ORDERS + tokens(`jwtRules: [{issuer: "https://a", jwksUri: ${KEYS}}]`),
  },
  {
    name: 'tokens: keys of services, an address, a host that nobody knows',
    yaml:
      OWN +
      BILLS +
      tokens(
        [
          'jwtRules:',
          '- {issuer: "https://a", jwksUri: "http://bills.shop.svc.cluster.local/keys?x=1#y", timeout: 1m30.5s}',
          '- {issuer: "https://b", jwks_uri: "https://Unknown.example.com/keys"}',
          '- {issuer: "https://c", jwksUri: "HTTPS://[2001:db8::1]:8443"}',
          '- {jwksUri: "https://none.example.com/"}',
          `- {issuer: "https://d", jwksUri: "http://192.0.2.1:8080/k", jwks: ${JWKS}}`,
        ].join('\n'),
      ),
  },
]
