/** What is retained here is retained there: to a route that is new, and to a broker that has lost it. */
import type { Clock } from '../../../../core/os/clock.ts'
import { toMeshError } from '../../../../core/errors.ts'
import type { Log } from '../../../../core/log.ts'
import type { Durability, LocalBroker } from '../../durability.ts'
import { readMessageMs } from '../../expiry.ts'
import type { Lanes } from '../lanes.ts'
import type { BridgeRoute } from '../plan.ts'
import type { IsOther } from './lane-pair.ts'

type Parts = {
  readonly broker: LocalBroker
  readonly durability: Durability
  readonly clock: Clock
  readonly log: Log
  readonly lanes: Lanes
}

/** Never rejects. @param isWanted which of it, by topic and payload as the broker gets them */
export async function sendRetained(
  { broker, durability, clock, log, lanes }: Parts,
  routes: readonly BridgeRoute[],
  isWanted: IsOther = () => true,
): Promise<void> {
  for (const { topics, lane, make } of routes.filter((route) => route.sendRetained)) {
    const target = lanes.findTarget(lane)
    const sent: Promise<void>[] = []
    const decided = broker.retained(topics, (message) => {
      const made = make(message, readMessageMs(clock))
      if (isWanted(made.topic, made.payload)) sent.push(durability.append(made, [target.queue]))
    })
    await decided
    const refused = (await Promise.allSettled(sent)).find((one) => one.status === 'rejected')
    if (refused)
      log.warn(
        { evt: 'mqtt.bridge.retained', err: toMeshError(refused.reason) },
        'not all retained messages could be queued for the upstream broker',
      )
  }
}
