import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Publish } from '../../../../../protocols/mqtt/codec/packet.ts'
import { rig, UP } from '../rig.ts'

const NAME = 'sensors/a-long-name'
const shown = (packets: readonly unknown[]): string[] =>
  (packets as Publish[]).map((p) => `${p.topic}=${p.topicAlias} ${Buffer.from(p.payload).toString()}`)

test('a topic goes once per connection where the peer takes aliases (MQTT 5.0 §3.3.2.3.4), and properties stay', async (t) => {
  const r = await rig(t, [UP])
  const again = await r.upstream.accepted({ properties: { topicAliasMaximum: 1 } })
  for (const text of ['1', '2']) await r.publish(NAME, text, { properties: Buffer.from([0x03, 0, 1, 0x78]) })
  const packets = [await again.take('publish'), await again.take('publish')]
  assert.deepEqual(shown(packets), [`${NAME}=1 1`, '=1 2'])
  assert.deepEqual(
    packets.map((p) => [...p.properties]),
    [
      [3, 0, 1, 0x78],
      [3, 0, 1, 0x78],
    ],
  )
  await r.publish('sensors/another-name', '3')
  assert.deepEqual(shown([await again.take('publish')]), ['sensors/another-name=0 3'], 'the peer takes one only')
  again.ack('puback', 3)
  again.end()
  const next = await r.reconnected({ sessionPresent: true, properties: { topicAliasMaximum: 1 } })
  assert.deepEqual(shown([await next.take('publish'), await next.take('publish')]), [`${NAME}=1 1`, '=1 2'])
})
for (const { name, properties } of [
  { name: 'a peer that takes none', properties: {} },
  { name: 'a packet that an alias would make too large', properties: { topicAliasMaximum: 9, maximumPacketBytes: 30 } },
])
  test(`no alias for ${name}`, async (t) => {
    const r = await rig(t, [UP])
    const conn = await r.upstream.accepted({ properties })
    for (const text of ['1', '2']) await r.publish(NAME, text)
    assert.deepEqual(shown([await conn.take('publish'), await conn.take('publish')]), [`${NAME}=0 1`, `${NAME}=0 2`])
  })
