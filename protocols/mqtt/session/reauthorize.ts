/**
 * Rules are asked when a client does something, and again when they change or a session comes back: what is no longer
 * allowed ends there and then. A session without a connection is checked by the rules of the listener that it was last
 * connected to.
 */
import { toMeshError } from '../../../core/errors.ts'
import { detached } from '../../../core/defects/guard.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { createAuthorizer, type Authorizer } from '../topics/authorization.ts'
import { clientOf } from './owner.ts'
import type { Session } from './session.ts'
import type { BrokerState } from '../state.ts'

/** More filters in a log line help nobody. */
const MAX_LISTED = 20

/**
 * Takes subscriptions away that the client may not have any more; what waits for it of others' topics is dropped when
 * its turn comes.
 */
export function reauthorize(state: BrokerState, session: Session, may: Authorizer): void {
  const revoked = [...session.subscriptions.keys()].filter((filter) => !may.maySubscribe(filter))
  for (const filter of revoked) {
    session.unsubscribe(filter)
    state.subscriptions.remove(session, filter)
  }
  session.receiveOnly(may, revoked.length)
  if (revoked.length === 0) return
  state.counters.revoked.value += revoked.length
  state.ctx.log.warn(
    {
      evt: 'mqtt.subscription.revoked',
      clientId: session.clientId,
      count: revoked.length,
      filters: revoked.slice(0, MAX_LISTED),
    },
    'subscriptions ended: the mqtt policy does not allow them any more',
  )
  if (!session.stored || state.sessions.get(session.clientId) !== session) return
  // Not waited for: whoever comes back with the session is asked again.
  detached(
    'mqtt',
    state.durability.saveSubscriptions(session, [], revoked).catch((err: unknown) => {
      state.ctx.log.warn(
        { evt: 'mqtt.session.save', clientId: session.clientId, err: toMeshError(err) },
        'session could not be saved',
      )
    }),
  )
}

/**
 * Sessions that nobody is connected to. Most changes of a configuration are none of their rules: those of a listener
 * are compared once, not per session.
 */
export class KeptSessions {
  readonly #state: BrokerState
  readonly #lastPolicies = new Map<string, readonly MqttPolicy[]>()

  constructor(state: BrokerState) {
    this.#state = state
  }

  /** One that has no owner yet is left as it is: whoever comes for it is asked then. */
  reauthorize(): void {
    const changed = new Map<string, readonly MqttPolicy[] | undefined>()
    for (const session of this.#state.sessions.values()) {
      if (session.link || !session.owner) continue
      const { listener } = session.owner
      if (!changed.has(listener)) changed.set(listener, this.#changedOf(listener))
      const policies = changed.get(listener)
      const may = policies && authorizerOf(session, policies)
      if (may) reauthorize(this.#state, session, may)
    }
    for (const listener of this.#lastPolicies.keys()) if (!changed.has(listener)) this.#lastPolicies.delete(listener)
  }

  #changedOf(listener: string): readonly MqttPolicy[] | undefined {
    const [before, now] = [this.#lastPolicies.get(listener), this.#state.policiesOf(listener)]
    if (before && now.length === before.length && now.every((policy, i) => policy === before[i])) return undefined
    this.#lastPolicies.set(listener, now)
    return now
  }
}

/**
 * What the rules say of a session without a connection: every set that may apply has to agree. Undefined when nobody
 * knows them: the listener is gone.
 */
function authorizerOf(session: Session, known: readonly MqttPolicy[]): Authorizer | undefined {
  const client = clientOf(session.clientId, session.owner)
  const policies: readonly MqttPolicy[] = known.length > 0 || !session.policy ? known : [session.policy]
  const all = policies.map((policy) => createAuthorizer(policy, client))
  return all.length < 2
    ? all[0]
    : {
        mayConnect: () => all.every((may) => may.mayConnect()),
        mayPublish: (topic) => all.every((may) => may.mayPublish(topic)),
        maySubscribe: (filter) => all.every((may) => may.maySubscribe(filter)),
        mayReceive: (topic) => all.every((may) => may.mayReceive(topic)),
        restrictsReceiving: all.some((may) => may.restrictsReceiving),
      }
}

export function mayPublishStill(state: BrokerState, session: Session, topic: string): boolean {
  const may = authorizerOf(session, state.policiesOf(session.owner?.listener))
  return may !== undefined && may.mayConnect() && may.mayPublish(topic)
}
