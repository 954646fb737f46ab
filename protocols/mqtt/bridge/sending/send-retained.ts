/**
 * What is retained here is retained there: to a route that is new, and to a broker that has lost it. What waits in the
 * queues anyway is not sent twice.
 */
import type { Clock } from '../../../../core/os/clock.ts'
import { toMeshError } from '../../../../core/errors.ts'
import type { Log } from '../../../../core/log.ts'
import type { Durability, DurableQueue, LocalBroker, StoredMessage } from '../../durability.ts'
import { readMessageMs } from '../../expiry.ts'
import type { Lanes } from '../lanes.ts'
import type { BridgeRoute } from '../plan.ts'
import type { IsOther } from './lane-pair.ts'

/** Entries that are read from a queue between two turns of others. */
const STEP = 500

type Parts = {
  readonly broker: LocalBroker
  readonly durability: Durability
  readonly clock: Clock
  readonly log: Log
  readonly lanes: Lanes
}

/** Never rejects. @param isWanted which of it, by topic and payload as the broker gets them */
export async function sendRetained(
  parts: Parts,
  routes: readonly BridgeRoute[],
  isWanted: IsOther = () => true,
): Promise<void> {
  const all: RouteRetained[] = []
  for (const route of routes) if (route.sendRetained) all.push(await collectRetained(parts, route, isWanted))
  await findWaiting(parts.lanes, all)
  for (const one of all) await sendRetainedOf(parts, one, all)
}

/** By its topic upstream. */
type RouteRetained = {
  readonly route: BridgeRoute
  readonly found: ReadonlyMap<string, StoredMessage>
  /** Topics of which the last message that waits is the one that would be sent. */
  readonly waiting: Set<string>
}

async function sendRetainedOf(
  parts: Parts,
  { route, found, waiting }: RouteRetained,
  all: readonly RouteRetained[],
): Promise<void> {
  const { durability, log, lanes } = parts
  const target = lanes.findTarget(route.lane)
  const sent: Promise<void>[] = []
  await visitRetained(parts, route, (made) => {
    // Another message than before has come meanwhile, and the route has taken it as it takes any.
    const before = found.get(made.topic)
    if (!before || !isSamePayload(before, made) || waiting.has(made.topic)) return
    sent.push(durability.append(made, [target.queue]))
    for (const one of all) noteWaiting(one, made)
  })
  const refused = (await Promise.allSettled(sent)).find((one) => one.status === 'rejected')
  if (refused)
    log.warn(
      { evt: 'mqtt.bridge.retained', err: toMeshError(refused.reason) },
      'not all retained messages could be queued for the upstream broker',
    )
}

const isSamePayload = (a: StoredMessage, b: StoredMessage): boolean => Buffer.compare(a.payload, b.payload) === 0

async function collectRetained(parts: Parts, route: BridgeRoute, isWanted: IsOther): Promise<RouteRetained> {
  const found = new Map<string, StoredMessage>()
  await visitRetained(parts, route, (made) => {
    if (isWanted(made.topic, made.payload)) found.set(made.topic, made)
  })
  return { route, found, waiting: new Set() }
}

async function visitRetained(
  { broker, clock }: Parts,
  { topics, make }: BridgeRoute,
  visit: (made: StoredMessage) => void,
): Promise<void> {
  await broker.retained(topics, (message) => visit(make(message, readMessageMs(clock))))
}

/** Each queue is read once for all routes: it may hold a million messages. */
async function findWaiting({ all: lanes }: Lanes, routes: readonly RouteRetained[]): Promise<void> {
  const asked = routes.filter(({ found }) => found.size > 0)
  if (asked.length > 0) for (const { queue } of lanes) await findWaitingIn(queue, asked)
}

async function findWaitingIn(queue: DurableQueue, asked: readonly RouteRetained[]): Promise<void> {
  for (let after = queue.firstSeq - 1; after < queue.lastSeq;) {
    const entries = await queue.read(after, STEP)
    if (entries.length === 0) return
    for (const { message } of entries) for (const one of asked) noteWaiting(one, message)
    after = entries.at(-1)!.seq
  }
}
function noteWaiting({ found, waiting }: RouteRetained, message: StoredMessage): void {
  const made = found.get(message.topic)
  if (!made || made.retain !== message.retain) return
  if (isSamePayload(message, made)) waiting.add(message.topic)
  else waiting.delete(message.topic)
}
