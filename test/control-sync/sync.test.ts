import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../core/errors.ts'
import { Hand } from '../helpers/control-plane/hand.ts'
import { settle } from '../helpers/sim-clock.ts'

test('a stream that ends before all has come is no reason to serve half of it', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [])
  await hand.push('listener', [])
  hand.end()
  await hand.clock.advance(60_000)
  assert.equal(hand.synced, false)
})

test('a night without a control plane does not make the first refusal after it wait for minutes; refusals in a row are asked for rarely', async () => {
  await using hand = new Hand()
  await settle()
  for (let i = 0; i < 500; i++) {
    if (hand.isOpen) hand.end()
    await hand.clock.advance(1_000)
  }
  while (!hand.isOpen) await hand.clock.advance(1_000)
  const waits: number[] = []
  for (let i = 0; i < 9; i++) {
    hand.end(new MeshError('MESH_CONTROL_TLS', 'the roots are others'))
    await settle()
    const fromMs = hand.clock.monotonicMs()
    while (!hand.isOpen) await hand.clock.advance(500)
    waits.push(hand.clock.monotonicMs() - fromMs)
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
})

test('the link says since when it is what, why it is down, and when the control plane was last heard of', async () => {
  await using hand = new Hand()
  await settle()
  assert.equal(hand.sync.link.state, 'connecting')
  await hand.clock.advance(1_000)
  await hand.push('cluster', [])
  const { state, sinceMs, lastContactMs, error } = hand.sync.link
  assert.deepEqual([state, sinceMs, lastContactMs, error], ['connected', 1_000, 1_000, undefined])
  await hand.clock.advance(500)
  await hand.push('cluster', [])
  assert.deepEqual([hand.sync.link.sinceMs, hand.sync.link.lastContactMs], [1_000, 1_500])
  hand.end()
  await settle()
  assert.deepEqual(
    [hand.sync.link.state, hand.sync.link.error?.code],
    ['waiting', 'MESH_CONTROL_UNREACHABLE'],
    'it was cut soon',
  )
  while (!hand.isOpen) await hand.clock.advance(100)
  await hand.push('cluster', [])
  await hand.clock.advance(60_000)
  assert.equal(hand.sync.link.state, 'connected', 'a control plane that has answered may be silent')
  hand.end()
  await settle()
  assert.deepEqual([hand.sync.link.state, hand.sync.link.error], ['waiting', undefined], 'it lasted')
})

test('a control plane that says nothing for 15 s is left, and another stream is opened', async () => {
  await using hand = new Hand()
  await settle()
  await hand.clock.advance(14_999)
  assert.equal(hand.sync.link.state, 'connecting')
  await hand.clock.advance(1)
  assert.equal(hand.sync.link.error?.code, 'MESH_CONTROL_TIMEOUT')
  while (!hand.isOpen) await hand.clock.advance(100)
  await hand.push('cluster', [])
  assert.equal(hand.sync.link.state, 'connected')
})
