/**
 * Two shipped agents, each with a bridge to the other, over a link that delays, drops, stalls and cuts, while devices
 * publish at both: what either acknowledged arrives at a subscriber of each.
 */
import type { Random } from '../../../core/os/clock.ts'
import { seededRandom } from '../../helpers/random.ts'
import { sleep, type Finally } from '../../conformance/programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../../conformance/package/shipped.ts'
import { Receipts, type Count, type Stream } from '../../bench/mqtt/kill/ledger.ts'
import { MqttJsPublisher, RawPublisher, type Faults, type Publisher } from '../../bench/mqtt/kill/publishers.ts'
import { Subscriber } from '../../bench/mqtt/kill/subscriber.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { waitUntilNoneIsMissing } from '../../bench/mqtt/kill/victim.ts'
import { FlakyLink } from './flaky-link.ts'

const WINDOW = 20
const MAX_BEHIND = 3_000
const SILENT_MS = 20_000
/** Longer than a bridge waits for PINGRESP after a silence, so that it gives a connection up. */
const LONG_STALL_MS = 16_000
const SITES = ['a', 'b'] as const

export type SitesResult = {
  readonly counts: readonly Count[]
  readonly faults: Faults
  readonly examples: readonly string[]
  readonly connections: number
  readonly events: Readonly<Record<string, number>>
}
type Order = 'backlog-first' | 'live-first'

export async function runSites(
  t: Finally,
  { rounds, seed, order }: { readonly rounds: number; readonly seed: number; readonly order: Order },
): Promise<SitesResult> {
  const random = seededRandom(seed)
  const ports = (await freePorts(2)) as [number, number]
  const links = await Promise.all(
    ports.map((target) => FlakyLink.create(t, { target, random: seededRandom(seed + target) })),
  )
  const streams = new Map<string, Stream>()
  const faults: Faults = { sessionsLost: 0, refused: 0, violations: [] }
  const shared = { random: seededRandom(seed + 1), faults }
  const receipts = SITES.map((site) => new Receipts(site, streams))
  const acknowledged = (): number => [...streams.values()].reduce((sum, one) => sum + one.acknowledged.size, 0)
  const behind = (): number => acknowledged() - Math.min(...receipts.map(({ distinct }) => distinct))
  const publishers = SITES.flatMap((site, i) =>
    ([1, 2] as const).flatMap((qos): Publisher[] => {
      const setting = { ...shared, port: ports[i]!, window: WINDOW, mayPublish: () => behind() < MAX_BEHIND, qos }
      return [
        new RawPublisher({ ...setting, name: `${site}-raw-q${qos}`, version: 5 }),
        new MqttJsPublisher({ ...setting, name: `${site}-mqttjs-q${qos}`, version: 4 }),
      ]
    }),
  )
  for (const one of publishers) for (const stream of [one.live, one.kept]) streams.set(stream.topic, stream)
  const subscribers = SITES.map(
    (site, i) =>
      new Subscriber({ ...shared, name: `sub-${site}`, version: 5, port: ports[i]!, receipts: receipts[i]! }),
  )
  for (const one of [...publishers, ...subscribers]) t.after(() => one.end())

  await startBoth(t, { ports, links, names: publishers.map(({ name }) => name), order })
  await Promise.all(subscribers.map((one) => one.subscribe()))
  await Promise.all(publishers.map((one) => one.start()))

  const events: Record<string, number> = {}
  for (let round = 0; round < rounds; round++) {
    const event = await disturb(links[round % 2]!, { random, isLong: round % 8 === 7 })
    events[event] = (events[event] ?? 0) + 1
  }
  for (const link of links) Object.assign(link, { state: 'up', delayMs: 0 })
  for (const one of publishers) one.stop()
  await waitUntilNoneIsMissing(() => publishers.reduce((sum, one) => sum + one.unacknowledged, 0), SILENT_MS)
  await waitUntilNoneIsMissing(behind, SILENT_MS)
  // A repetition that was on its way has come by then.
  await sleep(500)
  return {
    counts: receipts.flatMap((one) => ([1, 2] as const).map((qos) => one.count(qos))),
    faults,
    examples: receipts.flatMap((one) => one.examples),
    connections: links.reduce((sum, { connections }) => sum + connections, 0),
    events,
  }
}

type Both = {
  readonly ports: readonly number[]
  readonly links: readonly FlakyLink[]
  readonly names: readonly string[]
  readonly order: Order
}
async function startBoth(t: Finally, { ports, links, names, order }: Both): Promise<void> {
  const agents: Agent[] = []
  for (const [i, site] of SITES.entries()) {
    const own = names.filter((name) => name.startsWith(`${site}-`))
    const agent = await startSite(t, { port: ports[i]!, to: links[1 - i]!.port, names: own, order })
    await agent.start()
    agents.push(agent)
  }
  // A broker that is new to a bridge gets what is retained once more, beside what waits.
  for (const agent of agents)
    await agent.process.until(
      'its bridge is connected',
      async () => (await agent.status())?.bridge[0]?.state === 'connected',
    )
}

/** One thing that happens to the link, and its end. @returns what it was */
async function disturb(
  link: FlakyLink,
  { random, isLong }: { readonly random: Random; readonly isLong: boolean },
): Promise<string> {
  link.delayMs = 10 + random.float() * 300
  await sleep(500 + random.float() * 1_500)
  const dice = isLong ? 1 : random.float()
  if (dice < 0.4) {
    link.drop()
    return 'drop'
  }
  if (dice < 0.7) {
    link.state = 'cut'
    await sleep(500 + random.float() * 2_500)
    link.state = 'up'
    return 'cut'
  }
  link.state = 'stall'
  await sleep(isLong ? LONG_STALL_MS : 500 + random.float() * 2_000)
  link.state = 'up'
  return isLong ? 'long stall' : 'stall'
}

type Site = { readonly port: number; readonly to: number; readonly names: readonly string[]; readonly order: Order }
async function startSite(t: Finally, { port, to, names, order }: Site): Promise<Agent> {
  // After a backlog `live-first` may send once more what is retained; without that nothing of QoS 2 comes twice.
  const routes = names
    .map(
      (name) =>
        `{match: kill/${name}/#, direction: up, cluster: other, order: ${order}, sendRetained: ${order === 'backlog-first'}}`,
    )
    .join(', ')
  const bridge = '{cluster: other, keepAliveSec: 5, reconnectMinMs: 100, reconnectMaxMs: 1000}'
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\nmqtt: {routes: [${routes}], bridges: [${bridge}]}\nlog: {level: warn}\n`,
    ),
  )
  writeResources(agent.folder, [staticCluster('other', to)])
  return agent
}
