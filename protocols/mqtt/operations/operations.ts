/** The broker as an operator sees it (agent/admin/mqtt.ts). */
import type { BrokerState } from '../state.ts'
import { kick, purgeQueue, purgeRetained, purgeSession } from './actions.ts'
import type { PageOf } from './first-names.ts'
import {
  type ClientItem,
  listClients,
  listQueues,
  listRetained,
  listSessions,
  type Page,
  type QueueItem,
  type RetainedItem,
  type RetainedPageOf,
  type SessionItem,
} from './listing.ts'

export interface Operations {
  clients(of: PageOf): Page<ClientItem>
  sessions(of: PageOf, id?: string): Page<SessionItem>
  queues(of: PageOf): Page<QueueItem>
  retained(of: RetainedPageOf): Page<RetainedItem>
  /** @returns whether there was a connection */
  kick(clientId: string): boolean
  /** @returns whether there was a session */
  purgeSession(clientId: string): Promise<boolean>
  /** @returns messages; undefined: no such queue */
  purgeQueue(name: string): Promise<number | undefined>
  /** @returns messages */
  purgeRetained(filter: string): Promise<number>
}

export function createOperations(state: BrokerState): Operations {
  return {
    clients: (of) => listClients(state, of),
    sessions: (of, id) => listSessions(state, of, id),
    queues: (of) => listQueues(state, of),
    retained: (of) => listRetained(state, of),
    kick: (clientId) => kick(state, clientId),
    purgeSession: (clientId) => purgeSession(state, clientId),
    purgeQueue: (name) => purgeQueue(state, name),
    purgeRetained: (filter) => purgeRetained(state, filter),
  }
}
