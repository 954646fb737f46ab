/** Extensions, other kinds of proxies, and Istio's own tools. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder, withEnds } from '../../../programs.ts'
import { istioctl, proxyStatus } from '../../rig/istioctl.ts'
import type { MeshAgent } from '../../rig/mesh-agent.ts'
import { call, talk } from '../mesh/calls.ts'
import { GATEWAY_NAMESPACE } from '../mesh/gateway.ts'
import { EXTERNAL, hostOf, LIMITS_PORT, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { gateway } from '../yaml/gateway-yaml.ts'
import { countApps, envoyFilter } from '../yaml/yaml.ts'

const { httpbin, tcpEcho } = SERVICES

/** What istioctl prints of a page of an agent. */
function proxyConfig({ agent }: MeshAgent, kind: string, page: string): Promise<string> {
  return withEnds(async (t) => {
    const file = path.join(temporaryFolder(t), 'page.json')
    fs.writeFileSync(file, (await agent.get(page))!.text)
    const { code, out, err } = await istioctl(t, ['proxy-config', kind, '--file', file])
    assert.equal(code, 0, err)
    return out
  })
}

const WASM_PLUGIN = `---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: basic-auth, namespace: default}
spec:
  selector: {matchLabels: {workload: bookinfo}}
  url: http://192.168.77.1:9/no-such-module.wasm
  phase: AUTHN
  failStrategy: FAIL_OPEN
`

const inboundFilter = (name: string, type: string, config: string): string =>
  envoyFilter(
    name,
    `  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: ${type}
        typed_config:
${config}`,
  )

const limitService = (host: string): string => `            rate_limit_service:
              grpc_service: {envoy_grpc: {cluster_name: "outbound|${LIMITS_PORT}||${host}", authority: ${host}}}
              transport_api_version: V3
`
const LIMIT_SERVICE = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ratelimit, namespace: default}
spec:
  hosts: [ratelimit.test]
  resolution: STATIC
  ports: [{number: ${LIMITS_PORT}, name: grpc, protocol: GRPC}]
  endpoints: [{address: ${EXTERNAL}}]
`
/** @param host of the rate limit service */
const globalLimit = (host: string): string =>
  LIMIT_SERVICE +
  inboundFilter(
    'filter-ratelimit',
    'envoy.filters.http.ratelimit',
    `            "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
            domain: ratelimit
            failure_mode_deny: true
            timeout: 10s
${limitService(host)}`,
  ) +
  envoyFilter(
    'filter-ratelimit-svc',
    `  - applyTo: VIRTUAL_HOST
    match: {context: SIDECAR_INBOUND, routeConfiguration: {vhost: {route: {action: ANY}}}}
    patch:
      operation: MERGE
      value: {rate_limits: [{actions: [{request_headers: {header_name: ":path", descriptor_key: PATH}}]}]}
`,
  )
const tcpLimit =
  LIMIT_SERVICE +
  envoyFilter(
    'tcp-ratelimit',
    `  - applyTo: NETWORK_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.network.ratelimit
        typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.ratelimit.v3.RateLimit
            stat_prefix: tcp
            domain: ratelimit
            failure_mode_deny: true
            timeout: 10s
            descriptors: [{entries: [{key: limited, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}]}]
${limitService('ratelimit.test')}`,
  )

export const operations: readonly Task[] = [
  {
    name: 'Local rate limit by EnvoyFilter',
    page: 'tasks/policy-enforcement/rate-limit/#local-rate-limit',
    yaml: inboundFilter(
      'filter-local-ratelimit-svc',
      'envoy.filters.http.local_ratelimit',
      `          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          value:
            stat_prefix: http_local_rate_limiter
            token_bucket: {max_tokens: 4, tokens_per_fill: 4, fill_interval: 60s}
            filter_enabled: {runtime_key: local_rate_limit_enabled, default_value: {numerator: 100, denominator: HUNDRED}}
            filter_enforced: {runtime_key: local_rate_limit_enforced, default_value: {numerator: 100, denominator: HUNDRED}}
            response_headers_to_add: [{append_action: OVERWRITE_IF_EXISTS_OR_ADD, header: {key: x-local-rate-limit, value: "true"}}]
`,
    ),
    checks: [
      {
        what: 'four requests pass, the others get 429 and say why',
        run: async () => {
          assert.deepEqual(await countApps(urlOf(httpbin), 10), { 'httpbin-v1': 4, 429: 6 })
          assert.equal((await call(urlOf(httpbin))).headers['x-local-rate-limit'], 'true')
        },
      },
    ],
  },
  {
    name: 'Global rate limit by EnvoyFilter',
    page: 'tasks/policy-enforcement/rate-limit/#global-rate-limit',
    yaml: globalLimit('ratelimit.test'),
    checks: [
      {
        what: 'the service counts by the descriptors of the route: two pass, the others get 429',
        run: async () => {
          assert.deepEqual(await countApps(urlOf(httpbin, '/limited'), 6), { 'httpbin-v1': 2, 429: 4 })
          assert.equal((await call(urlOf(httpbin, '/limited'))).headers['x-envoy-ratelimited'], 'true')
        },
      },
      {
        what: 'other paths pass, and were counted by themselves',
        run: async (mesh) => {
          await mesh.seen('limits')
          assert.deepEqual(await countApps(urlOf(httpbin, '/other'), 4), { 'httpbin-v1': 4 })
          const asked = await mesh.seen('limits')
          assert.deepEqual(
            asked.map(({ url, headers }) => [url, headers['asked']?.includes('PATH\x12\x06/other')]),
            Array.from({ length: 4 }, () => ['/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit', true]),
          )
        },
      },
      {
        what: 'a service that cannot be asked refuses, with failure_mode_deny',
        yaml: globalLimit('nowhere.test'),
        run: async () => {
          assert.equal((await call(urlOf(httpbin, '/other'))).status, 500)
        },
      },
      {
        what: 'TCP: connections are counted by the network filter',
        yaml: tcpLimit,
        run: async () => {
          const told: string[] = []
          for (let i = 0; i < 4; i++) told.push(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'))
          assert.deepEqual(
            told.map((text) => /^tcp-echo-v[12] x\n$/.test(text)),
            [true, true, false, false],
          )
        },
      },
    ],
  },
  {
    name: 'Lua by EnvoyFilter',
    page: 'reference/config/networking/envoy-filter/',
    yaml: inboundFilter(
      'lua',
      'envoy.filters.http.lua',
      `          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {inline_string: "function envoy_on_request(handle) handle:headers():add('x-lua', 'yes') end"}
`,
    ),
    checks: [
      {
        what: 'the script runs',
        differs: 'scripts are not run: inbound 503',
        run: async () => {
          assert.equal((await call(urlOf(httpbin))).seen?.headers['x-lua'], 'yes')
        },
      },
    ],
  },
  {
    name: 'WasmPlugin',
    page: 'tasks/extensibility/wasm-module-distribution/',
    yaml: WASM_PLUGIN,
    checks: [
      {
        what: 'without a module, FAIL_OPEN lets requests pass',
        differs: 'modules are not run: inbound 503, whatever `failStrategy` says',
        run: async () => {
          assert.equal((await call(urlOf(httpbin))).status, 200)
        },
      },
    ],
  },
  {
    name: 'istioctl: proxy-status, proxy-config',
    page: 'ops/diagnostic-tools/proxy-cmd/',
    checks: [
      {
        what: 'both agents are synced',
        run: async ({ istiod }) => {
          const { out } = await withEnds((t) => proxyStatus(t, istiod))
          for (const node of ['curl-1.curl', 'bookinfo-1.default']) assert.match(out, new RegExp(`${node}.*SYNCED`))
        },
      },
      {
        what: 'clusters, listeners, routes, secrets and endpoints of a dump',
        run: async (mesh) => {
          assert.match(await proxyConfig(mesh.near, 'clusters', '/config_dump'), new RegExp(hostOf(httpbin)))
          assert.match(await proxyConfig(mesh.near, 'listeners', '/config_dump'), /15001/)
          assert.match(await proxyConfig(mesh.near, 'routes', '/config_dump'), new RegExp(hostOf(httpbin)))
          assert.match(await proxyConfig(mesh.near, 'secret', '/config_dump'), /default.*ACTIVE/)
          assert.match(await proxyConfig(mesh.near, 'endpoints', '/clusters?format=json'), new RegExp(hostOf(httpbin)))
        },
      },
      {
        what: 'secrets of a gateway, without their keys',
        yaml: gateway(
          'gw',
          '{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: shown}, hosts: ["*"]}',
        ),
        run: async ({ istiod, gateway: { agent }, gateway: node, external, eventually }) => {
          const { cert, key } = external.server
          istiod.secret(GATEWAY_NAMESPACE, 'shown', { 'tls.crt': cert, 'tls.key': key })
          await eventually(
            () => proxyConfig(node, 'secret', '/config_dump'),
            (shown) => shown.includes('kubernetes://shown'),
            (shown) => assert.match(shown, /kubernetes:\/\/shown +Cert Chain +ACTIVE +true/),
          )
          const dump = (await agent.get('/config_dump'))?.text ?? ''
          assert.ok(!dump.includes(Buffer.from(key).toString('base64').slice(0, 60)))
        },
      },
      {
        what: 'extensions of a dump (ecds), without any and with one',
        run: async (mesh) => {
          await proxyConfig(mesh.far, 'ecds', '/config_dump')
          await mesh.set({ yaml: WASM_PLUGIN })
          assert.match(await proxyConfig(mesh.far, 'ecds', '/config_dump'), /default\.basic-auth/)
        },
      },
    ],
  },
  {
    name: 'MQTT by EnvoyFilter',
    page: 'reference/config/networking/envoy-filter/',
    shownBy: ['test/conformance/istiod/traffic/mqtt.test.ts', 'works'],
    checks: [],
  },
  {
    name: 'Virtual machines: WorkloadGroup, auto-registration, health',
    page: 'setup/install/virtual-machine/',
    shownBy: ['test/conformance/istiod/identity/istio-folder.test.ts', 'works'],
    checks: [],
  },
  {
    name: 'Revisions',
    page: 'setup/upgrade/canary/',
    shownBy: ['test/conformance/istiod/ads/revisions.test.ts', 'works'],
    checks: [],
  },
  {
    name: 'A thousand services and more',
    page: 'ops/deployment/performance-and-scalability/',
    shownBy: ['test/conformance/istiod/ads/many-services.test.ts', 'works'],
    checks: [],
  },
]
