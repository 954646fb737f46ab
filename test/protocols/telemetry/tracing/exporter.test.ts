import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../../core/current.ts'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { EMPTY_TABLES, type Tables } from '../../../../model/tables.ts'
import type { FinishedSpan, TracingProvider } from '../../../../model/http/tracing.ts'
import { MAX_WAITING_SPANS, SpanExporter, type Post } from '../../../../protocols/telemetry/tracing/exporter.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'
import { cluster, tablesOf } from '../../http/harness.ts'

const OTLP: TracingProvider = {
  kind: 'otlp',
  cluster: 'origin',
  authority: 'c.test',
  serviceName: 'svc',
  headers: ['a', 'b'],
}
const ZIPKIN: TracingProvider = {
  kind: 'zipkin',
  cluster: 'origin',
  path: '/api/v2/spans',
  host: 'z.test',
  isLong: true,
  isShared: true,
  withW3c: false,
}
const span = (name: string): FinishedSpan => ({
  traceId: '1'.repeat(32),
  id: '1'.repeat(16),
  parentId: undefined,
  isSampled: true,
  isShared: false,
  state: undefined,
  name,
  kind: 'server',
  startedMs: 0,
  durationMs: 1,
  isError: false,
  tags: [],
  local: { host: '10.0.0.1', port: 1 },
})
type Answer = Awaited<ReturnType<Post>>
class Rig {
  readonly clock = new SimClock()
  readonly metrics = new Metrics()
  readonly tables = new Current<Tables>(tablesOf([cluster()]))
  readonly posts: Parameters<Post>[1][] = []
  readonly exporter: SpanExporter
  answer: () => Answer | Promise<Answer> = () => ({ status: 202, grpcStatus: undefined })
  constructor() {
    const { clock, metrics, tables } = this
    this.exporter = new SpanExporter({ clock, metrics, tables, log: silentLog, serviceName: 'own' })
    this.exporter.connect(async (_, request) => {
      this.posts.push(request)
      return await this.answer()
    })
  }
  report(...names: string[]): void {
    for (const name of names) this.exporter.report(ZIPKIN, span(name))
  }
  names(post: number): string[] {
    return (JSON.parse(this.posts[post]!.body.toString()) as { name: string }[]).map(({ name }) => name)
  }
  get sent(): number {
    return this.metrics.total('mesh_tracing_spans_sent_total')
  }
  dropped(reason: string): number {
    return this.metrics.total('mesh_tracing_spans_dropped_total', { reason })
  }
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
    await settle()
  }
}

test('spans go together after a while', async () => {
  const r = new Rig()
  r.report('a', 'b')
  await r.pass(4_999)
  assert.equal(r.posts.length, 0)
  await r.pass(1)
  assert.deepEqual([r.names(0), r.sent], [['a', 'b'], 2])
  const { authority, path, headers, speaks } = r.posts[0]!
  assert.deepEqual(
    [authority, path, headers, speaks],
    ['z.test', '/api/v2/spans', ['content-type', 'application/json'], 'http1'],
  )
})
test('many go at once, and never two batches at a time', async () => {
  const r = new Rig()
  const { promise, resolve: done } = Promise.withResolvers<Answer>()
  r.answer = () => promise
  r.report(...Array.from({ length: 600 }, (_, i) => String(i)))
  await settle()
  assert.deepEqual([r.posts.length, r.names(0).length], [1, 256])
  done({ status: 200, grpcStatus: undefined })
  await r.pass(5_000)
  assert.equal(r.names(1)[0], '256')
})
test('what is not taken is offered again in its order, after growing pauses', async () => {
  const r = new Rig()
  r.answer = () => ({ status: 503, grpcStatus: undefined })
  r.report('a')
  await r.pass(5_000)
  r.report('b')
  await r.pass(9_999)
  assert.equal(r.posts.length, 1)
  await r.pass(1)
  assert.deepEqual(r.names(1), ['a', 'b'])
  r.answer = () => ({ status: 200, grpcStatus: undefined })
  await r.pass(20_000)
  assert.deepEqual([r.names(2), r.sent, r.dropped('full')], [['a', 'b'], 2, 0])
})
test('without room the oldest go, and are counted', async () => {
  const r = new Rig()
  r.answer = () => Promise.reject(new Error('down'))
  r.report(...Array.from({ length: MAX_WAITING_SPANS + 10 }, (_, i) => String(i)))
  await settle()
  r.answer = () => ({ status: 200, grpcStatus: undefined })
  await r.pass(60_000)
  assert.equal(r.names(1)[0], String(r.dropped('full')))
  assert.ok(r.dropped('full') >= 10)
})
test('a cluster that is not there yet is waited for', async () => {
  const r = new Rig()
  r.tables.swap(EMPTY_TABLES)
  r.report('a')
  await r.pass(5_000)
  assert.equal(r.posts.length, 0)
  r.tables.swap(tablesOf([cluster()]))
  await r.pass(10_000)
  assert.deepEqual(r.names(0), ['a'])
})
for (const [provider, answer, sent, refused] of [
  [ZIPKIN, { status: 400, grpcStatus: undefined }, 0, 1],
  [ZIPKIN, { status: 429, grpcStatus: undefined }, 0, 0],
  [OTLP, { status: 200, grpcStatus: '0' }, 1, 0],
  [OTLP, { status: 200, grpcStatus: '3' }, 0, 1],
  [OTLP, { status: 200, grpcStatus: '14' }, 0, 0],
  [OTLP, { status: 200, grpcStatus: undefined }, 0, 0],
  [OTLP, { status: 404, grpcStatus: undefined }, 0, 1],
] as const)
  test(`${provider.kind}: ${answer.status} ${answer.grpcStatus}`, async () => {
    const r = new Rig()
    r.answer = () => answer
    r.exporter.report(provider, span('a'))
    await r.pass(5_000)
    assert.deepEqual([r.sent, r.dropped('refused')], [sent, refused])
  })
test('OTLP goes over gRPC', async () => {
  const r = new Rig()
  r.exporter.report(OTLP, span('a'))
  await r.pass(5_000)
  const { authority, path, headers, speaks } = r.posts[0]!
  assert.equal(path, '/opentelemetry.proto.collector.trace.v1.TraceService/Export')
  assert.deepEqual(
    [authority, speaks, headers],
    ['c.test', 'http2', ['content-type', 'application/grpc', 'te', 'trailers', 'a', 'b']],
  )
})
test('collectors are bounded; those without work make room', async () => {
  const r = new Rig()
  for (let i = 0; i < 9; i++) r.exporter.report({ ...ZIPKIN, path: `/${i}` }, span('a'))
  assert.equal(r.dropped('full'), 1)
  await r.pass(5_000)
  r.exporter.report({ ...ZIPKIN, path: '/9' }, span('a'))
  assert.equal(r.dropped('full'), 1)
  r.exporter[Symbol.dispose]()
})
