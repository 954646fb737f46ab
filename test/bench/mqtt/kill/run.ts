/**
 * The shipped bundle, killed with SIGKILL again and again while devices publish to it, and what came of every message
 * that it acknowledged. Kills come at any moment: the first during the first start of all, the second right after the
 * SUBACKs, the last after everything was delivered, of the rest a quarter while the agent starts. The moments follow
 * from the seed; what meets them does not.
 */
import { connectAsync, type MqttClient } from 'mqtt'
import type { Random } from '../../../../core/os/clock.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { sleep, type Finally } from '../../../conformance/programs.ts'
import { Agent, directoryMode, writeResources } from '../../../conformance/package/shipped.ts'
import type { Version } from '../wire.ts'
import { payloadOf, Receipts, type Count, type Stream } from './ledger.ts'
import { MqttJsPublisher, RawPublisher, type Faults, type Publisher } from './publishers.ts'
import { Subscriber } from './subscriber.ts'
import { killAgent, waitUntilNoneIsMissing } from './victim.ts'

export type KillOptions = {
  /** At least 3. */ readonly kills: number
  readonly seed: number
  readonly profile: 'strict' | 'balanced' | 'eco'
}
export type KillResult = KillOptions & {
  readonly seconds: number
  /** One per subscriber and QoS. */
  readonly counts: readonly Count[]
  readonly retained: { readonly looked: number; readonly wrong: readonly string[] }
  /** CONNACK without Session Present where there was a session. */
  readonly sessionsLost: number
  /** PUBACK, PUBREC or PUBCOMP that says no. */
  readonly refused: number
  readonly violations: readonly string[]
  /** In the spool after everything was delivered and acknowledged. */
  readonly left: number
}

/** This part of the kills comes within EARLY_MS of the start, so also while the spool is being restored. */
const EARLY_SHARE = 0.25
const EARLY_MS = 400
/**
 * A kill comes within `lateMs` of the agent being ready. `eco` waits a second with each acknowledgement, and MQTT.js
 * repeats one message after the other.
 */
const LOAD = {
  strict: { window: 30, lateMs: 800 },
  balanced: { window: 30, lateMs: 800 },
  eco: { window: 6, lateMs: 4_000 },
}
/** Messages that a subscriber may be behind, about 6 MB. */
const MAX_BEHIND = 5_000
/** After so long nothing more is expected to come. */
const SILENT_MS = 10_000

/** Rejects when the agent ends by itself, or when at the end nothing comes of what is unacknowledged. */
export async function killRun(
  t: Finally,
  options: KillOptions,
  onKill: (done: number) => void = () => undefined,
): Promise<KillResult> {
  const startedMs = performance.now()
  const random = seededRandom(options.seed)
  const [port] = (await freePorts(1)) as [number]
  const agent = await broker(t, options, port)
  const { faults, publishers, roaming, steady, acknowledged } = clientsOf(options, port)
  for (const one of [...publishers, roaming.subscriber, steady.subscriber]) t.after(() => one.end())

  const victim = new Victim(agent, random, onKill)
  const kept = publishers.map((p) => p.kept)
  const retained = new RetainedLooks(port, kept)

  victim.start()
  await victim.early()
  await victim.kill()
  await agent.start()
  await Promise.all([roaming.subscriber.subscribe(), steady.subscriber.subscribe()])
  await victim.kill()
  victim.start()
  await Promise.all(publishers.map((p) => p.start()))
  roaming.subscriber.roam()
  while (victim.kills < options.kills - 1) {
    if (random.float() < EARLY_SHARE) await victim.early()
    else {
      await victim.ready
      if (victim.kills % 2 === 0) await retained.look()
      await sleep(random.float() * LOAD[options.profile].lateMs)
    }
    await victim.kill()
    victim.start()
  }

  await victim.ready
  for (const p of publishers) p.stop()
  await roaming.subscriber.stay()
  await allAcknowledged(publishers, agent)
  await allDelivered([roaming, steady], acknowledged)
  const left = await emptied(agent)
  const counts = [roaming, steady].flatMap(({ receipts }) => ([1, 2] as const).map((qos) => receipts.count(qos)))
  faults.violations.push(...[roaming, steady].flatMap(({ receipts }) => receipts.examples))
  await retained.look()
  await retained.clear()
  await victim.kill()
  await agent.start()
  await retained.look({ isCleared: true })
  return {
    ...options,
    kills: victim.kills,
    seconds: (performance.now() - startedMs) / 1000,
    counts,
    retained: retained.result,
    ...faults,
    left,
  }
}

async function broker(t: Finally, { profile }: KillOptions, port: number): Promise<Agent> {
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\nmqtt: {spool: {profile: ${profile}}}\nlog: {level: warn}\n`,
    ),
  )
  writeResources(agent.folder, [])
  return agent
}

type Clients = {
  readonly faults: Faults
  readonly publishers: readonly Publisher[]
  readonly roaming: Receiver
  readonly steady: Receiver
  readonly acknowledged: () => number
}
type Receiver = { readonly receipts: Receipts; readonly subscriber: Subscriber }

function clientsOf(options: KillOptions, port: number): Clients {
  // One each beside the kills' own, which would come at other moments whenever a client takes a number more.
  const [pauses, roam] = [seededRandom(options.seed + 1), seededRandom(options.seed + 2)]
  const faults: Faults = { sessionsLost: 0, refused: 0, violations: [] }
  const acknowledged = (): number => [...streams.values()].reduce((sum, s) => sum + s.acknowledged.size, 0)
  const publishers = publishersOf({
    port,
    random: pauses,
    faults,
    window: LOAD[options.profile].window,
    mayPublish: () => acknowledged() - Math.min(roaming.receipts.distinct, steady.receipts.distinct) < MAX_BEHIND,
  })
  const streams = new Map<string, Stream>(publishers.flatMap((p) => [p.live, p.kept]).map((s) => [s.topic, s]))
  const subscriberOf = (name: string, version: Version): Receiver => {
    const receipts = new Receipts(name, streams)
    return { receipts, subscriber: new Subscriber({ name, version, port, random: roam, faults, receipts }) }
  }
  const [roaming, steady] = [subscriberOf('roams, MQTT 5.0', 5), subscriberOf('stays, MQTT 3.1.1', 4)]
  return { faults, publishers, roaming, steady, acknowledged }
}

class Victim {
  kills = 0
  ready: Promise<void> = Promise.resolve()
  readonly #agent: Agent
  readonly #random: Random
  readonly #onKill: (done: number) => void

  constructor(agent: Agent, random: Random, onKill: (done: number) => void) {
    this.#agent = agent
    this.#random = random
    this.#onKill = onKill
  }
  start(): void {
    this.ready = this.#agent.start()
  }
  /** Resolves at a moment that may be before the agent is ready. */
  early(): Promise<void> {
    this.ready.catch(() => {
      /* it was killed before */
    })
    return sleep(this.#random.float() * EARLY_MS)
  }
  async kill(): Promise<void> {
    await killAgent(this.#agent)
    this.#onKill(++this.kills)
  }
}

/** Now and then somebody looks whether what is retained is what was acknowledged. */
class RetainedLooks {
  readonly result = { looked: 0, wrong: [] as string[] }
  readonly #port: number
  readonly #kept: readonly Stream[]

  constructor(port: number, kept: readonly Stream[]) {
    this.#port = port
    this.#kept = kept
  }
  async look({ isCleared }: { readonly isCleared: boolean } = { isCleared: false }): Promise<void> {
    this.result.looked++
    this.result.wrong.push(...(await wrongRetained(this.#port, this.#kept, isCleared)))
  }
  async clear(): Promise<void> {
    await clearRetained(
      this.#port,
      this.#kept.map((k) => k.topic),
    )
  }
}

async function allDelivered(receivers: readonly Receiver[], acknowledged: () => number): Promise<void> {
  await Promise.all(
    receivers.map(({ receipts }) => waitUntilNoneIsMissing(() => acknowledged() - receipts.distinct, SILENT_MS)),
  )
}

/** Rejects when nothing more comes of what is unacknowledged. */
async function allAcknowledged(publishers: readonly Publisher[], agent: Agent): Promise<void> {
  const unacknowledged = (): number => publishers.reduce((sum, p) => sum + p.unacknowledged, 0)
  await waitUntilNoneIsMissing(unacknowledged, SILENT_MS)
  if (unacknowledged() > 0)
    throw new Error(
      `nothing more is acknowledged: ${publishers.map((p) => `${p.name} waits for ${p.unacknowledged}`).join(', ')}\n${agent.process.log.slice(-4000)}`,
    )
}

function publishersOf(p: {
  readonly port: number
  readonly window: number
  readonly mayPublish: () => boolean
  readonly random: Random
  readonly faults: Faults
}): readonly Publisher[] {
  return ([4, 5] as const).flatMap((version) =>
    ([1, 2] as const).flatMap((qos) => [
      new RawPublisher({ ...p, name: `raw-v${version}-q${qos}`, version, qos }),
      new MqttJsPublisher({ ...p, name: `mqttjs-v${version}-q${qos}`, version, qos }),
    ]),
  )
}

/** Waits until the receivers' last acknowledgements are there. @returns messages that are still in the spool */
async function emptied(agent: Agent): Promise<number> {
  for (const byMs = performance.now() + SILENT_MS; ; await sleep(50)) {
    const messages = (await agent.status())?.spool.messages ?? -1
    if (messages === 0 || performance.now() > byMs) return messages
  }
}

async function visitor(port: number): Promise<MqttClient> {
  return connectAsync({
    host: '127.0.0.1',
    port,
    clientId: 'visitor',
    protocolVersion: 5,
    clean: true,
    reconnectPeriod: 0,
  })
}

async function clearRetained(port: number, topics: readonly string[]): Promise<void> {
  const client = await visitor(port)
  await Promise.all(topics.map((topic) => client.publishAsync(topic, '', { qos: 1, retain: true })))
  await client.endAsync()
}

/**
 * A new subscriber has to get the last acknowledged message of each topic, or a later one that was sent. `isCleared`:
 * none.
 */
async function wrongRetained(port: number, streams: readonly Stream[], isCleared: boolean): Promise<string[]> {
  const atLeast = new Map(streams.map((s) => [s, isCleared ? 0 : s.lastAcknowledged]))
  const seen = new Map<string, Buffer>()
  const client = await visitor(port)
  client.on('message', (topic, payload, { retain }) => {
    // What comes live while it asks is newer, and comes in place of the retained one.
    if (retain || !isCleared) seen.set(topic, payload)
  })
  await client.subscribeAsync('kill/+/kept', { qos: 1 })
  for (
    const byMs = performance.now() + (isCleared ? 300 : SILENT_MS);
    performance.now() < byMs && (isCleared || streams.some((s) => atLeast.get(s)! > 0 && !seen.has(s.topic)));
  )
    await sleep(10)
  await client.endAsync(true)
  return streams.flatMap((s) => {
    const payload = seen.get(s.topic)
    const n = payload ? Number(payload.toString().split(':', 1)[0]) : 0
    const isRight =
      n >= atLeast.get(s)! && n <= (isCleared ? 0 : s.sent) && (!payload || payload.equals(payloadOf(s.topic, n)))
    return isRight
      ? []
      : [
          `${s.topic}: ${payload ? `message ${n}` : 'nothing'} is retained, ${isCleared ? 'it was cleared' : `${atLeast.get(s)} was acknowledged and ${s.sent} sent`}`,
        ]
  })
}
