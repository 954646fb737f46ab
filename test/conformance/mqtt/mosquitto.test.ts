/** mosquitto's clients as devices of the shipped broker, in both protocol versions. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { connectAsync } from 'mqtt'
import { freePorts } from '../../../tools/free-ports.ts'
import { until, type Finally } from '../programs.ts'
import { MosquittoClients, type MqttVersion } from './mosquitto-clients.ts'
import { Agent, directoryMode, writeResources } from '../package/shipped.ts'

async function broker(t: Finally): Promise<{ agent: Agent; port: number }> {
  const [port] = (await freePorts(1)) as [number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\n`),
  )
  writeResources(agent.folder, [])
  await agent.start()
  return { agent, port }
}
const LINES = Array.from({ length: 1000 }, (_, i) => `line ${i}`)

for (const version of ['mqttv311', 'mqttv5'] as const satisfies readonly MqttVersion[]) {
  test(`${version}: mosquitto_pub and mosquitto_sub with meshlet's broker`, { timeout: 300_000 }, async (t) => {
    const { agent, port } = await broker(t)
    const m = new MosquittoClients(t, port, version)

    await levelsOfDelivery(t, m)
    await retainedMessagesAndWills(t, m)
    await sessionsAndSizes(t, m, agent)
    if (version === 'mqttv5') {
      await propertiesAndSharing(t, m)
      await expiryAndIdentifiers(t, m)
      await topicAliases(t, m, port)
    }
    await t.test('nothing is wrong with the agent after all that', async () => {
      assert.deepEqual((await agent.status())?.problems, [])
    })
  })
}

/** Debian's mosquitto_sub announces a Topic Alias Maximum when it is told to, and ends over the first alias. */
async function topicAliases(t: TestContext, m: MosquittoClients, port: number): Promise<void> {
  await t.test('topics that repeat go by their aliases, and MQTT.js knows them [MQTT-3.3.2-7]', async () => {
    const client = await connectAsync({
      host: '127.0.0.1',
      port,
      protocolVersion: 5,
      properties: { topicAliasMaximum: 2 },
    })
    const seen: string[] = []
    const aliased = new Set<string>()
    client.on('message', (topic, payload, { properties }) => {
      seen.push(`${topic} ${payload.toString()}`)
      if (properties?.topicAlias !== undefined) aliased.add(topic)
    })
    await client.subscribeAsync('alias/#', { qos: 1 })
    const expected = [1, 2, 3].flatMap((n) => ['one', 'two', 'three'].map((name) => `alias/${name} ${n}`))
    for (const line of expected) {
      const [topic, payload] = line.split(' ') as [string, string]
      await m.pub(['-t', topic, '-m', payload, '-q', '1'])
    }
    await until('9 messages', () => seen.length === expected.length)
    await client.endAsync(true)
    assert.deepEqual(seen, expected)
    assert.equal(aliased.size, 2, 'as many topics as the client takes aliases')
  })
}

async function levelsOfDelivery(t: TestContext, m: MosquittoClients): Promise<void> {
  for (const published of [0, 1, 2])
    for (const subscribed of [0, 1, 2]) {
      await t.test(
        `QoS ${published} to a subscription of QoS ${subscribed} arrives with the smaller one [MQTT-3.8.4-8]`,
        async () => {
          const sub = await m.sub(['-t', `q/${published}/${subscribed}/+`, '-q', String(subscribed)])
          await m.pub(['-t', `q/${published}/${subscribed}/x`, '-m', 'hello', '-q', String(published)])
          assert.deepEqual(await sub.take(1), [
            `0 ${Math.min(published, subscribed)} q/${published}/${subscribed}/x hello`,
          ])
          assert.equal(await sub.program.stop('SIGINT'), 0)
        },
      )
    }
  for (const qos of [0, 1, 2]) {
    await t.test(
      `a thousand messages of QoS ${qos} on one connection arrive once each, in order [MQTT-4.6.0-6]`,
      async () => {
        const sub = await m.sub(['-t', 'many', '-q', '2', '-F', '=%p'])
        await m.pub(['-t', 'many', '-l', '-q', String(qos)], `${LINES.join('\n')}\n`)
        assert.deepEqual(await sub.take(LINES.length), LINES)
        await sub.program.stop('SIGINT')
      },
    )
  }
}

async function retainedMessagesAndWills(t: TestContext, m: MosquittoClients): Promise<void> {
  await t.test(
    'a retained message comes to who subscribes later, until an empty one removes it [MQTT-3.3.1-6]',
    async () => {
      await m.pub(['-t', 'state/door', '-m', 'open', '-q', '1', '-r'])
      await m.pub(['-t', 'state/door', '-m', 'shut', '-q', '1', '-r'])
      const late = await m.sub(['-t', 'state/#', '-q', '1'])
      assert.deepEqual(await late.take(1), ['1 1 state/door shut'])
      await m.pub(['-t', 'state/door', '-n', '-q', '1', '-r'])
      await m.pub(['-t', 'state/mark', '-m', 'x', '-q', '1'])
      assert.deepEqual(
        (await late.take(3)).slice(1),
        ['0 1 state/door ', '0 1 state/mark x'],
        'for who is there already it is not retained',
      )
      const later = await m.sub(['-t', 'state/#', '-q', '1'])
      await m.pub(['-t', 'state/mark', '-m', 'y', '-q', '1'])
      assert.deepEqual(await later.take(1), ['0 1 state/mark y'])
      for (const sub of [late, later]) await sub.program.stop('SIGINT')
    },
  )
  await t.test(
    'the will is published when a client vanishes, not when it says goodbye [MQTT-3.1.2-8, MQTT-3.1.2-10]',
    async () => {
      const watcher = await m.sub(['-t', 'wills/#', '-q', '2'])
      const will = (name: string): string[] => [
        '-t',
        'nothing',
        '-i',
        name,
        '--will-topic',
        `wills/${name}`,
        '--will-payload',
        'gone',
        '--will-qos',
        '2',
      ]
      // Not mosquitto_sub, which says goodbye with the wish that its will be published (0x04) when it speaks MQTT 5.
      await m.pub([...will('polite'), '-m', 'x'])
      const lost = await m.sub(will('lost'))
      await lost.program.stop('SIGKILL')
      assert.deepEqual(await watcher.take(1), ['0 2 wills/lost gone'])
      await m.pub(['-t', 'wills/end', '-m', 'x', '-q', '2'])
      assert.deepEqual(await watcher.take(2), ['0 2 wills/lost gone', '0 2 wills/end x'])
      await watcher.program.stop('SIGINT')
    },
  )
}

async function sessionsAndSizes(t: TestContext, m: MosquittoClients, agent: Agent): Promise<void> {
  await t.test(
    'a session that stays gets what came meanwhile, over a SIGKILL of the broker as well [MQTT-3.1.2-5]',
    async () => {
      await m.leaveSession('logger', 'log/#', 2)
      for (const qos of [0, 1, 2]) await m.pub(['-t', `log/${qos}`, '-m', 'kept', '-q', String(qos)])
      await agent.process.stop('SIGKILL')
      await agent.start()
      const logger = await m.returnTo('logger', 'log/#', 2)
      const lines = (await logger.take(2)).filter((l) => !l.includes('log/0')) // QoS 0 may be kept and may be not
      assert.deepEqual(lines, ['0 1 log/1 kept', '0 2 log/2 kept'])
      await logger.program.stop('SIGINT')
    },
  )
  await t.test('a second client with the same id takes the session over [MQTT-3.1.4-3]', async () => {
    const first = await m.sub(['-t', 'taken', '-i', 'twin'])
    const second = await m.sub(['-t', 'taken', '-i', 'twin'])
    await until('the first is told or cut off', () =>
      m.version === 'mqttv5'
        ? /DISCONNECT \(142\)|Session taken over/i.test(first.program.log) || !first.program.running
        : !first.program.running || (first.program.log.match(/sending CONNECT/g)?.length ?? 0) > 1,
    )
    await first.program.stop('SIGKILL')
    await second.program.stop('SIGKILL')
  })
  await t.test('a payload of half a megabyte and one of no byte', async () => {
    const sub = await m.sub(['-t', 'size/#', '-q', '1', '-F', '=%l %t'])
    await m.pub(['-t', 'size/large', '-s', '-q', '1'], Buffer.alloc(512 * 1024, 'x'))
    await m.pub(['-t', 'size/none', '-n', '-q', '1'])
    assert.deepEqual(await sub.take(2), [`${512 * 1024} size/large`, '0 size/none'])
    await sub.program.stop('SIGINT')
  })
}

async function propertiesAndSharing(t: TestContext, m: MosquittoClients): Promise<void> {
  await t.test(
    'properties of a message reach the subscriber unchanged [MQTT-3.3.2-4, -15, -16, -17, -20]',
    async () => {
      const sub = await m.sub(['-t', 'props', '-q', '1', '-F', '=%C|%R|%D|%P|%p'])
      const property = (name: string, ...value: string[]): string[] => ['-D', 'publish', name, ...value]
      await m.pub([
        '-t',
        'props',
        '-m',
        '{}',
        '-q',
        '1',
        ...property('content-type', 'application/json'),
        ...property('response-topic', 'answers/1'),
        ...property('correlation-data', 'c-1'),
        ...property('user-property', 'site', 'north'),
        ...property('user-property', 'site', 'south'),
      ])
      assert.deepEqual(await sub.take(1), ['application/json|answers/1|c-1|site:north site:south|{}'])
      await sub.program.stop('SIGINT')
    },
  )
  await t.test('a shared subscription gives each message to one of its members (MQTT 5 §4.8.2)', async () => {
    const members = [
      await m.sub(['-t', '$share/workers/jobs', '-q', '1', '-F', '=%p']),
      await m.sub(['-t', '$share/workers/jobs', '-q', '1', '-F', '=%p']),
    ]
    await m.pub(['-t', 'jobs', '-l', '-q', '1'], `${LINES.join('\n')}\n`)
    const got = (): string[] => members.flatMap((s) => [...s.lines])
    await until('all jobs are given out', () => got().length >= LINES.length)
    assert.deepEqual(got().toSorted(), LINES.toSorted())
    for (const s of members) {
      assert.ok(s.lines.length > 0, 'each member has work')
      await s.program.stop('SIGINT')
    }
  })
}

async function expiryAndIdentifiers(t: TestContext, m: MosquittoClients): Promise<void> {
  await t.test('a message that has expired is not given to who returns later [MQTT-3.3.2-5]', async () => {
    await m.leaveSession('late', 'expiry/#', 1)
    await m.pub(['-t', 'expiry/short', '-m', 'old', '-q', '1', '-D', 'publish', 'message-expiry-interval', '1'])
    await m.pub(['-t', 'expiry/long', '-m', 'fresh', '-q', '1', '-D', 'publish', 'message-expiry-interval', '3600'])
    await new Promise((resolve) => {
      setTimeout(resolve, 1_500)
    })
    const sub = await m.returnTo('late', 'expiry/#', 1)
    assert.deepEqual(await sub.take(1), ['0 1 expiry/long fresh'])
    await sub.program.stop('SIGINT')
  })
  await t.test('the subscription identifier stands in what matches it [MQTT-3.3.4-3]', async () => {
    const sub = await m.sub([
      '-t',
      'identified',
      '-q',
      '1',
      '-D',
      'subscribe',
      'subscription-identifier',
      '7',
      '-F',
      '=%S %p',
    ])
    await m.pub(['-t', 'identified', '-m', 'from another', '-q', '1'])
    assert.deepEqual(await sub.take(1), ['7 from another'])
    await sub.program.stop('SIGINT')
  })
}
