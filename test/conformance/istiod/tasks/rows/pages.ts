/** Pages of Istio's documentation beside the tasks of the other files, and what a node outside of Kubernetes has no part in. */
import assert from 'node:assert/strict'
import { call, talk } from '../mesh/calls.ts'
import { EXTERNAL, EXTERNAL_TCP_PORT, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { authorizationPolicy, envoyFilter } from '../yaml/yaml.ts'

const { httpbin } = SERVICES

const denial = (rules: string): string => authorizationPolicy('deny-method-get', 'DENY', rules)

export const pages: readonly Task[] = [
  {
    name: 'Explicit deny',
    page: 'tasks/security/authorization/authz-deny/',
    checks: [
      {
        what: 'GET is denied, then GET without a token of an administrator, beside a policy that allows paths',
        run: async (mesh) => {
          const get = async (path: string, token = ''): Promise<number> =>
            (await call(urlOf(httpbin, path), { headers: { 'x-token': token } })).status
          await mesh.set({ yaml: denial('  - to: [{operation: {methods: ["GET"]}}]\n') })
          const { status: posted } = await call(urlOf(httpbin, '/post'), { method: 'POST' })
          assert.deepEqual([await get('/get'), posted], [403, 200])
          const guarded = denial(
            '  - {to: [{operation: {methods: ["GET"]}}], when: [{key: "request.headers[x-token]", notValues: ["admin"]}]}\n',
          )
          await mesh.set({ yaml: guarded })
          assert.deepEqual([await get('/get', 'admin'), await get('/get', 'guest')], [200, 403])
          await mesh.set({
            yaml: guarded + authorizationPolicy('allow-path-ip', 'ALLOW', '  - to: [{operation: {paths: ["/ip"]}}]\n'),
          })
          const seen = [await get('/ip', 'guest'), await get('/ip', 'admin'), await get('/get', 'admin')]
          assert.deepEqual(seen, [403, 200, 403])
        },
      },
    ],
  },
  {
    name: 'Using an external HTTPS proxy',
    page: 'tasks/traffic-management/egress/http-proxy/',
    yaml: `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxy, namespace: curl}
spec:
  hosts: [my-company-proxy.test]
  addresses: [${EXTERNAL}/32]
  location: MESH_EXTERNAL
  ports: [{number: ${EXTERNAL_TCP_PORT}, name: tcp, protocol: TCP}]
`,
    checks: [
      {
        what: 'what a client says to the proxy, CONNECT above all, comes to it as it is',
        mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n',
        run: async () => {
          const said = 'CONNECT en.wikipedia.org:443 HTTP/1.1\r\n'
          assert.equal(await talk(EXTERNAL, EXTERNAL_TCP_PORT, said), `external-tcp ${said}`)
        },
      },
    ],
  },
  {
    name: 'Health check filter by EnvoyFilter',
    page: 'reference/config/networking/envoy-filter/',
    yaml: envoyFilter(
      'health',
      `  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.health_check
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck
          pass_through_mode: false
          headers: [{name: ":path", string_match: {exact: /healthz}}]
`,
    ),
    checks: [
      {
        what: 'the sidecar answers for its node, other paths come to the application',
        run: async (mesh) => {
          await mesh.seen('httpbin-v1')
          const { status, app } = await call(urlOf(httpbin, '/healthz'))
          assert.deepEqual([status, app], [200, ''])
          assert.deepEqual(await mesh.seen('httpbin-v1'), [])
          assert.equal((await call(urlOf(httpbin, '/ip'))).app, 'httpbin-v1')
        },
      },
    ],
  },
  {
    name: 'Plug in CA certificates; another root',
    page: 'tasks/security/cert-management/plugin-ca-cert/',
    shownBy: ['test/conformance/istiod/identity/root-rotation.test.ts', 'works'],
    checks: [],
  },
  {
    name: 'Health checking of services',
    page: 'ops/configuration/mesh/app-health-check/',
    differs: 'probes are those of the WorkloadGroup or of agent.yaml: nothing rewrites those of a pod to `/app-health`',
    shownBy: ['test/conformance/istiod/traffic/readiness-probe.test.ts', 'partly'],
    checks: [],
  },
  {
    name: 'Grafana: Istio’s dashboards',
    page: 'tasks/observability/metrics/using-istio-dashboard/',
    shownBy: ['test/protocols/telemetry/dashboards.test.ts', 'works'],
    checks: [],
  },
  {
    name: 'Prometheus: metrics merging',
    page: 'ops/integrations/prometheus/#option-1-metrics-merging',
    differs: '`telemetry.applications` of agent.yaml, or `ISTIO_PROMETHEUS_ANNOTATIONS`, in the annotations’ place',
    shownBy: ['test/agent/admin/application-metrics.test.ts', 'partly'],
    checks: [],
  },
  {
    name: 'Envoy statistics (proxyStatsMatcher)',
    page: 'ops/configuration/telemetry/envoy-stats/',
    reason: 'Envoy’s own statistics are not there; meshlet’s are `mesh_…` ([metrics.md](metrics.md))',
    checks: [],
  },
  {
    name: 'Tracing: SkyWalking, Lightstep, Datadog',
    page: 'tasks/observability/distributed-tracing/skywalking/',
    reason: 'spans are written for Zipkin and OpenTelemetry only; what cannot be written is told, and requests pass',
    checks: [],
  },
  {
    name: 'SPIRE',
    page: 'ops/integrations/spire/',
    reason:
      'SPIRE’s socket (SDS) is not read; `identity.folder` takes the files of a certificate that another program renews',
    checks: [],
  },
  {
    name: 'Gateway API inference extension',
    page: 'tasks/traffic-management/ingress/gateway-api-inference-extension/',
    reason: 'an external processor (ext_proc) picks the endpoint, and none is asked',
    checks: [],
  },
  {
    name: 'Waypoints of an ambient mesh',
    page: 'ambient/usage/waypoint/',
    reason:
      'istiod leads gateways to waypoints and no sidecar (endpoint_builder.go, findServiceWaypoint), so a sidecar’s requests pass none; an endpoint that names a waypoint is reached through it, and tunnels of a waypoint are those of anybody',
    checks: [],
  },
  {
    name: 'Ambient with several networks (a tunnel in a tunnel)',
    page: 'ambient/install/multicluster/multi-primary_multi-network/',
    reason:
      'istiod sends it to gateways and waypoints and no sidecar (ep_filters.go); sidecars reach other networks by mutual TLS through port 15443, which works',
    checks: [],
  },
  {
    name: 'Custom CA by Kubernetes CSR; Kubernetes Ingress; Services of type ExternalName',
    page: 'tasks/security/cert-management/custom-ca-k8s/',
    reason: 'not tried: objects of Kubernetes that istiod alone reads, and the in-memory API of the tests has not',
    checks: [],
  },
]
