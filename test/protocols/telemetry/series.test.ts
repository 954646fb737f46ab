import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import type { IstioLabels, StatsFilter } from '../../../model/telemetry.ts'
import { IstioSeries } from '../../../protocols/telemetry/series.ts'

const ALL: StatsFilter = { hostFallback: true, dropped: new Set(), tags: new Map(), expressions: [] }
const labels = (app: string): IstioLabels => ({ reporter: 'source', source_app: app, response_flags: 'URX,UF' })

function rig(maxSeries = 10) {
  const metrics = new Metrics()
  const lines = (): string[] =>
    metrics
      .text()
      .split('\n')
      .filter((l) => l.startsWith('istio_') && !l.includes('_bucket'))
  return { metrics, lines, series: new IstioSeries(metrics, maxSeries) }
}

test("names, labels and buckets are Istio's", () => {
  const { metrics, lines, series } = rig()
  const cells = series.http(labels('a'), ALL)!
  cells.requests!.value++
  cells.durationMs!.observe(7)
  cells.requestBytes!.observe(0)
  cells.responseBytes!.observe(1234)
  assert.deepEqual(lines(), [
    'istio_requests_total{reporter="source",source_app="a",response_flags="URX,UF"} 1',
    ...['duration_milliseconds', 'bytes'].flatMap((what, i) => [
      `istio_request_${what}_sum{reporter="source",source_app="a",response_flags="URX,UF"} ${[7, 0][i]}`,
      `istio_request_${what}_count{reporter="source",source_app="a",response_flags="URX,UF"} 1`,
    ]),
    'istio_response_bytes_sum{reporter="source",source_app="a",response_flags="URX,UF"} 1234',
    'istio_response_bytes_count{reporter="source",source_app="a",response_flags="URX,UF"} 1',
  ])
  assert.deepEqual(
    [...metrics.text().matchAll(/^istio_request_duration_milliseconds_bucket\{.*,le="(.*)"\} (\d)/gm)].map((m) => [
      m[1],
      m[2],
    ]),
    '0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf'
      .split(' ')
      .map((le, i) => [le, i < 3 ? '0' : '1']),
  )
})

test('beyond the budget what is new counts in one series, and the counter says how often', () => {
  const { metrics, lines, series } = rig(2)
  assert.ok(series.http(labels('a'), ALL))
  assert.ok(series.tcp(labels('a'), ALL))
  assert.equal(series.hasRoom, false)
  assert.equal(series.http(labels('b'), ALL), undefined)
  assert.ok(series.http(labels('a'), ALL), 'what has a series keeps it')
  const before = lines().length
  for (const app of ['b', 'c', 'd']) {
    assert.equal(series.http(labels(app), ALL), undefined)
    series.httpOverflow('destination', ALL).requests!.value++
  }
  assert.equal(metrics.total('istio_requests_total', { reporter: 'destination', source_app: 'unknown' }), 3)
  assert.equal(metrics.total('mesh_telemetry_series_dropped_total'), 3)
  assert.equal(metrics.total('mesh_telemetry_series'), 2)
  assert.ok(lines().length - before <= 7, 'one series of each metric')
})

test('what the Telemetry API drops, removes and sets', () => {
  const { lines, series } = rig()
  const filter: StatsFilter = {
    hostFallback: true,
    dropped: new Set(['request_bytes', 'request_duration_milliseconds', 'tcp_connections_opened_total']),
    expressions: [],
    tags: new Map([
      [
        'requests_total',
        new Map([
          ['source_app', undefined],
          ['site', 'north'],
        ]),
      ],
    ]),
  }
  const cells = series.http({ reporter: 'source', source_app: 'a' }, filter)!
  cells.requests!.value++
  assert.deepEqual([cells.requestBytes, cells.durationMs], [undefined, undefined])
  assert.equal(series.tcp({ reporter: 'source' }, filter)!.opened, undefined)
  assert.deepEqual(lines().slice(0, 2), [
    'istio_requests_total{reporter="source",site="north"} 1',
    'istio_response_bytes_sum{reporter="source",source_app="a"} 0',
  ])
})
