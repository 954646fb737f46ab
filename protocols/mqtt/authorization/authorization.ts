/**
 * Who may connect, publish where, subscribe to what and receive what: mqtt.rules (rule-authorizer.ts), the acl file
 * (acl.ts) and policies of the mesh (mesh-authorizer.ts). Each of them that is there has to agree. Made once per client, asked per packet and per message.
 */
import { memoizeTexts } from '../../../core/memoize.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { type Acl, READ, WRITE } from './acl.ts'
import type { Authorizer, Client } from './authorizer.ts'
import { createMeshAuthorizer } from './mesh-authorizer.ts'
import { createRuleAuthorizer } from './rule-authorizer.ts'

/** What decides: the policy of a listener, and what its acl file says today. */
export type Grounds = {
  readonly policy: Pick<MqttPolicy, 'rules' | 'wideSubscriptions' | 'meshPolicies'>
  /** `missing`: the ACL file of the policy was never readable. */
  readonly acl?: Acl | 'missing' | undefined
}

const MAX_REMEMBERED_TOPICS = 256
const MAX_REMEMBERED_CHARS = 256

export function createAuthorizer({ policy, acl }: Grounds, client: Client): Authorizer {
  const all: Authorizer[] = []
  if (policy.rules.length > 0) all.push(createRuleAuthorizer(policy, client))
  if (acl !== undefined) all.push(acl === 'missing' ? NOBODY : aclAuthorizer(acl, client))
  if (policy.meshPolicies) all.push(createMeshAuthorizer(policy.meshPolicies, client.connection?.()))
  if (all.length === 0) return ANYBODY
  const may = all.length === 1 ? all[0]! : joinAuthorizers(all)
  return {
    ...may,
    mayPublish: remembering(may.mayPublish),
    mayReceive: may.restrictsReceiving ? remembering(may.mayReceive) : may.mayReceive,
  }
}

/** Every one of them has to agree. */
export function joinAuthorizers(all: readonly Authorizer[]): Authorizer {
  return {
    mayConnect: () => all.every((may) => may.mayConnect()),
    mayPublish: (topic) => all.every((may) => may.mayPublish(topic)),
    maySubscribe: (filter) => all.every((may) => may.maySubscribe(filter)),
    mayReceive: (topic) => all.every((may) => may.mayReceive(topic)),
    restrictsReceiving: all.some((may) => may.restrictsReceiving),
    filtersDelivery: all.some((may) => may.filtersDelivery),
  }
}

/** Without rules, one for all clients; asked for each message, so each answer must cost nothing. */
const ANYBODY: Authorizer = {
  mayConnect: () => true,
  mayPublish: () => true,
  maySubscribe: () => true,
  mayReceive: () => true,
  restrictsReceiving: false,
  filtersDelivery: false,
}

/** Subscriptions stay, so that they are there when the file is; without a connection nothing is delivered. */
const NOBODY: Authorizer = {
  mayConnect: () => false,
  mayPublish: () => false,
  maySubscribe: () => true,
  mayReceive: () => false,
  restrictsReceiving: true,
  filtersDelivery: true,
}

/** As in mosquitto everybody may subscribe to everything, and gets what may be read of it. */
function aclAuthorizer(acl: Acl, client: Client): Authorizer {
  const has = acl.compileFor(client)
  return {
    mayConnect: () => true,
    mayPublish: (topic) => has(topic, WRITE),
    maySubscribe: () => true,
    mayReceive: (topic) => has(topic, READ),
    restrictsReceiving: true,
    filtersDelivery: true,
  }
}

/** A client has this for itself, and may have ten thousand others beside it. */
function remembering(may: (topic: string) => boolean): (topic: string) => boolean {
  return memoizeTexts(may, { most: MAX_REMEMBERED_TOPICS, keeps: ({ length }) => length <= MAX_REMEMBERED_CHARS })
}
