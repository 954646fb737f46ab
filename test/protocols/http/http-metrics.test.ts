import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import { findFloodCell, HttpMetrics } from '../../../protocols/http/http-metrics.ts'

for (const { status, counted } of [
  { status: 0, counted: 'none' },
  { status: 101, counted: '1xx' },
  { status: 200, counted: '2xx' },
  { status: 304, counted: '3xx' },
  { status: 404, counted: '4xx' },
  { status: 503, counted: '5xx' },
  { status: 799, counted: '5xx' },
])
  test(`an exchange that ended with status ${status} counts as ${counted}, for its direction alone`, () => {
    const metrics = new Metrics()
    new HttpMetrics(metrics).ended('inbound', status)
    const name = 'mesh_http_requests_total'
    assert.equal(metrics.total(name), 1)
    assert.equal(metrics.total(name, { direction: 'inbound', class: counted }), 1)
  })

test('each cell counts under its own name', () => {
  const metrics = new Metrics()
  const m = new HttpMetrics(metrics)
  const rows = [
    [m.denied, 'mesh_http_denied_total', {}],
    [m.refusedMessages, 'mesh_http_refused_messages_total', {}],
    [m.attempts.answered, 'mesh_upstream_attempts_total', { result: 'answered' }],
    [m.attempts.failed, 'mesh_upstream_attempts_total', { result: 'failed' }],
    [m.attempts.timeout, 'mesh_upstream_attempts_total', { result: 'timeout' }],
    [m.attempts.cancelled, 'mesh_upstream_attempts_total', { result: 'cancelled' }],
    [m.retries.sent, 'mesh_upstream_retries_total', { result: 'sent' }],
    [m.retries.heldBack, 'mesh_upstream_retries_total', { result: 'held-back' }],
    [m.retries.budget, 'mesh_upstream_retries_total', { result: 'budget' }],
    [m.limits.headerBytes, 'mesh_http_limits_met_total', { limit: 'maxHeaderBytes' }],
    [m.limits.replayBytes, 'mesh_http_limits_met_total', { limit: 'maxReplayBytes' }],
    [m.limits.requestHeadMs, 'mesh_http_limits_met_total', { limit: 'requestHeadMs' }],
    [m.limits.idleMs, 'mesh_http_limits_met_total', { limit: 'idleMs' }],
  ] as const
  for (const [cell, name, labels] of rows) {
    cell.value++
    assert.equal(metrics.total(name, labels), 1, `${name} ${JSON.stringify(labels)}`)
  }
  for (const [frames, cell] of Object.entries(m.floods)) {
    cell.value++
    assert.equal(metrics.total('mesh_http2_floods_total', { frames }), 1)
  }
  m.failed('MESH_NO_ROUTE')
  assert.equal(metrics.total('mesh_http_failed_total', { code: 'MESH_NO_ROUTE' }), 1)
})

test('a flood of an endpoint counts beside those of clients', () => {
  const metrics = new Metrics()
  const clients = new HttpMetrics(metrics)
  findFloodCell(metrics, 'pings').value++
  clients.floods.pings.value++
  assert.equal(metrics.total('mesh_http2_floods_total', { frames: 'pings' }), 2)
})
