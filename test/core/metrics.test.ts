import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../core/metrics.ts'

test('text exposition: counters, labels with quotes, gauges read at scrape time, cumulative buckets', () => {
  const m = new Metrics()
  m.counter('mesh_x_total', 'Xs.', ['flag']).cell({ flag: 'a"b' }).value += 2
  let depth = 0
  m.gaugeOf('mesh_depth', 'Depth.', () => depth)
  depth = 7
  const h = m.histogram('mesh_wait_seconds', 'Waits.', [0.1, 1]).cell({})
  h.observe(0.1)
  h.observe(0.5)
  h.observe(9)
  const lines = m.text().split('\n')
  for (const wanted of [
    'mesh_x_total{flag="a\\"b"} 2',
    'mesh_depth 7',
    'mesh_wait_seconds_bucket{le="0.1"} 1',
    'mesh_wait_seconds_bucket{le="1"} 2',
    'mesh_wait_seconds_bucket{le="+Inf"} 3',
    'mesh_wait_seconds_count 3',
  ]) {
    assert.ok(lines.includes(wanted), `${wanted} is missing in\n${m.text()}`)
  }
})

test('asking twice for a name gives the same cell; total sums over the labels not named', () => {
  const m = new Metrics()
  m.counter('mesh_y_total', 'Ys.', ['a', 'b']).cell({ a: '1', b: '1' }).value++
  m.counter('mesh_y_total', 'Ys.', ['a', 'b']).cell({ a: '1', b: '2' }).value++
  m.counter('mesh_y_total', 'Ys.', ['a', 'b']).cell({ a: '2', b: '2' }).value++
  assert.equal(m.total('mesh_y_total', { a: '1' }), 2)
})

test('cells of one label: one for each value, the same as when asked for one by one', () => {
  const m = new Metrics()
  const family = m.counter('mesh_z_total', 'Zs.', ['why'])
  const cells = family.cells(['a', 'b'])
  cells.b.value += 2
  assert.deepEqual(Object.keys(cells), ['a', 'b'])
  assert.equal(cells.b, family.cell({ why: 'b' }))
  assert.equal(m.total('mesh_z_total', { why: 'b' }), 2)
})
