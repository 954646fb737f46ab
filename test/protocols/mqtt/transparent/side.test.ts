/** Neither side makes the other one's bytes pile up here. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { Rig, settled } from './rig.ts'

const LARGE = Buffer.alloc(32 * 1024, 1)

test('a broker that takes nothing: the client is read from no more, and goes on when it does', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected()
  broker.stream.pause()
  let written = 0
  for (; written < 200 && !device.stream.writableNeedDrain; written++) {
    device.publish('a', LARGE.toString('latin1'))
    await settled()
  }
  assert.ok(written < 20, `${written} messages of 32 KiB were taken`)
  assert.ok(rig.budget.heldBytes > 0)
  broker.stream.resume()
  await settled()
  assert.equal((await broker.seen()).length, written)
  assert.equal(rig.budget.heldBytes, 0)
})

test('a client that takes nothing: the broker is read from no more, and goes on when it does', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected()
  device.stream.pause()
  let written = 0
  for (; written < 200 && !broker.stream.writableNeedDrain; written++) {
    broker.publish('a', LARGE.toString('latin1'))
    await settled()
  }
  assert.ok(written < 20, `${written} messages of 32 KiB were taken`)
  device.stream.resume()
  await settled()
  assert.equal((await device.seen()).length, written)
  assert.equal(rig.budget.heldBytes, 0)
})

test('a client that asks and does not read the answers is read from no more', async () => {
  const rig = await Rig.start()
  const { device } = await rig.connected({ policy: { rules: [{ action: 'publish', effect: 'deny' }] } })
  device.stream.pause()
  const denied = encode(publishPacket({ topic: 'a', payload: Buffer.alloc(0), qos: 1, packetId: 1 }), 5)
  const many = Buffer.concat(Array.from({ length: 5_000 }, () => denied))
  let written = 0
  for (; written < 400 && !device.stream.writableNeedDrain; written++) {
    device.stream.write(many)
    await settled()
  }
  assert.ok(written < 20, `${written} times 5000 packets were taken`)
})

test('a packet above maxPacketBytes ends the connection before it is gathered', async () => {
  const rig = await Rig.start()
  const { device } = await rig.connected()
  device.stream.write(Buffer.from('30ffff7f', 'hex'))
  device.stream.write(Buffer.alloc(900_000))
  await settled()
  assert.equal((await device.outcome).error?.code, 'MESH_MQTT_PACKET_TOO_LARGE')
})

test('a client that sends and ends at once: what waits its turn goes to the broker', async () => {
  // Each look at the clock is a millisecond later, as on a busy machine.
  const clock = new SimClock()
  const from = clock.monotonicMs.bind(clock)
  let looks = 0
  const rig = await Rig.start({ clock: Object.assign(clock, { monotonicMs: () => from() + looks++ }) })
  const { device, broker } = await rig.connected()
  const one = encode(publishPacket({ topic: 'a', payload: Buffer.from('x'), qos: 0, packetId: 0 }), 5)
  device.stream.end(Buffer.concat(Array.from({ length: 500 }, () => one)))
  for (let i = 0; i < 40; i++) await settled()
  assert.equal((await broker.seen()).length, 500)
})
