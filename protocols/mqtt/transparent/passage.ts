/** A client that its broker has accepted, until the end: both directions and what they share. */
import type { MeshError } from '../../../core/errors.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Connection, Outcome } from '../../connection.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import { encode } from '../codec/encode.ts'
import type { Connack, Connect } from '../codec/packet.ts'
import { REASON } from '../codec/reason.ts'
import type { Admitted } from '../connection/connect.ts'
import { KeepAlive } from '../connection/keep-alive.ts'
import { RateLimit } from '../connection/rate-limit.ts'
import { Reauthentication } from '../connection/reauthentication.ts'
import type { Rules } from '../connection/rules.ts'
import { tellDisconnected } from '../operations/connection-events.ts'
import { collectConnectionFacts, type ConnectionFacts } from '../session/connection-facts.ts'
import { nameShare } from '../session/owner.ts'
import { NEVER_SEC } from '../session/session.ts'
import type { BrokerState } from '../state.ts'
import type { Proof } from '../users/authentication.ts'
import { PassingAliases } from './aliases.ts'
import { FromBroker } from './from-broker.ts'
import { FromClient } from './from-client.ts'
import type { Side } from './side.ts'
import { Subscribing } from './subscribing.ts'
import type { Way } from './way.ts'

export type PassageParts = {
  readonly state: BrokerState
  readonly conn: Connection
  readonly policy: MqttPolicy
  readonly connect: Connect
  /** As the client got it. */
  readonly connack: Connack
  readonly admitted: Admitted
  readonly rules: Rules
  readonly isProvedHere: boolean
  readonly side: Side
  readonly brokerSide: Side
  readonly toClient: Way
  readonly toBroker: Way
  readonly close: (err: MeshError) => void
  readonly onDisconnect: (said: 'normal' | 'with-will') => void
  readonly onBrokerDisconnect: (reason: number) => void
}

export class Passage {
  readonly fromClient: FromClient
  readonly fromBroker: FromBroker
  readonly #p: PassageParts
  readonly #facts: ConnectionFacts
  readonly #keepAlive: KeepAlive
  readonly #rate: RateLimit
  readonly #reauthentication: Reauthentication
  readonly #received: PassingAliases
  readonly #sent: PassingAliases
  readonly #entry: Disposable

  constructor(p: PassageParts) {
    this.#p = p
    const { state, conn, policy, connect, connack, admitted, rules, side } = p
    const { budget } = state.memory
    const { version } = connect
    const { maxTopicAliases, maxSubscriptionsPerSession } = policy.limits
    this.#facts = collectConnectionFacts(conn, connect, state.ctx.clock.monotonicMs())
    this.#keepAlive = new KeepAlive(
      state.ctx.clock,
      connack.properties.serverKeepAliveSec ?? admitted.keepAliveSec,
      this,
    )
    this.#received = new PassingAliases(connack.properties.topicAliasMaximum ?? 0, budget)
    this.#sent = new PassingAliases(Math.min(connect.properties.topicAliasMaximum ?? 0, maxTopicAliases), budget)
    this.#rate = new RateLimit({
      state,
      share: nameShare(admitted.owner, admitted.address),
      clientId: admitted.clientId,
      quota: () => rules.findQuota(admitted),
      // A release takes packets by itself.
      reading: { hold: (why) => side.hold(why), release: (why) => side.release(why), takePackets: () => undefined },
    })
    const reauthentication = this.#makeReauthentication()
    this.#reauthentication = reauthentication
    const shared = {
      ...p,
      version,
      clientId: admitted.clientId,
      authorizer: (): Authorizer => rules.findAuthorizer(admitted),
      subscribing: new Subscribing(version, maxSubscriptionsPerSession),
    }
    this.fromClient = new FromClient({
      ...shared,
      limits: policy.limits,
      acknowledgesDenied: policy.deniedPublishes === 'acknowledge',
      aliases: this.#received,
      rate: this.#rate,
      reauthenticate: p.isProvedHere ? (packet) => reauthentication.take(packet) : undefined,
      onDisconnect: ({ reason }) => p.onDisconnect(reason === REASON.success ? 'normal' : 'with-will'),
    })
    this.fromBroker = new FromBroker({
      ...shared,
      aliases: this.#sent,
      onDisconnect: ({ reason }) => p.onBrokerDisconnect(reason),
    })
    this.#entry = this.#enter()
    state.counters.connects.value++
    this.#tellConnected()
  }
  // As Listened.
  get isHeld(): boolean {
    return this.#p.side.isHeld
  }
  close(err: MeshError): void {
    this.#p.close(err)
  }

  #makeReauthentication(): Reauthentication {
    const { toClient, close, connect } = this.#p
    const send = (packet: Parameters<typeof encode>[0]): void => {
      toClient.add(encode(packet, 5))
      toClient.flush()
    }
    const method = connect.properties.authenticationMethod
    return new Reauthentication({ ...this.#p, method, link: { outbox: { writePacket: send }, close } })
  }

  #enter(): Disposable {
    const { state, admitted, conn, connect, connack, close } = this.#p
    const { clientId, owner } = admitted
    const { sessionExpirySec = connect.properties.sessionExpirySec ?? 0 } = connack.properties
    // MQTT 3.1.1 has sessions that end with the connection, and others that do not.
    const isKept = connect.version !== 5 && !connect.cleanStart
    return state.proxied.enter({
      clientId,
      owner,
      cluster: conn.cluster,
      facts: this.#facts,
      sessionExpirySec: isKept ? NEVER_SEC : sessionExpirySec,
      close,
    })
  }

  /** The newest. */
  get proof(): Proof {
    return this.#reauthentication.proof
  }
  get heldBytes(): number {
    return this.#received.heldBytes + this.#sent.heldBytes
  }
  noteHeard(): void {
    this.#keepAlive.noteHeard()
  }
  end(told: { readonly outcome: Outcome; readonly said: 'nothing' | 'normal' | 'with-will' }): void {
    const { state, admitted } = this.#p
    this.#entry[Symbol.dispose]()
    this.#keepAlive.stop()
    this.#rate[Symbol.dispose]()
    this.#reauthentication.end()
    this.#received.end()
    this.#sent.end()
    tellDisconnected(state, admitted, this.#facts, told)
  }

  #tellConnected(): void {
    const { state, conn, admitted, connack, connect } = this.#p
    const { address, listener, protocol } = this.#facts
    state.ctx.log.info(
      {
        evt: 'mqtt.proxied',
        conn: conn.id,
        clientId: admitted.clientId,
        address,
        listener,
        protocol,
        cluster: conn.cluster,
        cleanStart: connect.cleanStart,
        sessionPresent: connack.sessionPresent,
      },
      'client connected to its broker',
    )
  }
}
