/**
 * The shipped agent on a disk that is full, read-only or slow for a while: what it acknowledges is delivered all the
 * same, what it cannot keep it refuses, and afterwards it goes on by itself.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { freePorts } from '../../tools/free-ports.ts'
import { Agent, directoryMode, writeResources } from '../conformance/package/shipped.ts'
import { sleep, temporaryFolder } from '../conformance/programs.ts'
import { buildLibrary, hasCompiler } from './preloaded.ts'

const skip = hasCompiler ? false : 'no C compiler'
const FAULT_MS = 3_000
const SLOW_MS = 50
const KEEP = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const

class Site {
  readonly agent: Agent
  readonly port: number
  readonly #control: string
  readonly #t: TestContext
  private constructor(t: TestContext, agent: Agent, port: number, control: string) {
    this.#t = t
    this.agent = agent
    this.port = port
    this.#control = control
  }
  static async start(t: TestContext): Promise<Site> {
    const [port] = (await freePorts(1)) as [number]
    const own = temporaryFolder(t)
    const control = path.join(own, 'control')
    const env: Record<string, string> = { LD_PRELOAD: buildLibrary(own), FAULT_CONTROL: control }
    const agent = await Agent.create(
      t,
      (home, adminPort) => {
        env['FAULT_FOLDER'] = `${home}/state`
        const listeners = `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\nlog: {level: warn}\n`
        return directoryMode(home, adminPort, `${listeners}mqtt: {limits: {maxQueuedMessages: 100000}}\n`)
      },
      env,
    )
    writeResources(agent.folder, [])
    await agent.start()
    return new Site(t, agent, port, control)
  }
  /** @param fault `enospc`, `erofs`, `slow <ms>` */
  fail(fault: string): void {
    fs.writeFileSync(`${this.#control}.new`, fault)
    fs.renameSync(`${this.#control}.new`, this.#control)
  }
  heal(): void {
    fs.rmSync(this.#control, { force: true })
  }
  async connect(clientId: string): Promise<MqttClient> {
    const client = await connectAsync({ host: '127.0.0.1', port: this.port, clientId, ...KEEP })
    this.#t.after(() => client.end(true))
    return client
  }
}

for (const fault of ['enospc', 'erofs'])
  test(
    `${fault} for ${FAULT_MS} ms: nothing that was acknowledged is lost, and the agent goes on by itself`,
    { skip },
    async (t) => {
      const site = await Site.start(t)
      const received = new Map<string, number>()
      const subscriber = await site.connect('subscriber')
      subscriber.on('message', (_, payload) => {
        const text = payload.toString()
        received.set(text, (received.get(text) ?? 0) + 1)
      })
      await subscriber.subscribeAsync('t/#', { qos: 2 })
      const publisher = await site.connect('publisher')
      const acked = new Set<string>()
      let refused = 0
      const publish = async (phase: string, forMs: number): Promise<void> => {
        for (const [n, untilMs] = [{ next: 0 }, performance.now() + forMs]; performance.now() < untilMs; n.next++) {
          const text = `${phase} ${n.next}`
          const qos = n.next % 2 === 0 ? 1 : 2
          await publisher.publishAsync('t/1', text, { qos }).then(
            () => acked.add(text),
            () => refused++,
          )
        }
      }
      await publish('before', 500)
      site.fail(fault)
      await publish('during', FAULT_MS)
      const during = refused
      site.heal()
      // The broker asks the disk again before it takes anything.
      for (let tries = 0; tries < 100 && ![...acked].some((text) => text.startsWith('after')); tries++)
        await publish(`after ${tries}`, 100)
      await publish('last', 500)
      for (let waits = 0; waits < 200 && [...acked].some((text) => !received.has(text)); waits++) await sleep(50)
      const lost = [...acked].filter((text) => !received.has(text))
      await Promise.all([publisher.endAsync(true), subscriber.endAsync(true)])
      t.diagnostic(`${acked.size} acknowledged, ${lost.length} lost, ${during} refused while the disk failed`)
      assert.deepEqual(lost, [])
      assert.ok(during > 0, 'the disk has failed')
      assert.ok(
        [...acked].some((text) => text.startsWith('last')),
        'it goes on',
      )
      assert.equal(
        [...received].filter(([text, times]) => times > 1 && Number(text.split(' ').at(-1)) % 2 === 1).length,
        0,
      )
    },
  )

test(`a sync of ${SLOW_MS} ms: no acknowledgement before it, and many messages share one`, { skip }, async (t) => {
  const site = await Site.start(t)
  const subscriber = await site.connect('subscriber')
  await subscriber.subscribeAsync('t/#', { qos: 1 })
  const publisher = await site.connect('publisher')
  site.fail(`slow ${SLOW_MS}`)
  await publisher.publishAsync('t/1', 'first', { qos: 1 })
  const latencies: number[] = []
  for (let i = 0; i < 10; i++) {
    const from = performance.now()
    await publisher.publishAsync('t/1', `${i}`, { qos: 1 })
    latencies.push(performance.now() - from)
  }
  assert.ok(Math.min(...latencies) >= SLOW_MS - 1, `${Math.min(...latencies)} ms`)
  for (const [window, least] of [
    [100, 800],
    [1_000, 4_000],
  ] as const) {
    const total = window * 20
    const from = performance.now()
    let sent = 0
    const lane = async (): Promise<void> => {
      while (sent++ < total) await publisher.publishAsync('t/1', 'x'.repeat(64), { qos: 1 })
    }
    await Promise.all(Array.from({ length: window }, lane))
    const perSecond = (total / (performance.now() - from)) * 1000
    t.diagnostic(`window ${window}: ${perSecond.toFixed(0)} acknowledged a second`)
    assert.ok(perSecond > least, `window ${window}: ${perSecond.toFixed(0)} a second`)
  }
  site.heal()
  await Promise.all([publisher.endAsync(true), subscriber.endAsync(true)])
})
