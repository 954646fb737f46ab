/**
 * Rules are asked when a client does something, and again when they change or a session comes back: what is no longer
 * allowed ends there and then. A session without a connection is checked by the rules of the listener that it was last
 * connected to.
 */
import { toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import { joinAuthorizers, createAuthorizer } from '../authorization/authorization.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import type { PolicyGrounds } from '../authorization/grounds.ts'
import { describeClient } from './owner.ts'
import type { Session } from './session.ts'
import { type Quota, findQuota } from './user-quotas.ts'
import type { BrokerState } from '../state.ts'

/** Filters that are named in one log line. */
const MAX_LISTED = 20

/**
 * Takes subscriptions away that the client may not have any more; what waits for it of others' topics is dropped when
 * its turn comes.
 */
export function reauthorize(
  state: BrokerState,
  session: Session,
  { may, quota }: { readonly may: Authorizer; readonly quota: Quota | undefined },
): void {
  const queued = state.shares.findQueued(session.share)
  if (queued) {
    queued.maxBytes = quota?.maxQueuedBytes ?? Infinity
    queued.minDiskFreeBytes = quota?.minDiskFreeBytes
  }
  session.countAmong(queued)
  const revoked = [...session.subscriptions.keys()].filter((filter) => !may.maySubscribe(filter))
  for (const filter of revoked) {
    session.unsubscribe(filter)
    state.subscriptions.remove(session, filter)
  }
  const wasFiltered = session.isFiltered
  session.receiveOnly(may, revoked.length)
  // Who gets what is remembered by topic.
  if (wasFiltered || session.isFiltered) state.subscriptions.forget()
  if (revoked.length > 0) tellRevoked(state, session, revoked)
  else if (!session.hasUnsure) return
  if (!session.stored || state.sessions.get(session.clientId) !== session) return
  // Not awaited: a client that resumes the session is authorized again.
  detach(
    'mqtt',
    session.saveSubscriptions(state.durability, [], revoked).catch((err: unknown) => {
      session.noteRefused(revoked)
      state.ctx.log.warn(
        { evt: 'mqtt.session.save', clientId: session.clientId, err: toMeshError(err) },
        'session could not be saved',
      )
    }),
  )
}

function tellRevoked({ counters, ctx }: BrokerState, { clientId }: Session, revoked: readonly string[]): void {
  counters.revoked.value += revoked.length
  ctx.log.warn(
    {
      evt: 'mqtt.subscription.revoked',
      clientId,
      count: revoked.length,
      filters: revoked.slice(0, MAX_LISTED),
    },
    'subscriptions ended: the mqtt policy does not allow them any more',
  )
}

/**
 * Sessions that nobody is connected to. Most changes of a configuration are none of their rules: those of a listener
 * are compared once, not per session.
 */
export class KeptSessions {
  readonly #state: BrokerState
  readonly #last = new Map<string, readonly PolicyGrounds[]>()

  constructor(state: BrokerState) {
    this.#state = state
  }

  /** A session without an owner stays as it is; the client that takes it is authorized then. */
  reauthorize(): void {
    const changed = new Map<string, readonly PolicyGrounds[] | undefined>()
    for (const session of this.#state.sessions.values()) {
      if (session.link || !session.owner) continue
      const { listener } = session.owner
      if (!changed.has(listener)) changed.set(listener, this.#changedOf(listener))
      const grounds = changed.get(listener)
      const may = grounds && authorizerOf(session, grounds)
      const quotas = grounds?.[0]?.policy.quotas ?? []
      const quota = quotas.length === 0 ? undefined : findQuota(quotas, describeClient(session.clientId, session.owner))
      if (may) reauthorize(this.#state, session, { may, quota })
    }
    for (const listener of this.#last.keys()) if (!changed.has(listener)) this.#last.delete(listener)
  }

  #changedOf(listener: string): readonly PolicyGrounds[] | undefined {
    const [before, now] = [this.#last.get(listener), groundsOf(this.#state, listener)]
    if (before && now.length === before.length && now.every((grounds, i) => grounds === before[i])) return undefined
    this.#last.set(listener, now)
    return now
  }
}

const groundsOf = ({ policiesOf, grounds }: BrokerState, listener: string | undefined): PolicyGrounds[] =>
  policiesOf(listener).map((policy) => grounds.getCurrent(policy))

/**
 * What the rules say of a session without a connection: every set that may apply has to agree. Undefined when nobody
 * knows them: the listener is gone.
 */
function authorizerOf(session: Session, known: readonly PolicyGrounds[]): Authorizer | undefined {
  const { connection } = session
  const client = { ...describeClient(session.clientId, session.owner), connection: connection && (() => connection) }
  const all = (known.length > 0 || !session.grounds ? known : [session.grounds]).map((one) =>
    createAuthorizer(one, client),
  )
  return all.length < 2 ? all[0] : joinAuthorizers(all)
}

export function mayPublishStill(state: BrokerState, session: Session, topic: string): boolean {
  const may = authorizerOf(session, groundsOf(state, session.owner?.listener))
  return may !== undefined && may.mayConnect() && may.mayPublish(topic)
}
