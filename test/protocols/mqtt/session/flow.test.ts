import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import type { DurableQueue, QueueEntry } from '../../../../protocols/mqtt/durability.ts'
import { DurableFlow } from '../../../../protocols/mqtt/session/flow.ts'
import type { Link } from '../../../../protocols/mqtt/connection/link.ts'

const entry = (seq: number): QueueEntry => ({
  seq,
  released: false,
  message: {
    topic: 'q',
    payload: Buffer.from('x'),
    qos: 2,
    retain: false,
    properties: Buffer.alloc(0),
    expiresAtMs: undefined,
  },
})

/** A queue whose answers wait for the test, and connections that note what becomes of them. */
class Bench {
  readonly reads: PromiseWithResolvers<readonly QueueEntry[]>[] = []
  readonly releases: PromiseWithResolvers<void>[] = []
  readonly seen: string[] = []
  readonly flow: DurableFlow

  constructor() {
    const later = <T>(to: PromiseWithResolvers<T>[]): Promise<T> => {
      to.push(Promise.withResolvers<T>())
      return to.at(-1)!.promise
    }
    const queue = {
      firstSeq: 1,
      lastSeq: 1,
      sentSeq: 1,
      startSending: () => undefined,
      endSending() {
        /* not asked for */
      },
      onAppended: undefined,
      done() {
        /* not asked for */
      },
      read: () => later(this.reads),
      release: () => later(this.releases),
    } as unknown as DurableQueue
    this.flow = new DurableFlow({ queue, findView: () => ({ qos: 2, retainAsPublished: false, ids: [] }) })
  }
  link(name: string): Link {
    return {
      receiveMaximum: 10,
      limits: {},
      congested: false,
      send: () => {
        this.seen.push(`${name} sent`)
        return true
      },
      close: () => {
        this.seen.push(`${name} closed`)
      },
      outbox: {
        ack: (type: string) => {
          this.seen.push(`${name} ${type}`)
        },
      },
    } as unknown as Link
  }
}

test('a disk that fails ends the connection that waits for it', async () => {
  const b = new Bench()
  b.flow.attach(b.link('first'))
  b.reads[0]!.reject(new Error('the disk'))
  await settle()
  assert.deepEqual(b.seen, ['first closed'])
})

test('what a read for an earlier connection brings, or that it failed, is nothing to the next one', async () => {
  for (const end of [
    (read: PromiseWithResolvers<readonly QueueEntry[]>) => read.reject(new Error('the disk')),
    (read: PromiseWithResolvers<readonly QueueEntry[]>) => read.resolve([entry(1)]),
  ]) {
    const b = new Bench()
    b.flow.attach(b.link('first'))
    b.flow.detach()
    b.flow.attach(b.link('second'))
    end(b.reads[0]!)
    await settle()
    assert.deepEqual(b.seen, [])
    b.reads[1]!.resolve([entry(1)])
    await settle()
    assert.deepEqual(b.seen, ['second sent'])
  }
})

test('what becomes of a PUBREC of an earlier connection is nothing to the next one', async () => {
  for (const end of [
    (release: PromiseWithResolvers<void>) => release.reject(new Error('the disk')),
    (release: PromiseWithResolvers<void>) => release.resolve(),
  ]) {
    const b = new Bench()
    b.flow.attach(b.link('first'))
    b.reads[0]!.resolve([entry(1)])
    await settle()
    b.flow.pubrec(1, 0)
    b.flow.detach()
    b.flow.attach(b.link('second'))
    end(b.releases[0]!)
    await settle()
    assert.deepEqual(b.seen, ['first sent'])
  }
})

for (const kind of ['kept', 'passing'] as const) {
  test(`PUBREC for a message that nobody sent is answered with PUBREL 0x92, a refusal of it with nothing: ${kind} session`, async () => {
    const t = new TestBroker()
    const c = t.open()
    await c.connect(kind === 'kept' ? { cleanStart: false, properties: { sessionExpirySec: 100 } } : {})
    await c.subscribe('a', { qos: 2 })
    c.ack('pubrec', 9)
    assert.deepEqual(await c.seen(), ['pubrel #9 0x92'])
    c.ack('pubrec', 9, 0x97)
    assert.deepEqual(await c.seen(), [])
  })
}

test('[MQTT-4.4.0-1] a message whose delivery has begun is sent again, although it has expired since; one that was not sent is not', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxInflight: 1 } }
  const [pub, c] = [t.open({ policy }), t.open({ policy })]
  const keep = { clientId: 'c', cleanStart: false, properties: { sessionExpirySec: 100 } }
  await pub.connect({ clientId: 'pub' })
  await c.connect(keep)
  await c.subscribe('a', { qos: 1 })
  pub.publish('a', 'begun', { qos: 1, packetId: 1, messageExpirySec: 2 })
  pub.publish('a', 'waits', { qos: 1, packetId: 2, messageExpirySec: 2 })
  assert.deepEqual(await c.seen(), ['publish a begun q1 #1'])
  c.stream.destroy()
  await t.clock.advance(5_000)
  const again = t.open({ policy })
  await again.connect(keep)
  const got = await again.take('publish')
  assert.deepEqual([Buffer.from(got.payload).toString(), got.dup, got.messageExpirySec], ['begun', true, 0])
  again.ack('puback', 1)
  assert.deepEqual(await again.seen(), [])
  assert.equal(t.durability.queue('session/c')!.depth, 0)
})

for (const kind of ['kept', 'not kept'] as const)
  test(`maxInflightBytes, of a session that is ${kind}: the message that reaches it still goes, then one at a time`, async () => {
    const broker = new TestBroker()
    const policy = { limits: { maxInflightBytes: 100 } }
    const c = broker.open({ policy })
    await c.connect({
      clientId: 'c',
      ...(kind === 'kept' ? { cleanStart: false, properties: { sessionExpirySec: 9 } } : {}),
    })
    await c.subscribe('a', { qos: 2 })
    const pub = broker.open({ policy })
    await pub.connect({ clientId: 'pub' })
    const say = (n: number, bytes: number, qos: 0 | 1 | 2): void =>
      pub.publish('a', String(n).padEnd(bytes, '.'), { qos, ...(qos > 0 ? { packetId: n } : {}) })
    const went = async (): Promise<string[]> => {
      const words = await c.seen()
      return words.map((word) => word.replaceAll('.', ''))
    }
    say(1, 60, 1)
    say(2, 60, 2)
    say(3, 60, 1)
    say(4, 200, 1)
    say(5, 10, 0)
    await pub.seen()
    assert.deepEqual((await went()).sort(), ['publish a 1 q1 #1', 'publish a 2 q2 #2', 'publish a 5 q0'])
    c.ack('pubrec', 2)
    assert.deepEqual(await went(), ['pubrel #2'], 'not over yet')
    c.ack('pubcomp', 2)
    assert.deepEqual(await went(), ['publish a 3 q1 #3'])
    c.ack('puback', 1)
    assert.deepEqual(await went(), ['publish a 4 q1 #4'])
    c.ack('puback', 3)
    say(6, 1, 1)
    await pub.seen()
    assert.deepEqual(await went(), [], 'one that is larger than the bound goes alone')
    c.ack('puback', 4)
    const [sixth] = await went()
    assert.match(sixth!, /^publish a 6 q1/)
  })

for (const kind of ['kept', 'not kept'] as const)
  for (const [qos, said, again] of [
    [2, 'puback', 'publish a 1 q2 #1 dup'],
    [2, 'pubcomp', 'publish a 1 q2 #1 dup'],
    [1, 'pubrec', 'publish a 1 q1 #1 dup'],
    [1, 'pubcomp', 'publish a 1 q1 #1 dup'],
  ] as const)
    test(`${said} for QoS ${qos}, of a session that is ${kind}: the connection ends, and the message keeps no place for ever`, async () => {
      const broker = new TestBroker()
      const pub = broker.open()
      await pub.connect({ clientId: 'pub' })
      const keep = kind === 'kept' ? { cleanStart: false, properties: { sessionExpirySec: 9 } } : {}
      const c = broker.open()
      await c.connect({ clientId: 'c', ...keep })
      await c.subscribe('a', { qos: 2 })
      pub.publish('a', '1', { qos, packetId: 1 })
      assert.deepEqual(await c.seen(), [`publish a 1 q${qos} #1`])
      c.ack(said, 9)
      assert.deepEqual(await c.seen(), said === 'pubrec' ? ['pubrel #9 0x92'] : [], 'of none that is in flight')
      c.ack(said, 1)
      assert.deepEqual(await c.seen(), ['disconnect 0x82'])
      if (kind === 'not kept') return
      const back = broker.open()
      await back.connect({ clientId: 'c', ...keep })
      assert.deepEqual(await back.seen(), [again])
    })
