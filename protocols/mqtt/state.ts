/** What the broker's steps share. Made once by broker.ts. */
import type { MqttPolicy } from '../../model/mqtt-policy.ts'
import type { Context } from '../context.ts'
import type { Flusher } from './codec/flusher.ts'
import type { Counters } from './counters.ts'
import type { Doorstep } from './connection/doorstep.ts'
import type { Durability, StoredMessage } from './durability.ts'
import type { ProxiedClients } from './operations/proxied-clients.ts'
import type { Takeovers } from './session/takeovers.ts'
import type { Memory } from './memory.ts'
import type { GroundsOf } from './authorization/grounds.ts'
import type { Slices } from './slices.ts'
import type { Retained } from './topics/retained.ts'
import type { CommitWaiters } from './session/commit-waiters.ts'
import type { Session } from './session/session.ts'
import type { SessionShares } from './session/session-shares.ts'
import type { Authentication } from './users/authentication.ts'
import type { UserQuotas } from './session/user-quotas.ts'
import type { Subscriptions } from './topics/subscriptions.ts'

export type BrokerContext = Pick<Context, 'clock' | 'random' | 'log' | 'metrics'>
export type BrokerState = {
  readonly ctx: BrokerContext
  readonly node: string
  readonly durability: Durability
  readonly commits: CommitWaiters
  readonly counters: Counters
  readonly flusher: Flusher
  readonly memory: Memory
  readonly slices: Slices
  readonly authentication: Authentication
  readonly doorstep: Doorstep
  readonly takeovers: Takeovers
  readonly sessions: Map<string, Session>
  readonly shares: SessionShares
  readonly quotas: UserQuotas
  readonly proxied: ProxiedClients
  readonly subscriptions: Subscriptions
  readonly retained: Retained
  /** Values of `$SYS` topics, which are retained without being stored (operations/sys-topics.ts). */
  sys: { deliver(filter: string, give: (message: StoredMessage) => void): void } | undefined
  /** Rules in force on a listener, one set per chain; undefined = on any. Empty when it is gone. */
  readonly policiesOf: (listener: string | undefined) => readonly MqttPolicy[]
  readonly grounds: GroundsOf
  /** Kept sessions queue QoS 0, too (mqtt.queueQos0Messages). */
  keepsQos0: boolean
  /** Messages count as of QoS 2 (mqtt.upgradeOutgoingQos). */
  upgradesQos: boolean
  /** Aborted when the broker is disposed of. */
  readonly closed: AbortSignal
  /** The last connect or deletion of a client id; the next one waits for it. */
  readonly clientLocks: Map<string, Promise<void>>
}
