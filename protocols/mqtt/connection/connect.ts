/**
 * CONNECT to CONNACK (MQTT 5.0 §3.1.4): checks, authorization, the session that is resumed or made, and what the server
 * answers.
 */
import { randomInt } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import type { Lease } from '../../../core/lease.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { type AuthzFacts, collectFacts } from '../../authz.ts'
import type { Connection } from '../../connection.ts'
import type { PeerIdentity } from '../../../model/identity.ts'
import { createAuthorizer } from '../authorization/authorization.ts'
import type { Client } from '../authorization/authorizer.ts'
import type { PolicyGrounds } from '../authorization/grounds.ts'
import type { Connack, Connect, Properties, Qos, Version } from '../codec/packet.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import {
  describeClient,
  isSameEverywhere,
  deriveOwner,
  formatOwner,
  ownsWhatIs,
  nameShare,
  type Owner,
} from '../session/owner.ts'
import { REASON, createViolation } from '../codec/reason.ts'
import { NEVER_SEC, Session } from '../session/session.ts'
import type { Quota } from '../session/user-quotas.ts'
import { cancelWill, endSession, forget, giveWay, createTakenOverError } from '../session/sessions.ts'
import type { BrokerState } from '../state.ts'
import type { Proof } from '../users/authentication.ts'
import type { Link } from './link.ts'
import { isReserved, isTooDeep } from '../topics/topics.ts'

/** What CONNECT settled before anything was touched. */
export type Admitted = {
  readonly clientId: string
  readonly assigned: boolean
  readonly owner: Owner
  readonly proof: Proof
  /** Where the client is. */
  readonly address: string
  /** As rules and quotas see it. */
  readonly client: Client
  readonly expirySec: number
  readonly keepAliveSec: number
}
type Limits = MqttPolicy['limits']

/** A client id that we assign cannot be guessed, or anyone could take the session over. */
const ID_LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789'
const ID_LENGTH = 22
const MAX_CLIENT_ID_CHARS = 1024
const MAX_CLIENT_ID_CHARS_31 = 23

/** Version of the refusing CONNACK: 5 for what is newer, 4 for everything else [MQTT-3.1.2-2]. */
export function answerVersion(level: number): Version {
  return level >= 5 ? 5 : 4
}

/** Later, without a hold on anything else of whoever asks. */
export function collectFactsLater(conn: Connection): () => AuthzFacts {
  return () => collectFacts(conn)
}

/** @throws MESH_MQTT_PROTOCOL, MESH_MQTT_NOT_AUTHORIZED; each is answered with a CONNACK */
export function admit(
  state: BrokerState,
  connect: Connect,
  grounds: PolicyGrounds,
  from: {
    readonly peer: PeerIdentity | undefined
    readonly proof: Proof
    readonly listener: string
    readonly address: string
    readonly connection?: () => AuthzFacts
  },
): Admitted {
  const { will, clientId: given } = connect
  const { policy } = grounds
  const { clientIdPrefixes: prefixes } = policy.listener
  checkClientId(connect, policy.listener)
  const clientId = given === '' ? assignedId(prefixes?.[0] ?? `${state.node}-`) : given
  const { proof } = from
  const owner = deriveOwner({ peer: from.peer, user: proof.user }, from.listener)
  const client = { ...describeClient(clientId, owner), connection: from.connection }
  const may = createAuthorizer(grounds, client)
  if (!may.mayConnect()) throw mayNotConnect(clientId, grounds)
  if (will && isTooDeep(will.topic, policy.limits.maxTopicLevels))
    throw createViolation(
      REASON.topicNameInvalid,
      `the will topic has more than ${policy.limits.maxTopicLevels} levels (mqtt.limits.maxTopicLevels)`,
    )
  if (will && (isReserved(will.topic) || !may.mayPublish(will.topic)))
    throw new MeshError('MESH_MQTT_NOT_AUTHORIZED', `client ${clientId} may not publish its will to ${will.topic}`)
  return {
    clientId,
    assigned: given === '',
    owner,
    proof,
    address: from.address,
    client,
    expirySec: expiryOf(connect, policy.limits),
    keepAliveSec: keepAliveOf(connect, policy.limits),
  }
}

type Offer = MqttPolicy['listener']
/** @throws MESH_MQTT_PROTOCOL: its listener does not offer that */
export function checkOffer({ version, is31, will }: Connect, { protocolVersions, ...offer }: Offer): void {
  const protocol = version === 5 ? '5.0' : is31 ? '3.1' : '3.1.1'
  if (protocolVersions?.includes(protocol) === false)
    throw createViolation(REASON.unsupportedVersion, `the listener does not take MQTT ${protocol} (protocolVersions)`)
  if (will) checkOfferedPublish(will, offer)
}
export function checkOfferedPublish(
  { qos, retain }: { readonly qos: Qos; readonly retain: boolean },
  { maxQos = 2, retainAvailable = true }: Offer,
): void {
  if (qos > maxQos)
    throw createViolation(
      REASON.qosNotSupported,
      `[MQTT-3.2.2-11], [MQTT-3.2.2-12] QoS ${qos} is above the maxQos ${maxQos} of the listener`,
    )
  if (retain && !retainAvailable)
    throw createViolation(
      REASON.retainNotSupported,
      '[MQTT-3.2.2-13], [MQTT-3.2.2-14] the listener takes no retained messages (retainAvailable)',
    )
}

/** @throws MESH_MQTT_PROTOCOL */
function checkClientId(
  { version, is31, isBridge, cleanStart, clientId: given }: Connect,
  { clientIdPrefixes: prefixes, allowZeroLengthClientIds = true }: Offer,
): void {
  if (given === '' && !allowZeroLengthClientIds)
    throw createViolation(
      REASON.clientIdNotValid,
      'the client id is empty, which the listener does not take (allowZeroLengthClientIds; MQTT 5.0 §3.1.3.1)',
    )
  if (given === '' && version === 4 && (is31 || !cleanStart))
    throw createViolation(REASON.clientIdNotValid, '[MQTT-3.1.3-8] (3.1.1) an empty client id needs clean session')
  // Names of bridges are longer, and mosquitto's take them as they are.
  if (is31 && !isBridge && given.length > MAX_CLIENT_ID_CHARS_31)
    throw createViolation(
      REASON.clientIdNotValid,
      `the client id is longer than ${MAX_CLIENT_ID_CHARS_31} characters (MQTT 3.1 §3.1)`,
    )
  if (given.length > MAX_CLIENT_ID_CHARS)
    throw createViolation(
      REASON.clientIdNotValid,
      `the client id is longer than ${MAX_CLIENT_ID_CHARS} characters (MQTT 5.0 §3.1.3.1)`,
    )
  if (given !== '' && prefixes?.some((prefix) => given.startsWith(prefix)) === false)
    throw createViolation(
      REASON.clientIdNotValid,
      `the client id begins with none of the clientIdPrefixes of the listener (MQTT 5.0 §3.1.3.1)`,
    )
}

export function mayNotConnect(clientId: string, { policy, acl }: PolicyGrounds): MeshError {
  if (acl === 'missing')
    return new MeshError(
      'MESH_MQTT_ACL_FILE',
      `${policy.aclFile} was never readable, so nobody connects (mqtt.aclFile)`,
    )
  return new MeshError('MESH_MQTT_NOT_AUTHORIZED', `client ${clientId} may not connect`)
}

function assignedId(prefix: string): string {
  let id = prefix
  for (let i = 0; i < ID_LENGTH; i++) id += ID_LETTERS[randomInt(ID_LETTERS.length)]
  return id
}

/** A 3.1.1 session without clean session has no end of its own; it gets the longest that is allowed. */
function expiryOf({ version, cleanStart, properties }: Connect, { maxSessionExpirySec }: Limits): number {
  const wanted = version === 5 ? (properties.sessionExpirySec ?? 0) : cleanStart ? 0 : NEVER_SEC
  return Math.min(wanted, maxSessionExpirySec)
}

/** 0 = off. Only MQTT 5 can be told another value than its own [MQTT-3.1.2-21]. */
function keepAliveOf({ version, keepAliveSec }: Connect, { maxKeepAliveSec }: Limits): number {
  if (version === 4 || maxKeepAliveSec === 65_535) return keepAliveSec
  return keepAliveSec === 0 ? maxKeepAliveSec : Math.min(keepAliveSec, maxKeepAliveSec)
}

/**
 * The session for an admitted client: an older connection of the id is ended, and what there was is gone from the disk
 * before CONNACK says that a session is new. Run in the client id's turn.
 * @throws MESH_MQTT_NOT_OWNER, MESH_MQTT_QUOTA, or what the store says, when it cannot delete
 */
export async function openSession(
  state: BrokerState,
  connect: Connect,
  { clientId, expirySec, owner, address }: Admitted,
  { limits, quota }: { readonly limits: Limits; readonly quota: Quota | undefined },
): Promise<{ readonly session: Session; readonly present: boolean }> {
  const old = state.sessions.get(clientId)
  const isForeign = old !== undefined && belongsToAnother(state, old, owner)
  if (old?.link) {
    state.counters.takeovers.value++
    state.takeovers.note(clientId)
    old.link.close(createTakenOverError(old))
  }
  const found = state.sessions.get(clientId)
  // A session whose expiry is 0 ended with its connection; only its deletion is still to come.
  if (found && found.expirySec > 0 && !connect.cleanStart && !isForeign) {
    changeShare(state, found, owner, address)
    const session = resumed(found, connect.version, expirySec, owner)
    await session.prepare()
    return { session, present: true }
  }
  if (found) await endSession(state, found)
  const share = nameShare(owner, address)
  const { maxSessions } = quota ?? {}
  if (maxSessions !== undefined && state.shares.count(share) >= maxSessions) state.quotas.countMet('sessions')
  state.shares.makeRoom(
    share,
    { ...limits, quota: maxSessions },
    (one) => state.clientLocks.has(one.clientId),
    (one, why) => giveWay(state, one, why),
  )
  const session = new Session({
    clientId,
    stored: expirySec > 0,
    version: connect.version,
    expirySec,
    owner,
    address,
    counters: state.counters,
  })
  // From now on, not when it is durable: many may be on their way at once.
  state.shares.enter(share)
  try {
    await forget(state, clientId)
  } catch (thrown) {
    state.shares.leave(share)
    throw thrown
  }
  state.sessions.set(clientId, session)
  return { session, present: false }
}

/**
 * A connection of its owner. The one that it takes the place of ends only afterwards, and is not counted twice.
 * @throws MESH_MQTT_QUOTA
 */
export function countConnection(
  { sessions, quotas }: BrokerState,
  { clientId, owner, address }: Admitted,
  quota: Quota | undefined,
): Lease {
  const share = nameShare(owner, address)
  const old = sessions.get(clientId)
  return quotas.connect(share, { quota, ending: old?.link && old.share === share ? 1 : 0 })
}

/** Moves the session to the share of its new owner. */
function changeShare({ shares, subscriptions }: BrokerState, session: Session, owner: Owner, address: string): void {
  shares.noteBack(session)
  const before = session.share
  shares.leave(before)
  session.address = address
  session.share = nameShare(owner, address)
  subscriptions.room.move(session, before)
  shares.enter(session.share)
  session.countAmong(shares.findQueued(session.share))
}

/**
 * Whether the session is another's and starts anew. One that nobody proved to own gives way to who proves something,
 * with its connection: whoever is first with a name could else keep its owner out. So does one without a connection
 * whose owner is known by a listener that is gone, or is a user of a node that has none any more, for it can never come
 * back. What has expired waits for its deletion
 * only.
 * @throws MESH_MQTT_NOT_OWNER where it does not give way
 */
function belongsToAnother(
  { authentication, counters, policiesOf }: BrokerState,
  session: Session,
  owner: Owner,
): boolean {
  const { owner: its, link, expirySec } = session
  if (!its || ownsWhatIs(its, owner)) return false
  if (its.kind === 'anonymous' && owner.kind !== 'anonymous') return true
  const isNobodys = isSameEverywhere(its)
    ? its.kind === 'user' && !authentication.hasUsers
    : policiesOf(its.listener).length === 0
  if (!link && (expirySec === 0 || isNobodys)) return true
  counters.foreignIds.value++
  throw new MeshError(
    'MESH_MQTT_NOT_OWNER',
    `the session of client id ${session.clientId} belongs to ${formatOwner(its)}, and this is ${formatOwner(owner)}`,
  )
}

function resumed(session: Session, version: Version, expirySec: number, owner: Owner): Session {
  session.expiry?.cancel()
  cancelWill(session)
  session.owner = owner
  session.grounds = undefined // so that it is authorized again
  session.version = version
  session.expirySec = expirySec
  return session
}

export function buildConnack(
  connect: Connect,
  present: boolean,
  { clientId, assigned, expirySec, keepAliveSec, proof }: Admitted,
  { limits, listener: offered }: Pick<Link, 'limits' | 'listener'>,
): Connack {
  // MQTT 3.1 reserves the bit (§3.2).
  if (connect.version === 4)
    return { type: 'connack', sessionPresent: present && !connect.is31, reason: 0, properties: NO_PROPERTIES }
  const properties: Properties = {
    ...(limits.receiveMaximum === 65_535 ? {} : { receiveMaximum: limits.receiveMaximum }),
    maximumPacketBytes: limits.maxPacketBytes,
    // 2 is what it means when it is absent.
    ...((offered.maxQos ?? 2) === 2 ? {} : { maximumQos: offered.maxQos }),
    ...(offered.retainAvailable === false ? { retainAvailable: 0 } : {}),
    ...(offered.subscriptionIdentifiers === false ? { subscriptionIdAvailable: 0 } : {}),
    ...(limits.maxTopicAliases === 0 ? {} : { topicAliasMaximum: limits.maxTopicAliases }),
    ...((connect.properties.sessionExpirySec ?? 0) === expirySec ? {} : { sessionExpirySec: expirySec }),
    ...(assigned ? { assignedClientId: clientId } : {}),
    ...(keepAliveSec === connect.keepAliveSec ? {} : { serverKeepAliveSec: keepAliveSec }),
    ...authenticationProperties(connect, proof),
  }
  return { type: 'connack', sessionPresent: present, reason: 0, properties }
}

/** [MQTT-4.12.0-5] */
function authenticationProperties({ properties }: Connect, { serverData }: Proof): Properties {
  const { authenticationMethod } = properties
  if (authenticationMethod === undefined) return NO_PROPERTIES
  return { authenticationMethod, ...(serverData && { authenticationData: serverData }) }
}
