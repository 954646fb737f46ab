import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from '../../../core/metrics.ts'
import { HeldBytes } from '../../../hub/relay/held-bytes.ts'

test('devices have budgets of their own; what is refused is given back as everything is', () => {
  const metrics = new Metrics()
  let exceeded = 0
  const held = new HeldBytes({ maxBytes: 100, maxMessageBytes: 10, metrics, exceeded: () => exceeded++ })
  held.add('a', 100)
  held.add('b', 100)
  assert.throws(() => held.add('a', 1), /MESH_CONTROL_SLOW_DOWN|maxHalfMessageBytes/)
  assert.deepEqual([metrics.total('mesh_hub_relay_held_bytes'), exceeded], [201, 1])
  held.add('a', -101)
  held.add('b', -100)
  assert.equal(metrics.total('mesh_hub_relay_held_bytes'), 0)
})
