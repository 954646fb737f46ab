/**
 * Two shipped agents, one a bridge to the other, killed in turn at random moments while devices publish to the first:
 * what it acknowledged arrives at a subscriber of the second.
 */
import { seededRandom } from '../../helpers/random.ts'
import { sleep, type Finally } from '../../conformance/programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../../conformance/package/shipped.ts'
import { Receipts, type Count, type Stream } from '../../bench/mqtt/kill/ledger.ts'
import { MqttJsPublisher, RawPublisher, type Faults, type Publisher } from '../../bench/mqtt/kill/publishers.ts'
import { Subscriber } from '../../bench/mqtt/kill/subscriber.ts'
import { killAgent, waitUntilNoneIsMissing } from '../../bench/mqtt/kill/victim.ts'
import { freePorts } from '../../../tools/free-ports.ts'

const WINDOW = 20
const MAX_BEHIND = 3_000
const BETWEEN_KILLS_MS = 900
const SILENT_MS = 20_000

export type BridgeKills = {
  readonly counts: readonly Count[]
  readonly faults: Faults
  readonly kills: number
  readonly examples: readonly string[]
}

export async function bridgeKills(
  t: Finally,
  { kills, seed }: { readonly kills: number; readonly seed: number },
): Promise<BridgeKills> {
  const random = seededRandom(seed)
  const [sitePort, cloudPort] = (await freePorts(2)) as [number, number]
  const cloud = await agentOf(t, cloudPort, 'mqtt: {}\n')
  writeResources(cloud.folder, [])
  const site = await agentOf(t, sitePort, 'mqtt: {routes: [{match: kill/#, direction: up, cluster: cloud}]}\n')
  writeResources(site.folder, [staticCluster('cloud', cloudPort)])
  await Promise.all([cloud.start(), site.start()])

  const faults: Faults = { sessionsLost: 0, refused: 0, violations: [] }
  const streams = new Map<string, Stream>()
  const receipts = new Receipts('cloud', streams)
  const shared = { random: seededRandom(seed + 1), faults }
  const subscriber = new Subscriber({ ...shared, name: 'cloud', version: 5, port: cloudPort, receipts })
  const acknowledged = (): number => [...streams.values()].reduce((sum, one) => sum + one.acknowledged.size, 0)
  const mayPublish = (): boolean => acknowledged() - receipts.distinct < MAX_BEHIND
  const publishers = ([1, 2] as const).flatMap((qos): Publisher[] => {
    const setting = { ...shared, port: sitePort, window: WINDOW, mayPublish, qos }
    return [
      new RawPublisher({ ...setting, name: `raw-q${qos}`, version: 5 }),
      new MqttJsPublisher({ ...setting, name: `mqttjs-q${qos}`, version: 4 }),
    ]
  })
  for (const one of publishers) for (const stream of [one.live, one.kept]) streams.set(stream.topic, stream)
  for (const one of [...publishers, subscriber]) t.after(() => one.end())
  await subscriber.subscribe()
  await Promise.all(publishers.map((one) => one.start()))

  for (let kill = 0; kill < kills; kill++) {
    await sleep(random.float() * BETWEEN_KILLS_MS)
    const victim = random.float() < 0.6 ? site : cloud
    await killAgent(victim)
    await victim.start()
  }
  for (const one of publishers) one.stop()
  await subscriber.stay()
  await waitUntilNoneIsMissing(() => publishers.reduce((sum, one) => sum + one.unacknowledged, 0), SILENT_MS)
  await waitUntilNoneIsMissing(() => acknowledged() - receipts.distinct, SILENT_MS)
  // A repetition that was on its way has come by then.
  await sleep(500)
  const counts = ([1, 2] as const).map((qos) => receipts.count(qos))
  return { counts, faults, kills, examples: receipts.examples }
}

function agentOf(t: Finally, port: number, rest: string): Promise<Agent> {
  return Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\n${rest}log: {level: warn}\n`),
  )
}
