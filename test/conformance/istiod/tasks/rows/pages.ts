/** Pages of Istio's documentation beside the tasks of the other files, and what a node outside of Kubernetes has no part in. */
import type { Task } from '../task.ts'

export const pages: readonly Task[] = [
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
