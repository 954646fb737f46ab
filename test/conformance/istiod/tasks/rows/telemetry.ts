/** Observability. */
import assert from 'node:assert/strict'
import type { MeshAgent } from '../../rig/mesh-agent.ts'
import { THERE_IP } from '../../rig/outside.ts'
import { call, talk } from '../mesh/calls.ts'
import { collectAt, collector, COLLECTOR, telemetry } from '../mesh/collector.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { hostOf, OTLP_PORT, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'

const { httpbin, tcpEcho } = SERVICES
const NEAR = '127.0.0.1'
let asked = 0

/** The page of a port; undefined when nobody answers with 200. */
async function page(host: string, port: number, path: string): Promise<string | undefined> {
  const answer = await call(`http://${host}:${port}${path}`)
  return answer.status === 200 ? answer.body : undefined
}
const metrics = async (host: string): Promise<readonly string[]> =>
  ((await page(host, 15_090, '/stats/prometheus')) ?? '').split('\n')

/** Asserts that there is a series of that name with all of these labels. */
async function assertSeries(
  mesh: Mesh,
  host: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const wanted = Object.entries(labels).map(([k, v]) => `${k}="${v}"`)
  const has = (lines: readonly string[]): boolean =>
    lines.some((l) => l.startsWith(`${name}{`) && wanted.every((w) => l.includes(w)))
  const lines = await mesh.eventually(
    () => metrics(host),
    has,
    (all) => all.filter((l) => l.startsWith(name)),
  )
  assert.ok(has(lines), `${name}{${wanted.join()}} is not in\n${lines.join('\n')}`)
}

const PEERS = {
  source_workload: 'curl-1',
  source_workload_namespace: 'curl',
  source_app: 'curl',
  source_principal: 'spiffe://cluster.local/ns/curl/sa/curl',
  destination_workload: 'bookinfo-1',
  destination_workload_namespace: 'default',
  destination_principal: 'spiffe://cluster.local/ns/default/sa/bookinfo',
  destination_app: 'bookinfo',
}

const GET_REVIEW =
  "request.url_path.matches('^/reviews/[[:alnum:]]*$') && request.method == 'GET' ? 'GetReview' : 'other'"

/** A path that nobody has asked for yet, and whether a line of the far agent has it. */
async function isLogged(mesh: Mesh, holds: (line: string) => boolean, status = 200): Promise<boolean> {
  const path = `/logged-${++asked}`
  await call(urlOf(httpbin, status === 200 ? path : `${path}?status=${status}`))
  const lines = (): readonly string[] =>
    mesh.far.agent.process.log.split('\n').filter((l) => l.includes(path) && holds(l))
  return mesh.eventually(
    async () => lines(),
    (all) => all.length > 0,
    (all) => all.length > 0,
  )
}

export const observability: readonly Task[] = [
  {
    name: 'Istio standard metrics, ports 15090, 15020, 15021',
    page: 'tasks/observability/metrics/querying-metrics/',
    checks: [
      {
        what: 'requests are counted on both sides, with both workloads',
        run: async (mesh) => {
          const { seen } = await call(urlOf(httpbin))
          const request = {
            ...PEERS,
            destination_service: hostOf(httpbin),
            destination_service_name: hostOf(httpbin),
            destination_service_namespace: 'default',
            request_protocol: 'http',
            response_code: '200',
            response_flags: '-',
          }
          const labels = (reporter: string): Record<string, string> => ({
            ...request,
            reporter,
            connection_security_policy: reporter === 'source' ? 'unknown' : 'mutual_tls',
          })
          for (const name of [
            'istio_requests_total',
            'istio_request_duration_milliseconds_bucket',
            'istio_request_bytes_sum',
            'istio_response_bytes_sum',
          ]) {
            await assertSeries(mesh, NEAR, name, labels('source'))
            await assertSeries(mesh, THERE_IP, name, labels('destination'))
          }
          const exchanged = Object.keys(seen?.headers ?? {}).filter((h) => h.startsWith('x-envoy-peer-metadata'))
          assert.deepEqual(exchanged, [])
        },
      },
      {
        what: 'connections are counted on both sides',
        run: async (mesh) => {
          await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n')
          const tcp = {
            request_protocol: 'tcp',
            destination_service: hostOf(tcpEcho),
            destination_principal: PEERS.destination_principal,
          }
          for (const name of [
            'istio_tcp_connections_opened_total',
            'istio_tcp_connections_closed_total',
            'istio_tcp_received_bytes_total',
            'istio_tcp_sent_bytes_total',
          ]) {
            await assertSeries(mesh, NEAR, name, { ...tcp, reporter: 'source', source_workload: 'curl-1' })
            await assertSeries(mesh, THERE_IP, name, {
              ...tcp,
              reporter: 'destination',
              source_principal: PEERS.source_principal,
            })
          }
        },
      },
      {
        what: 'a TCP server learns which workload called',
        run: async (mesh) => {
          await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n')
          await assertSeries(mesh, THERE_IP, 'istio_tcp_connections_opened_total', { source_workload: 'curl-1' })
        },
      },
      {
        what: 'a sidecar’s ports answer',
        run: async () => {
          for (const host of [NEAR, THERE_IP]) {
            assert.match(String(await page(host, 15_020, '/stats/prometheus')), /^istio_requests_total\{/m)
            assert.notEqual(await page(host, 15_021, '/healthz/ready'), undefined)
          }
        },
      },
    ],
  },
  {
    name: 'Customizing metrics: Telemetry API',
    page: 'tasks/observability/metrics/telemetry-api/',
    checks: [
      {
        what: 'labels removed and set to a constant',
        yaml: telemetry(`  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - match: {metric: REQUEST_COUNT}
      tagOverrides: {source_app: {operation: REMOVE}, site: {value: "'north'"}}
`),
        run: async (mesh) => {
          await call(urlOf(httpbin))
          await assertSeries(mesh, THERE_IP, 'istio_requests_total', { site: 'north', source_workload: 'curl-1' })
          const lines = (await metrics(THERE_IP)).filter((l) => l.includes('site="north"') && l.includes('source_app='))
          assert.deepEqual(lines, [])
        },
      },
      {
        what: 'labels by expressions',
        yaml: telemetry(`  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - match: {metric: REQUEST_COUNT}
      tagOverrides: {request_host: {value: request.host}, destination_port: {value: string(destination.port)}}
`),
        run: async (mesh) => {
          await call(urlOf(httpbin))
          const request_host = `${hostOf(httpbin)}:${httpbin.port}`
          await assertSeries(mesh, NEAR, 'istio_requests_total', {
            request_host,
            destination_port: String(httpbin.port),
          })
          await assertSeries(mesh, THERE_IP, 'istio_requests_total', {
            request_host,
            destination_port: String(httpbin.versions[0].port),
          })
        },
      },
      {
        what: 'labels by conditions, by who calls, and of connections; a name that is no attribute gives `unknown`',
        yaml: telemetry(`  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        asked: {value: "has(request.referer) ? request.referer : 'none'"}
        class: {value: "response.code >= 200 && response.code < 300 ? '2xx' : 'other'"}
        caller: {value: filter_state.downstream_peer.workload}
        operation: {value: istio_operationId}
    - match: {metric: TCP_OPENED_CONNECTIONS, mode: SERVER}
      tagOverrides:
        by: {value: filter_state.downstream_peer.workload}
        uri: {value: connection.uri_san_peer_certificate}
`),
        run: async (mesh) => {
          await call(urlOf(httpbin))
          const asked = { asked: 'none', class: '2xx', caller: 'curl-1', operation: 'unknown' }
          await assertSeries(mesh, THERE_IP, 'istio_requests_total', asked)
          await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n')
          const opened = { by: 'curl-1', uri: PEERS.source_principal }
          await assertSeries(mesh, THERE_IP, 'istio_tcp_connections_opened_total', opened)
        },
      },
      {
        what: 'a metric that is disabled does not count',
        yaml: telemetry(`  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - {match: {metric: REQUEST_COUNT}, disabled: true}
`),
        run: async () => {
          const sum = async (name: string): Promise<number> =>
            (await metrics(THERE_IP))
              .filter((l) => l.startsWith(`${name}{`))
              .reduce((all, l) => all + Number(l.split(' ').at(-1)), 0)
          const before = [await sum('istio_requests_total'), await sum('istio_response_bytes_count')]
          await call(urlOf(httpbin))
          const after = [await sum('istio_requests_total'), await sum('istio_response_bytes_count')]
          assert.deepEqual([after[0]! - before[0]!, after[1]! - before[1]!], [0, 1])
        },
      },
    ],
  },
  {
    name: 'Classifying metrics by request or response',
    page: 'tasks/observability/metrics/classify-metrics/',
    checks: [
      {
        what: 'operations by path and method',
        yaml: telemetry(`  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        request_operation: {value: "${GET_REVIEW}"}
`),
        run: async (mesh) => {
          await call(urlOf(httpbin, '/reviews/7'))
          await assertSeries(mesh, THERE_IP, 'istio_requests_total', { request_operation: 'GetReview' })
        },
      },
    ],
    differs: 'by expressions of `tagOverrides`: the page’s attribute generator is a Wasm module, which is not run',
  },
  {
    name: 'Access logs',
    page: 'tasks/observability/logs/access-log/',
    mesh: 'accessLogFile: /dev/stdout\n',
    checks: [
      {
        what: 'none without a setting',
        mesh: '',
        run: async (mesh) => {
          assert.equal(await isLogged(mesh, () => true), false)
        },
      },
      {
        what: 'a line for each request',
        run: async (mesh) => {
          assert.ok(await isLogged(mesh, () => true))
        },
      },
      {
        what: 'in Envoy’s format',
        run: async (mesh) => {
          assert.ok(
            await isLogged(mesh, (l) =>
              /^\[[-\d]+T[:.\d]+Z\] "GET \/logged-\d+ HTTP\/1\.1" 200 - via_upstream - "-" 0 \d+ /.test(l),
            ),
          )
        },
      },
      {
        what: 'in a format of one’s own',
        mesh: 'accessLogFile: /dev/stdout\naccessLogFormat: "own %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%\\n"\n',
        run: async (mesh) => {
          assert.ok(await isLogged(mesh, (l) => /^own GET \/logged-\d+ 200$/.test(l)))
        },
      },
      {
        what: 'as JSON, with labels of one’s own',
        yaml: '',
        mesh: 'accessLogFile: /dev/stdout\naccessLogEncoding: JSON\naccessLogFormat: \'{"where": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%"}\'\n',
        run: async (mesh) => {
          assert.ok(await isLogged(mesh, (l) => /^\{"status":200,"where":"\/logged-\d+"\}$/.test(l)))
        },
      },
      {
        what: 'a line for each TCP connection, on both sides',
        run: async (mesh) => {
          const count = (agent: MeshAgent, text: string): number => agent.agent.process.log.split(text).length
          const outbound = `outbound|${tcpEcho.port}||${hostOf(tcpEcho)}`
          const lines = (): number =>
            count(mesh.near, outbound) + count(mesh.far, 'inbound|9001||') + count(mesh.far, 'inbound|9002||')
          const before = lines()
          await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n')
          const more = await mesh.eventually(
            async () => lines() - before,
            (n) => n >= 2,
            (n) => n,
          )
          assert.ok(more >= 2, String(more))
        },
      },
      {
        what: 'OpenTelemetry: entries go to the collector over gRPC',
        mesh: collector(`envoyOtelAls: {service: collector.test, port: ${OTLP_PORT}}`),
        yaml: COLLECTOR + telemetry('  accessLogging:\n  - {providers: [{name: otel}]}\n'),
        run: async (mesh) => {
          const paths = await collectAt(mesh, 'collector')
          assert.ok(paths.includes('/opentelemetry.proto.collector.logs.v1.LogsService/Export'), paths.join())
        },
      },
      {
        what: 'Envoy’s access log service: entries go to it',
        mesh: collector(`envoyHttpAls: {service: collector.test, port: ${OTLP_PORT}}`),
        yaml: COLLECTOR + telemetry('  accessLogging:\n  - {providers: [{name: otel}]}\n'),
        run: async (mesh) => {
          const paths = await collectAt(mesh, 'collector')
          assert.ok(paths.includes('/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs'), paths.join())
        },
      },
      {
        what: 'only what a filter lets through',
        yaml: telemetry(`  accessLogging:
  - providers: [{name: envoy}]
    filter: {expression: "response.code >= 500"}
`),
        run: async (mesh) => {
          assert.ok(await isLogged(mesh, () => true, 503))
          assert.equal(await isLogged(mesh, () => true), false)
        },
      },
    ],
  },
]
