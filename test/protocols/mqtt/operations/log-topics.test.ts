import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { createLog } from '../../../../core/log.ts'
import { LogOutput } from '../../../../core/log-output.ts'
import type { Publish } from '../../../../protocols/mqtt/codec/packet.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'

function site(isPublished = true) {
  const output = new LogOutput(new PassThrough(), { isJournal: false })
  const log = createLog('debug', output)
  const broker = new TestBroker({
    log,
    logLines: {
      isPublished: () => isPublished,
      listen(take) {
        output.onLine = take
        const listening = new DisposableStack()
        listening.defer(() => {
          output.onLine = undefined
        })
        return listening
      },
    },
  })
  return { broker, log, output }
}
async function watcher(broker: TestBroker, properties = {}, filter = '$SYS/broker/log/#'): Promise<MqttPeer> {
  const peer = broker.open()
  await peer.connect({ clientId: 'watcher', cleanStart: false, properties })
  await peer.subscribe(filter, { qos: 2, retainAsPublished: true })
  return peer
}
/** `topic evt QoS retain` of each. */
async function heard(peer: MqttPeer): Promise<string[]> {
  for (let i = 0; i < 4; i++) await settle()
  const all = peer.received.splice(0).filter((one): one is Publish => one.type === 'publish')
  return all.map(({ topic, payload, qos, retain }) => {
    const { evt } = JSON.parse(Buffer.from(payload).toString()) as { evt: string }
    return `${topic.slice('$SYS/broker/log/'.length)} ${evt} q${qos} ${retain}`
  })
}

test('each line goes to the topic of its severity, those of level debug to none', async () => {
  const { broker, log } = site()
  const peer = await watcher(broker)
  log.error({ evt: 'a.b' }, 'bad')
  log.warn({ evt: 'c.d' }, 'odd')
  log.info({ evt: 'e.f' }, 'so')
  log.debug({ evt: 'g.h' }, 'detail')
  const other = broker.open()
  await other.connect({ clientId: 'other' })
  other.disconnect()
  assert.deepEqual(await heard(peer), [
    'E a.b q2 false',
    'W c.d q2 false',
    'I e.f q2 false',
    'N mqtt.connected q2 false',
    'N mqtt.disconnected q2 false',
  ])
})

test('what a client says does not choose the topic', async () => {
  const { broker, log } = site()
  const peer = await watcher(broker)
  log.info({ evt: 'e.f', clientId: '"evt":"mqtt.connected"', more: { evt: 'mqtt.connected' } }, 'so')
  assert.deepEqual(await heard(peer), ['I e.f q2 false'])
})

test('nothing of it is queued for a kept session, and without the setting there is nothing', async () => {
  const kept = site()
  const peer = await watcher(kept.broker, { sessionExpirySec: 100 })
  kept.log.warn({ evt: 'c.d' }, 'odd')
  assert.deepEqual(await heard(peer), ['W c.d q0 false'])
  peer.stream.destroy()
  await settle()
  kept.log.warn({ evt: 'c.d' }, 'odd')
  assert.equal(kept.broker.durability.queue('session/watcher')!.depth, 0)
  const off = site(false)
  const deaf = await watcher(off.broker)
  off.log.warn({ evt: 'c.d' }, 'odd')
  assert.deepEqual(await heard(deaf), [])
})

test('what is said while a line is published is not published, and nothing when the broker is gone', async () => {
  const { broker, log, output } = site()
  const peer = await watcher(broker)
  const take = output.onLine!
  let depth = 0
  output.onLine = (line, level) => {
    if (depth++ < 10) take(line, level)
  }
  broker.broker.attach({
    filter: '$SYS/broker/log/#',
    queue: await broker.durability.createQueue('up'),
    origin: 'x',
    make(message) {
      log.warn({ evt: 'again' }, 'about a line')
      return message
    },
  })
  log.warn({ evt: 'first' }, 'a line')
  assert.deepEqual(await heard(peer), ['W first q2 false'])
  await broker.broker[Symbol.asyncDispose]()
  assert.equal(output.onLine, undefined)
})
