/** Security: who may do what. */
import assert from 'node:assert/strict'
import { call, talk } from '../mesh/calls.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { AUTHZ_GRPC_PORT, AUTHZ_PORT, EXTERNAL, hostOf, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { authorizationPolicy } from '../yaml/yaml.ts'

const { httpbin, reviews, tcpEcho, greeter } = SERVICES
const HTTPBIN_PORT = httpbin.versions[0].port
const at = (path: string): Promise<number> => call(urlOf(httpbin, path)).then((a) => a.status)
const GUEST = ['guest', 'guest'] as const

const customPolicy = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext-authz, namespace: default}
spec:
  hosts: [ext-authz.test]
  resolution: STATIC
  ports: [{number: ${AUTHZ_PORT}, name: http, protocol: HTTP}]
  endpoints: [{address: ${EXTERNAL}}]
${authorizationPolicy('ext-authz', 'CUSTOM', '  - to: [{operation: {paths: ["/headers"]}}]\n').replace('  rules:', '  provider: {name: sample-ext-authz-http}\n  rules:')}`

const customTcp = customPolicy
  .replace(
    `number: ${AUTHZ_PORT}, name: http, protocol: HTTP`,
    `number: ${AUTHZ_GRPC_PORT}, name: grpc, protocol: GRPC`,
  )
  .replace('sample-ext-authz-http', 'sample-ext-authz-grpc')
  .replace('{paths: ["/headers"]}', `{ports: ["${tcpEcho.versions[0].port}", "${tcpEcho.versions[1].port}"]}`)

/** The name of a policy in a metric or line of the far agent. */
async function told(mesh: Mesh, name: string): Promise<boolean> {
  return mesh.eventually(
    async () => mesh.far.agent.process.log + ((await mesh.far.agent.get('/stats/prometheus'))?.text ?? ''),
    (text) => text.includes(name),
    (text) => text.includes(name),
  )
}

export const authorization: readonly Task[] = [
  {
    name: 'AuthorizationPolicy for HTTP',
    page: 'tasks/security/authorization/authz-http/',
    checks: [
      {
        what: 'nothing is allowed where no rule is',
        yaml: `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-nothing, namespace: default}
spec: {}
`,
        run: async () => {
          assert.equal(await at('/'), 403)
          assert.match(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'), /^$/)
        },
      },
      {
        what: 'by service account, method and path',
        yaml: authorizationPolicy(
          'viewer',
          'ALLOW',
          `  - from: [{source: {principals: ["cluster.local/ns/curl/sa/curl"]}}]
    to: [{operation: {methods: [GET], paths: ["/info*", "*/tail"], hosts: ["${hostOf(httpbin)}", "${hostOf(httpbin)}:*"]}}]
`,
        ),
        run: async (mesh) => {
          assert.deepEqual([await at('/info/1'), await at('/a/tail'), await at('/other')], [200, 200, 403])
          assert.equal((await call(urlOf(httpbin, '/info'), { method: 'POST' })).status, 403)
          assert.equal((await mesh.as(GUEST, HTTPBIN_PORT, '/info')).status, 403)
          assert.equal((await mesh.plain(HTTPBIN_PORT, '/info')).status, 403)
        },
      },
      {
        what: 'by namespace, address and header; what is not named passes',
        yaml: authorizationPolicy(
          'deny',
          'DENY',
          `  - {from: [{source: {namespaces: [guest]}}]}
  - {to: [{operation: {paths: ["/addresses"]}}], from: [{source: {ipBlocks: ["192.168.77.0/24"]}}]}
  - {to: [{operation: {paths: ["/headers"]}}], when: [{key: "request.headers[x-token]", notValues: [admin]}]}
`,
        ),
        run: async (mesh) => {
          assert.equal((await mesh.as(GUEST, HTTPBIN_PORT, '/')).status, 403)
          assert.deepEqual([await at('/'), await at('/addresses'), await at('/headers')], [200, 403, 403])
          assert.equal((await call(urlOf(httpbin, '/headers'), { headers: { 'x-token': 'admin' } })).status, 200)
        },
      },
      {
        what: 'DENY goes before ALLOW',
        yaml:
          authorizationPolicy('deny', 'DENY', '  - to: [{operation: {paths: ["/both"]}}]\n') +
          authorizationPolicy('allow', 'ALLOW', '  - {}\n'),
        run: async () => {
          assert.deepEqual([await at('/both'), await at('/one')], [403, 200])
        },
      },
      {
        what: 'a path in other words is the same path',
        yaml: authorizationPolicy('deny', 'DENY', '  - to: [{operation: {paths: ["/admin"]}}]\n'),
        run: async (mesh) => {
          for (const path of ['/admin', '/x/../admin', '/./admin', '/%61dmin', '/admin?x=1'])
            assert.notEqual((await mesh.raw(HTTPBIN_PORT, path)).slice(9, 12), '200', path)
          assert.equal(await at('/other'), 200)
        },
      },
      {
        what: 'the body of the refusal is `RBAC: access denied`',
        yaml: authorizationPolicy('deny', 'DENY', '  - to: [{operation: {paths: ["/admin"]}}]\n'),
        run: async () => {
          assert.equal((await call(urlOf(httpbin, '/admin'))).body, 'RBAC: access denied')
        },
      },
    ],
  },
  {
    name: 'AuthorizationPolicy for TCP',
    page: 'tasks/security/authorization/authz-tcp/',
    checks: [
      {
        what: 'by port; a rule with HTTP in it denies the port, and allows nothing',
        yaml: authorizationPolicy(
          'tcp-policy',
          'DENY',
          `  - to: [{operation: {methods: [GET], ports: ["${tcpEcho.versions[0].port}"]}}]\n`,
        ),
        run: async (mesh) => {
          const said = await Promise.all(Array.from({ length: 20 }, () => talk(hostOf(tcpEcho), tcpEcho.port, 'x\n')))
          assert.deepEqual([...new Set(said)].sort(), ['', 'tcp-echo-v2 x\n'])
          await mesh.set({
            yaml: authorizationPolicy(
              'tcp-policy',
              'ALLOW',
              `  - to: [{operation: {ports: ["${greeter.versions[0].port}"]}}]\n`,
            ),
          })
          assert.equal(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'), '')
          assert.equal(await talk(hostOf(greeter), greeter.port, ''), 'hello from greeter-v1\n')
        },
      },
    ],
  },
  {
    name: 'Path templates `{*}` and `{**}`',
    page: 'reference/config/security/authorization-policy/#Operation',
    yaml: authorizationPolicy('templates', 'DENY', '  - to: [{operation: {paths: ["/foo/{*}/bar", "/all/{**}"]}}]\n'),
    checks: [
      {
        what: 'what the template is about is denied, and nothing else',
        run: async () => {
          assert.deepEqual(
            [
              await at('/foo/1/bar'),
              await at('/all/1/2'),
              await at('/foo/1/2/bar'),
              await at('/foo/bar'),
              await at('/'),
            ],
            [403, 403, 200, 200, 200],
          )
        },
      },
    ],
  },
  {
    name: 'External authorization (CUSTOM)',
    page: 'tasks/security/authorization/authz-custom/',
    mesh: 'extensionProviders: [{name: sample-ext-authz-http, envoyExtAuthzHttp: {service: ext-authz.test, port: 8000, includeRequestHeadersInCheck: [x-ext-authz], headersToUpstreamOnAllow: [x-checked]}}]\n',
    yaml: customPolicy,
    checks: [
      {
        what: 'the paths of the policy by what the service says',
        run: async () => {
          const allowed = await call(urlOf(httpbin, '/headers'), { headers: { 'x-ext-authz': 'allow' } })
          assert.deepEqual([allowed.status, allowed.seen?.headers['x-checked']], [200, 'yes'])
          assert.equal((await call(urlOf(httpbin, '/headers'), { headers: { 'x-ext-authz': 'deny' } })).status, 403)
        },
      },
      {
        what: 'other paths pass without being asked about',
        run: async () => {
          assert.equal(await at('/ip'), 200)
        },
      },
      {
        what: 'TCP: a service over gRPC is asked about each connection, and by whom it is opened',
        mesh: `extensionProviders: [{name: sample-ext-authz-grpc, envoyExtAuthzGrpc: {service: ext-authz.test, port: ${AUTHZ_GRPC_PORT}}}]\n`,
        yaml: customTcp,
        run: async (mesh) => {
          await mesh.seen('authz-grpc')
          assert.match(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'), /^tcp-echo-v[12] x\n$/)
          const [asked] = await mesh.seen('authz-grpc')
          assert.equal(asked?.url, '/envoy.service.auth.v3.Authorization/Check')
          assert.match(String(asked.headers['asked']), /spiffe:\/\/cluster\.local\/ns\/curl\/sa\/curl/)
          assert.equal(await mesh.talkAs(GUEST, tcpEcho.versions[0].port, 'x\n'), '')
          assert.equal((await mesh.seen('authz-grpc')).length, 1)
        },
      },
    ],
  },
  {
    name: 'AUDIT and dry run',
    page: 'tasks/security/authorization/authz-dry-run/',
    checks: [
      {
        what: 'a dry run refuses nothing',
        yaml: dryRun(),
        run: async () => {
          assert.equal(await at('/headers'), 200)
        },
      },
      {
        what: 'what a dry run would have refused is told with the name of the policy',
        yaml: dryRun(),
        run: async (mesh) => {
          assert.equal(await at('/headers'), 200)
          assert.ok(await told(mesh, 'deny-path-headers'))
        },
      },
      {
        what: 'AUDIT leaves a line',
        yaml: authorizationPolicy('audited', 'AUDIT', '  - to: [{operation: {paths: ["/headers"]}}]\n'),
        run: async (mesh) => {
          assert.equal(await at('/headers'), 200)
          assert.ok(await told(mesh, 'audited'))
        },
      },
    ],
  },
  {
    name: 'Path normalization DECODE_AND_MERGE_SLASHES',
    page: 'ops/best-practices/security/#customize-your-system-on-path-normalization',
    mesh: 'pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}\n',
    yaml: authorizationPolicy('deny', 'DENY', '  - to: [{operation: {paths: ["/admin/x"]}}]\n'),
    checks: [
      {
        what: 'encoded and doubled slashes are one',
        run: async (mesh) => {
          for (const path of ['/admin/x', '/admin%2fx', '/admin//x', '/admin%5Cx'])
            assert.notEqual((await mesh.raw(HTTPBIN_PORT, path)).slice(9, 12), '200', path)
          assert.equal(await at('/admin/y'), 200)
          assert.equal((await call(urlOf(reviews))).status, 200)
        },
      },
    ],
  },
  {
    name: 'EnvoyFilter on the connection manager: headers with underscores, port of the host',
    page: 'ops/best-practices/security/#path-normalization',
    yaml: managerOptions(
      'common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}, strip_any_host_port: true',
    ),
    checks: [
      {
        what: 'headers with underscores are refused, the application sees the host without its port',
        run: async () => {
          const { status, seen } = await call(urlOf(httpbin))
          assert.deepEqual([status, seen?.headers['host']], [200, hostOf(httpbin)])
          assert.equal((await call(urlOf(httpbin), { headers: { x_admin: '1' } })).status, 400)
        },
      },
    ],
  },
]

function dryRun(): string {
  return authorizationPolicy('deny-path-headers', 'DENY', '  - to: [{operation: {paths: ["/headers"]}}]\n').replace(
    'namespace: default}',
    'namespace: default, annotations: {"istio.io/dry-run": "true"}}',
  )
}

function managerOptions(value: string): string {
  return `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: manager, namespace: default}
spec:
  configPatches:
  - applyTo: NETWORK_FILTER
    match:
      context: SIDECAR_INBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
    patch:
      operation: MERGE
      value:
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          ${value.replaceAll(', strip', '\n          strip')}
`
}
