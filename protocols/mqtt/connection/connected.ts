/** A client between its CONNACK and its end: what its packets do, and what becomes of its session and its will. */
import { MeshError } from '../../../core/errors.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Connection } from '../../connection.ts'
import type { Connect, Disconnect, Packet, Publish, Subscribe, Unsubscribe, Will } from '../codec/packet.ts'
import { toOwnMemory } from '../codec/parser.ts'
import { toDisconnectReason, REASON, createViolation } from '../codec/reason.ts'
import type { Counters } from '../counters.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { tellDisconnected } from '../operations/connection-events.ts'
import { type ConnectionFacts, collectConnectionFacts } from '../session/connection-facts.ts'
import { reauthorize } from '../session/reauthorize.ts'
import type { Session } from '../session/session.ts'
import { denyWill, detachSession, leaveWill } from '../session/sessions.ts'
import { type Answer, type Asking, subscribe, unsubscribe } from '../session/subscribe.ts'
import type { BrokerState } from '../state.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import { addPrefixToSubscribe, addPrefixToUnsubscribe } from '../topics/topic-prefix.ts'
import { type Admitted, checkOfferedPublish, mayNotConnect } from './connect.ts'
import { Controls, type ControlsOwner } from './controls.ts'
import type { Reading } from '../pauses.ts'
import { Inflow } from './inflow.ts'
import type { Link } from './link.ts'
import { callAtWallTime } from '../../../core/os/wall-time.ts'
import { RateLimit } from './rate-limit.ts'
import { Reauthentication } from './reauthentication.ts'
import type { Rules } from './rules.ts'

/** PINGREQs that wait for their answer before the client is not read from. */
const MAX_WAITING_PINGS = 16

export type ConnectedParts = {
  readonly state: BrokerState
  readonly conn: Connection
  readonly connect: Connect
  readonly session: Session
  /** The session was there before this connection. */
  readonly isResumed: boolean
  readonly link: Link
  readonly admitted: Admitted
  readonly rules: Rules
  /** To be given back when the connection is over. */
  readonly held: Disposable
  readonly client: ConnectedClient
}
interface ConnectedClient extends Reading {
  /** DISCONNECT has come. */
  disconnected(how: 'normal' | 'lost'): void
}

export class Connected implements Asking, ControlsOwner {
  readonly link: Link
  readonly session: Session
  readonly reading: ConnectedClient
  readonly #state: BrokerState
  readonly #conn: Connection
  readonly #rules: Rules
  readonly #admitted: Admitted
  readonly #isResumed: boolean
  /** To be given back when the connection is over. */
  readonly #held: Disposable
  /** By which its CONNECT proved the user. */
  readonly #method: string | undefined
  /** Its listener does not offer everything. */
  readonly #isRestricted: boolean
  readonly #counters: Counters
  /** Many clients only receive: undefined before the first PUBLISH or PUBREL. */
  #inflow: Inflow | undefined
  /** Undefined before the first SUBSCRIBE or UNSUBSCRIBE. */
  #controls: Controls | undefined
  /** As above. */
  #rate: RateLimit | undefined
  readonly #will: Will | undefined
  readonly #willBytes: number
  /** Undefined before the first AUTH. */
  #reauthentication: Reauthentication | undefined
  /** Of what the user was proved by. */
  readonly #expiry: Disposable | undefined
  readonly #facts: ConnectionFacts
  #pings = 0

  constructor(p: ConnectedParts) {
    const { state, session, link, connect } = p
    this.session = session
    this.reading = p.client
    this.#state = state
    this.#conn = p.conn
    this.#rules = p.rules
    this.#admitted = p.admitted
    this.#isResumed = p.isResumed
    const { maxQos = 2, retainAvailable = true } = link.listener
    this.#isRestricted = maxQos < 2 || !retainAvailable
    this.#held = p.held
    this.#method = connect.properties.authenticationMethod
    this.#counters = state.counters
    this.link = link
    this.#facts = collectConnectionFacts(p.conn, connect, state.ctx.clock.monotonicMs())
    this.#will = connect.will && compactWill(connect.will)
    this.#willBytes = this.#will
      ? this.#will.topic.length + this.#will.payload.length + this.#will.properties.length
      : 0
    state.memory.budget.take(this.#willBytes)
    const { expiresAtMs } = p.admitted.proof
    this.#expiry =
      expiresAtMs === undefined ? undefined : callAtWallTime(state.ctx.clock, expiresAtMs, () => this.reauthorize())
  }

  get limits(): MqttPolicy['limits'] {
    return this.link.limits
  }
  /** By the rules of this moment. */
  authorizer(): Authorizer {
    return this.#rules.findAuthorizer(this.#admitted)
  }
  act(packet: Subscribe | Unsubscribe): Answer | Promise<Answer> {
    const room = this.#inflow?.waitForRoom()
    return room ? room.then(() => this.#act(packet)) : this.#act(packet)
  }
  #act(packet: Subscribe | Unsubscribe): Answer | Promise<Answer> {
    const { topicPrefix } = this.link.listener
    return packet.type === 'subscribe'
      ? subscribe(this.#state, addPrefixToSubscribe(packet, topicPrefix), this)
      : unsubscribe(this.#state, addPrefixToUnsubscribe(packet, topicPrefix), this)
  }

  /** @throws MESH_MQTT_PROTOCOL, MESH_MQTT_NOT_AUTHORIZED: the connection is to be closed */
  take(packet: Packet): void {
    const { flow } = this.session
    const received = this.#counters.controlsReceived
    switch (packet.type) {
      case 'publish':
        this.#publish(packet)
        return
      case 'puback':
        received.puback.value++
        flow?.puback(packet.packetId)
        return
      case 'pubrec':
        received.pubrec.value++
        this.session.startFlow()?.pubrec(packet.packetId, packet.reason)
        return
      case 'pubrel':
        received.pubrel.value++
        ;(this.#inflow ?? this.#startInflow()).pubrel(packet.packetId)
        return
      case 'pubcomp':
        received.pubcomp.value++
        flow?.pubcomp(packet.packetId)
        return
      case 'subscribe':
        this.#checkSubscriptionIds(packet)
        received.subscribe.value++
        this.#startControls().take(packet)
        return
      case 'unsubscribe':
        received.unsubscribe.value++
        this.#startControls().take(packet)
        return
      case 'pingreq':
        received.pingreq.value++
        this.#ping()
        return
      case 'disconnect':
        received.disconnect.value++
        this.#disconnect(packet)
        return
      case 'connect':
      case 'unsupported-connect':
        throw createViolation(REASON.protocolError, '[MQTT-3.1.0-2] a second CONNECT')
      case 'auth':
        this.#startReauthentication().take(packet)
        return
      case 'connack':
      case 'suback':
      case 'unsuback':
      case 'pingresp':
        throw createViolation(REASON.protocolError, `a client sent ${packet.type.toUpperCase()} (MQTT 5.0 §2.1.2)`)
      default:
        packet satisfies never
    }
  }

  #publish(packet: Publish): void {
    const { topic, payload, properties } = packet
    if (this.#isRestricted) checkOfferedPublish(packet, this.link.listener)
    this.#counters.bytesReceived.payload.value += payload.length
    const rate = this.#rate ?? this.#startRate()
    const tooMuch = rate.charge(topic.length + payload.length + properties.length)
    ;(this.#inflow ?? this.#startInflow()).publish(packet, tooMuch)
  }

  #startControls(): Controls {
    return (this.#controls ??= new Controls(this))
  }
  #startRate(): RateLimit {
    const { share, clientId } = this.session
    const quota = (): ReturnType<Rules['findQuota']> => this.#rules.findQuota(this.#admitted)
    return (this.#rate = new RateLimit({ state: this.#state, share, clientId, quota, reading: this.reading }))
  }
  #startInflow(): Inflow {
    return (this.#inflow = new Inflow({
      state: this.#state,
      session: this.session,
      link: this.link,
      reading: this.reading,
      authorizer: () => this.authorizer(),
      isResumed: this.#isResumed,
    }))
  }
  #startReauthentication(): Reauthentication {
    return (this.#reauthentication ??= new Reauthentication({
      state: this.#state,
      conn: this.#conn,
      method: this.#method,
      link: this.link,
      rules: this.#rules,
      admitted: this.#admitted,
    }))
  }

  /** The socket has room again. */
  resume(): void {
    this.link.outbox.recount()
    this.link.drained()
    this.session.flow?.pump()
  }

  /** The rules or the users may have changed: what they do not allow any more ends now. */
  reauthorize(): void {
    const state = this.#state
    const rules = this.#rules
    const admitted = this.#admitted
    const { proof } = this.#reauthentication ?? admitted
    const ended = state.authentication.findRefusal(proof, rules.grounds.policy.listener)
    if (ended) {
      this.link.close(ended)
      return
    }
    const { grounds } = rules
    if (this.session.grounds === grounds) return
    const may = rules.findAuthorizer(admitted)
    this.session.grounds = grounds
    this.session.connection = grounds.policy.meshPolicies && admitted.client.connection?.()
    if (may.mayConnect()) reauthorize(state, this.session, { may, quota: rules.findQuota(admitted) })
    else this.link.close(mayNotConnect(this.session.clientId, grounds))
  }

  #checkSubscriptionIds({ properties }: Subscribe): void {
    if (this.link.listener.subscriptionIdentifiers !== false || properties.subscriptionIds === undefined) return
    throw createViolation(
      REASON.subscriptionIdsNotSupported,
      'a SUBSCRIBE with an identifier, which the listener does not take (MQTT 5.0 §3.2.2.3.12)',
    )
  }

  /** A last word to the client, as far as its version can be told. */
  sayGoodbye(err: MeshError): void {
    if (this.link.version === 5 && !this.link.isUnanswered)
      this.link.outbox.writePacket({ type: 'disconnect', reason: toDisconnectReason(err), properties: NO_PROPERTIES })
    this.link.outbox.flush()
  }

  /** The connection is over. */
  end(how: 'normal' | 'lost', told: Parameters<typeof tellDisconnected>[3]): void {
    const state = this.#state
    tellDisconnected(state, this.session, this.#facts, told)
    this.link.outbox.flush()
    this.#inflow?.end()
    this.#rate?.[Symbol.dispose]()
    this.#held[Symbol.dispose]()
    this.link.end()
    this.#expiry?.[Symbol.dispose]()
    this.#reauthentication?.end()
    state.memory.budget.give(this.#willBytes)
    if (this.session.link !== this.link) return
    if (how === 'lost' && this.#will) this.#leaveWill(this.#will)
    detachSession(state, this.session)
  }

  /** As it is shown. */
  get facts(): ConnectionFacts {
    return this.#facts
  }
  get heldBytes(): number {
    const { link } = this
    return (
      this.#willBytes +
      link.waitingBytes +
      link.aliasBytes +
      link.outbox.countedBytes +
      (this.#inflow?.heldBytes ?? 0) +
      this.session.waitingBytes
    )
  }

  /** Answered behind all that came before: clients take PINGRESP as a sign that it is done. */
  #ping(): void {
    if ((this.#controls?.isAnswered ?? true) && (this.#inflow?.isAnswered ?? true)) {
      this.link.outbox.pingresp()
      return
    }
    const { reading } = this
    if (++this.#pings >= MAX_WAITING_PINGS) reading.hold('pings')
    const answer = (): void => {
      this.link.outbox.pingresp()
      if (--this.#pings < MAX_WAITING_PINGS && reading.release('pings')) reading.takePackets()
    }
    this.#startControls().callWhenAnswered(() => {
      if (this.#inflow) this.#inflow.callWhenAnswered(answer)
      else answer()
    })
  }

  #disconnect({ reason, properties }: Disconnect): void {
    const { sessionExpirySec } = properties
    const { session } = this
    if (sessionExpirySec !== undefined) {
      if (sessionExpirySec > 0 && session.expirySec === 0)
        throw createViolation(
          REASON.protocolError,
          'a session without expiry cannot get one in DISCONNECT (MQTT 5.0 §3.14.2.2.2)',
        )
      session.expirySec = Math.min(sessionExpirySec, this.link.limits.maxSessionExpirySec)
    }
    this.reading.disconnected(reason === REASON.success ? 'normal' : 'lost')
  }

  /** Of somebody whom the listener does not let in any more (downstream/revalidate.ts) nothing is published either. */
  #leaveWill(will: Will): void {
    const state = this.#state
    const may = this.authorizer()
    if (!isShutOut(this.#conn) && may.mayConnect() && may.mayPublish(will.topic)) leaveWill(state, this.session, will)
    else denyWill(state, this.session.clientId, will.topic)
  }
}

/** Without a hold on the chunk that it came in: it stays as long as the connection. */
function compactWill(will: Will): Will {
  return { ...will, payload: toOwnMemory(will.payload), properties: toOwnMemory(will.properties) }
}

function isShutOut({ draining, aborted }: Connection): boolean {
  const reason: unknown = aborted.aborted ? aborted.reason : draining.reason
  return (
    reason instanceof MeshError && (reason.code === 'MESH_PEER_NOT_ALLOWED' || reason.code === 'MESH_NO_FILTER_CHAIN')
  )
}
