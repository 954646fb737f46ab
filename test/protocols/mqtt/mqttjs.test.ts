/** Interop with an independent client: MQTT.js over loopback sockets and over WebSocket. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import mqtt, { type IConnackPacket } from 'mqtt'
import { silentLog } from '../../../core/log.ts'
import { systemClock, systemRandom } from '../../../core/os/clock.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemNetwork } from '../../../core/os/network.ts'
import { createBroker } from '../../../protocols/mqtt/broker.ts'
import type { Connection } from '../../../protocols/connection.ts'
import { MemoryDurability } from '../../helpers/mqtt/memory-durability.ts'
import { policyOf } from '../../helpers/mqtt/broker.ts'

async function listening(
  transport: 'tcp' | 'websocket',
): Promise<AsyncDisposable & { readonly url: string; readonly durability: MemoryDurability }> {
  const durability = new MemoryDurability()
  const broker = createBroker({
    ctx: { clock: systemClock, random: systemRandom, log: silentLog, metrics: new Metrics() },
    durability,
    policiesOf: () => [],
    node: 'edge',
  })
  const policy = policyOf()
  let n = 0
  const listener = await systemNetwork.listen({ host: '127.0.0.1', port: 0 }, ({ stream, local, remote }) => {
    const conn: Connection = {
      id: String(n++),
      local,
      remote,
      originalDst: undefined,
      startedMs: 0,
      startedWallMs: 0,
      listener: { name: 'mqtt' } as never,
      chain: { codec: { kind: 'mqtt', mqtt: policy, transport } } as never,
      stream,
      tls: undefined,
      offered: { transport: 'raw_buffer', serverName: '', alpn: [] },
      draining: new AbortController().signal,
      aborted: new AbortController().signal,
      receivedBytes: 0,
      sentBytes: 0,
      cluster: '-',
    }
    stream.on('error', () => {})
    void broker.serve(conn, policy, transport).then(() => stream.destroy())
  })
  return {
    url: `${transport === 'tcp' ? 'mqtt' : 'ws'}://127.0.0.1:${listener.port}`,
    durability,
    async [Symbol.asyncDispose]() {
      await broker[Symbol.asyncDispose]()
      await listener[Symbol.asyncDispose]()
    },
  }
}

for (const transport of ['tcp', 'websocket'] as const) {
  for (const protocolVersion of [4, 5] as const) {
    test(
      `MQTT.js over ${transport}, protocol level ${protocolVersion}: every QoS, retained, large messages, a session that is resumed, a will`,
      { timeout: 30_000 },
      async () => {
        await using server = await listening(transport)
        const options = {
          protocolVersion,
          reconnectPeriod: 0,
          clean: false,
          ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
        }
        const sub = await mqtt.connectAsync(server.url, { ...options, clientId: 'sub' })
        const pub = await mqtt.connectAsync(server.url, {
          ...options,
          clientId: 'pub',
          will: { topic: 'a/will', payload: Buffer.from('gone'), qos: 1, retain: false },
        })
        const got: string[] = []
        const big = 'x'.repeat(300_000)
        const listen = (client: mqtt.MqttClient): void => {
          client.on('message', (topic, payload, { qos }) => {
            got.push(`${topic} ${payload.length > 100 ? payload.length : payload.toString()} ${qos}`)
          })
        }
        const until = async (count: number): Promise<void> => {
          for (let i = 0; got.length < count && i < 500; i++) await systemClock.sleep(10)
        }
        listen(sub)
        await pub.publishAsync('a/kept', 'r', { qos: 1, retain: true })
        assert.deepEqual(
          (await sub.subscribeAsync('a/#', { qos: 2 })).map(({ qos }) => qos),
          [2],
        )
        for (const qos of [0, 1, 2] as const) await pub.publishAsync('a/x', `m${qos}`, { qos })
        await pub.publishAsync('a/big', big, { qos: 2 })
        await until(5)
        assert.deepEqual(got.splice(0), ['a/kept r 1', 'a/x m0 0', 'a/x m1 1', 'a/x m2 2', 'a/big 300000 2'])
        await sub.endAsync()
        await pub.publishAsync('a/later', 'waited', { qos: 2 })
        const again = mqtt.connect(server.url, { ...options, clientId: 'sub' })
        listen(again)
        const connack = await new Promise<IConnackPacket>((resolve) => {
          again.once('connect', resolve)
        })
        assert.equal(connack.sessionPresent, true)
        pub.stream.destroy()
        await until(2)
        assert.deepEqual(got, ['a/later waited 2', 'a/will gone 1'])
        await again.endAsync()
        pub.end(true)
        for (let i = 0; server.durability.queue('session/sub')!.depth > 0 && i < 100; i++) await systemClock.sleep(10)
        assert.equal(server.durability.queue('session/sub')!.depth, 0)
      },
    )
  }
}

test('MQTT.js, 5.0: topics that repeat go by their aliases, and arrive under their names', async () => {
  await using broker = await listening('tcp')
  const options = { protocolVersion: 5, reconnectPeriod: 0 } as const
  const sub = await mqtt.connectAsync(broker.url, { ...options, properties: { topicAliasMaximum: 2 } })
  const pub = await mqtt.connectAsync(broker.url, options)
  const received: string[] = []
  let byAlias = 0
  sub.on('packetreceive', (packet) => {
    if (packet.cmd === 'publish' && packet.topic === '') byAlias++
  })
  const expected = [1, 2, 3].flatMap((n) => ['one', 'two', 'three'].map((name) => `alias/${name} ${n}`))
  const all = new Promise<void>((resolve) => {
    sub.on('message', (topic, payload) => {
      if (received.push(`${topic} ${payload.toString()}`) === expected.length) resolve()
    })
  })
  await sub.subscribeAsync('alias/#', { qos: 1 })
  for (const line of expected) {
    const [topic, payload] = line.split(' ') as [string, string]
    await pub.publishAsync(topic, payload, { qos: 1 })
  }
  await all
  assert.deepEqual(received, expected)
  assert.equal(byAlias, 2, 'two topics have one; each third message goes by it')
  await Promise.all([sub.endAsync(true), pub.endAsync(true)])
})
