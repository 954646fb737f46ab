/**
 * Rules are asked when a client does something, and again when they change or a session comes back: what is no longer allowed ends there and then.
 * A session without a connection is judged by the rules of the listener that it was last connected to.
 */
import { toMeshError } from '../../agent/core/errors.ts'
import { detached } from '../../agent/core/guard.ts'
import type { MqttPolicy } from '../../agent/model/mqtt-policy.ts'
import { createAuthorizer, type Authorizer } from './authorization.ts'
import { clientOf } from './owner.ts'
import type { Session } from './session.ts'
import type { BrokerState } from './state.ts'

/** More filters in a log line help nobody. */
const MAX_LISTED = 20

/** Takes subscriptions away that the client may not have any more; what waits for it of others' topics is dropped when its turn comes */
export function reauthorize(state: BrokerState, session: Session, may: Authorizer): void {
  const revoked = [...session.subscriptions.keys()].filter((filter) => !may.maySubscribe(filter))
  for (const filter of revoked) {
    session.unsubscribe(filter)
    state.subscriptions.remove(session, filter)
  }
  session.receiveOnly(may, revoked.length)
  if (revoked.length === 0) return
  state.counters.revoked.value += revoked.length
  state.ctx.log.warn({ evt: 'mqtt.subscription.revoked', clientId: session.clientId, count: revoked.length, filters: revoked.slice(0, MAX_LISTED) }, 'subscriptions ended: the mqtt policy does not allow them any more')
  if (!session.stored || state.sessions.get(session.clientId) !== session) return
  // Not waited for: whoever comes back with the session is asked again.
  detached('mqtt', state.durability.saveSubscriptions(session.clientId, [], revoked).catch((err: unknown) => {
    state.ctx.log.warn({ evt: 'mqtt.session.save', clientId: session.clientId, err: toMeshError(err) }, 'session could not be saved')
  }))
}

/** What the rules say of a session without a connection: every set that may apply has to agree. Undefined when nobody knows them: the listener is gone. */
export function authorizerOf(state: BrokerState, session: Session): Authorizer | undefined {
  const client = clientOf(session.clientId, session.owner)
  const known = state.policiesOf(session.owner?.listener)
  const policies: readonly MqttPolicy[] = known.length > 0 || !session.policy ? known : [session.policy]
  const all = policies.map((policy) => createAuthorizer(policy, client))
  return all.length < 2 ? all[0] : {
    mayConnect: () => all.every((may) => may.mayConnect()),
    mayPublish: (topic) => all.every((may) => may.mayPublish(topic)),
    maySubscribe: (filter) => all.every((may) => may.maySubscribe(filter)),
    mayReceive: (topic) => all.every((may) => may.mayReceive(topic)),
    restrictsReceiving: all.some((may) => may.restrictsReceiving),
  }
}

export function mayPublishStill(state: BrokerState, session: Session, topic: string): boolean {
  const may = authorizerOf(state, session)
  return may !== undefined && may.mayConnect() && may.mayPublish(topic)
}
