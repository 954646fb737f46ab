/** Observability: traces and ids of requests. */
import assert from 'node:assert/strict'
import { call } from '../mesh/calls.ts'
import { collectAt, collector, COLLECTOR, telemetry } from '../mesh/collector.ts'
import { OTLP_PORT, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'

const { httpbin } = SERVICES
const OTLP = collector(`opentelemetry: {service: collector.test, port: ${OTLP_PORT}}`)
const ZIPKIN = collector('zipkin: {service: collector.test, port: 80}')
const OTLP_HTTP = collector('opentelemetry: {service: collector.test, port: 80, http: {path: /v1/traces, timeout: 3s}}')

export const tracing: readonly Task[] = [
  {
    name: 'Trace sampling',
    page: 'tasks/observability/distributed-tracing/sampling/',
    mesh: OTLP,
    checks: [0, 100].map((share) => ({
      what: `${share} % of the requests`,
      yaml: `${COLLECTOR}${telemetry(`  tracing:\n  - {providers: [{name: otel}], randomSamplingPercentage: ${share}}\n`)}`,
      run: async () => {
        const { seen } = await call(urlOf(httpbin))
        assert.match(String(seen?.headers['traceparent']), share === 0 ? /-00$/ : /-01$/)
      },
    })),
  },
  {
    name: 'Tracing: OpenTelemetry, Zipkin',
    page: 'tasks/observability/distributed-tracing/opentelemetry/',
    mesh: OTLP,
    yaml: COLLECTOR + telemetry('  tracing:\n  - {providers: [{name: otel}], randomSamplingPercentage: 100}\n'),
    checks: [
      {
        what: 'a trace that comes goes on',
        run: async () => {
          const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
          const { seen } = await call(urlOf(httpbin), { headers: { traceparent } })
          assert.match(String(seen?.headers['traceparent']), /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)
        },
      },
      {
        what: 'a trace begins where none comes',
        run: async () => {
          const { seen } = await call(urlOf(httpbin))
          assert.match(String(seen?.headers['traceparent']), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
        },
      },
      {
        what: 'spans go to the collector over gRPC',
        run: async (mesh) => {
          const paths = await collectAt(mesh, 'collector')
          assert.ok(paths.includes('/opentelemetry.proto.collector.trace.v1.TraceService/Export'), paths.join())
        },
      },
      {
        what: 'spans go to Zipkin, with the headers of B3',
        mesh: ZIPKIN,
        run: async (mesh) => {
          const { seen } = await call(urlOf(httpbin))
          assert.match(String(seen?.headers['x-b3-traceid']), /^[0-9a-f]{16,32}$/)
          assert.ok((await collectAt(mesh, 'external')).includes('/api/v2/spans'))
        },
      },
      {
        what: 'spans go to the collector over HTTP',
        mesh: OTLP_HTTP,
        run: async (mesh) => {
          assert.ok((await collectAt(mesh, 'external')).includes('/v1/traces'))
        },
      },
    ],
  },
  {
    name: 'Request ids',
    page: 'tasks/observability/distributed-tracing/overview/',
    checks: [
      {
        what: 'one is made, one that comes is kept, the answer of both hops is about the same',
        run: async () => {
          const { seen } = await call(urlOf(httpbin))
          assert.match(
            String(seen?.headers['x-request-id']),
            /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
          )
          const given = await call(urlOf(httpbin), { headers: { 'x-request-id': 'mine-1' } })
          assert.equal(given.seen?.headers['x-request-id'], 'mine-1')
        },
      },
    ],
  },
]
