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
  for (const route of routes) if (route.sendRetained) await sendRetainedOf(parts, route, isWanted)
}

async function sendRetainedOf(parts: Parts, route: BridgeRoute, isWanted: IsOther): Promise<void> {
  const { durability, log, lanes } = parts
  const found = await collectRetained(parts, route, isWanted)
  const waiting = await findWaiting(lanes, found)
  const target = lanes.findTarget(route.lane)
  const sent: Promise<void>[] = []
  await visitRetained(parts, route, (made) => {
    // Another message than before has come meanwhile, and the route has taken it as it takes any.
    const before = found.get(made.topic)
    if (before && isSamePayload(before, made) && !waiting.has(made.topic))
      sent.push(durability.append(made, [target.queue]))
  })
  const refused = (await Promise.allSettled(sent)).find((one) => one.status === 'rejected')
  if (refused)
    log.warn(
      { evt: 'mqtt.bridge.retained', err: toMeshError(refused.reason) },
      'not all retained messages could be queued for the upstream broker',
    )
}

/** By its topic upstream. */
type Found = ReadonlyMap<string, StoredMessage>

const isSamePayload = (a: StoredMessage, b: StoredMessage): boolean => Buffer.compare(a.payload, b.payload) === 0

async function collectRetained(parts: Parts, route: BridgeRoute, isWanted: IsOther): Promise<Found> {
  const found = new Map<string, StoredMessage>()
  await visitRetained(parts, route, (made) => {
    if (isWanted(made.topic, made.payload)) found.set(made.topic, made)
  })
  return found
}

async function visitRetained(
  { broker, clock }: Parts,
  { topics, make }: BridgeRoute,
  visit: (made: StoredMessage) => void,
): Promise<void> {
  await broker.retained(topics, (message) => visit(make(message, readMessageMs(clock))))
}

/** Topics of which the last message that waits is the one that would be sent. */
async function findWaiting({ all }: Lanes, found: Found): Promise<ReadonlySet<string>> {
  const waiting = new Set<string>()
  if (found.size > 0) for (const { queue } of all) await findWaitingIn(queue, found, waiting)
  return waiting
}

async function findWaitingIn(queue: DurableQueue, found: Found, waiting: Set<string>): Promise<void> {
  for (let after = queue.firstSeq - 1; after < queue.lastSeq;) {
    const entries = await queue.read(after, STEP)
    if (entries.length === 0) return
    for (const { message } of entries) {
      const made = found.get(message.topic)
      if (!made || made.retain !== message.retain) continue
      if (isSamePayload(message, made)) waiting.add(message.topic)
      else waiting.delete(message.topic)
    }
    after = entries.at(-1)!.seq
  }
}
