/**
 * One client of a listener of mode `transparent`, read downward: wait for CONNECT, prove who it is, open its own
 * connection to the broker, wait for CONNACK, pass packets both ways, end. The session is the broker's; policies are
 * asked here (from-client.ts, from-broker.ts). Ending is one place for all causes.
 */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import { takeLease } from '../../../core/lease.ts'
import { callAtWallTime } from '../../../core/os/wall-time.ts'
import type { MqttProxy } from '../../../model/listener.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { collectFacts } from '../../authz.ts'
import { type Connection, ENDED, type Outcome } from '../../connection.ts'
import { findRefusal } from '../../tls/client.ts'
import type { Seat } from '../connection/doorstep.ts'
import type { UpstreamStream } from '../../upstream-api.ts'
import { encode } from '../codec/encode.ts'
import type { Connack, Connect, Packet, Version } from '../codec/packet.ts'
import { PacketParser } from '../codec/parser.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { createViolation, REASON, toReason } from '../codec/reason.ts'
import { encodeFarewell, encodeRefusal } from '../codec/refusal.ts'
import { admit, type Admitted, answerVersion, mayNotConnect } from '../connection/connect.ts'
import { Connecting } from '../connection/connecting.ts'
import { Rules } from '../connection/rules.ts'
import type { Holder } from '../memory.ts'
import { tellRefused } from '../operations/connection-events.ts'
import type { BrokerState } from '../state.ts'
import type { Proof } from '../users/authentication.ts'
import { type Asked, encodeConnack, rewriteConnect, type Known, rewriteConnack } from './connect.ts'
import { asUpstream, explainClientEnd, finish, listenToSignals } from '../ending.ts'
import { Passage } from './passage.ts'
import type { Proxying } from './proxying.ts'
import { Side } from './side.ts'
import { Way } from './way.ts'

export type ProxiedClientParts = {
  readonly state: BrokerState
  readonly conn: Connection
  readonly stream: Duplex
  readonly policy: MqttPolicy
  readonly proxy: MqttProxy
  readonly proxying: Proxying
  readonly seat: Seat
}
/** The connection to the broker. */
type Broker = { readonly upstream: UpstreamStream; readonly side: Side; readonly way: Way }

export class ProxiedClient implements Holder {
  readonly #p: ProxiedClientParts
  readonly #rules: Rules
  readonly #parser: PacketParser
  readonly #side: Side
  readonly #way: Way
  readonly #ended = Promise.withResolvers<Outcome>()
  readonly #gone = new AbortController()
  readonly #held = new DisposableStack()
  #version: Version = 4
  #deadline: Timer | undefined
  #at: 'awaiting-connect' | 'connecting' | 'connected' | 'closed' = 'awaiting-connect'
  #asked: Asked | undefined
  #admitted: Admitted | undefined
  #broker: Broker | undefined
  #passage: Passage | undefined

  constructor(p: ProxiedClientParts) {
    this.#p = p
    const { state, conn, stream, policy } = p
    this.#rules = new Rules(conn, policy, state.grounds)
    const { maxPacketBytes, maxConnectBytes } = policy.limits
    this.#parser = new PacketParser({
      maxPacketBytes: Math.min(maxPacketBytes, maxConnectBytes),
      limit: 'mqtt.limits.maxConnectBytes',
      side: 'server',
    })
    this.#way = this.#wayTo(stream, (bytes) => {
      conn.sentBytes += bytes
      state.counters.bytesSent.all.value += bytes
    })
    this.#side = new Side({
      stream,
      parser: this.#parser,
      clock: state.ctx.clock,
      budget: state.memory.budget,
      onBytes: (bytes) => {
        conn.receivedBytes += bytes
        state.counters.bytesReceived.all.value += bytes
        this.#passage?.noteHeard()
      },
      take: (packet, bytes) => this.#take(packet, bytes),
      onTaken: () => this.#flush(this.#side),
      onError: (err) => this.close(err),
      onEnd: (cause) => this.#end({ error: explainClientEnd(cause) }),
    })
  }

  /** Resolves when the connection is over; never rejects. */
  async run(): Promise<Outcome> {
    const { state, policy, conn, stream } = this.#p
    this.#deadline = state.ctx.clock.after(policy.limits.connectTimeoutMs, () =>
      this.close(
        this.#at === 'awaiting-connect'
          ? new MeshError('MESH_REQUEST_TIMEOUT', 'no CONNECT within mqtt.limits.connectTimeoutMs')
          : new MeshError('MESH_UPSTREAM_TIMEOUT', 'no CONNACK of the broker within mqtt.limits.connectTimeoutMs'),
      ),
    )
    this.#held.use(
      listenToSignals(conn, {
        onAborted: () => {
          this.#end(ENDED)
          stream.destroy()
        },
        onDraining: (err) => this.close(err),
        onDefect: (err) => this.cutOff(err),
      }),
    )
    stream.resume()
    using _ = this.#p.seat
    return await this.#ended.promise
  }

  #take(packet: Packet, bytes: Buffer): void {
    if (this.#at === 'awaiting-connect') this.#takeFirst(packet, bytes)
    else if (this.#at === 'connecting') this.#takeConnecting(packet, bytes)
    else this.#passage?.fromClient.take(packet, bytes)
  }
  #takeFirst(packet: Packet, bytes: Buffer): void {
    if (packet.type === 'unsupported-connect') {
      this.#version = answerVersion(packet.level)
      throw createViolation(REASON.unsupportedVersion, `[MQTT-3.1.2-2] protocol level ${packet.level} is not supported`)
    }
    if (packet.type !== 'connect')
      throw createViolation(REASON.protocolError, '[MQTT-3.1.0-1] the first packet is not CONNECT')
    const { state, seat } = this.#p
    this.#version = packet.version
    state.counters.controlsReceived.connect.value++
    seat.noteConnect()
    this.#at = 'connecting'
    this.#side.hold('connecting')
    // What waits for the broker may not hold a chunk of the network.
    const asked = this.#ask(packet, Buffer.from(bytes))
    this.#asked = asked
    state.memory.budget.take(asked.bytes.length)
    detach(
      'mqtt',
      this.#connect(asked).catch((err: unknown) => this.close(toMeshError(err))),
      (error) => this.cutOff(error),
    )
  }
  #ask(connect: Connect, bytes: Buffer): Asked {
    const { state, conn } = this.#p
    const connecting = new Connecting({
      state,
      conn,
      rules: this.#rules,
      send: (packet) => {
        this.#way.add(encode(packet, this.#version))
        this.#way.flush()
      },
      onWait: () => {
        this.#side.release('connecting')
      },
    })
    const isEnhanced = !this.#isProvedHere && connect.properties.authenticationMethod !== undefined
    return { connect, connecting, bytes, isEnhanced }
  }

  /** This node has users; without any the broker alone knows them. */
  get #isProvedHere(): boolean {
    return this.#p.state.authentication.hasUsers
  }

  async #connect({ connect, connecting, isEnhanced }: Asked): Promise<void> {
    const { state, conn, proxy, proxying } = this.#p
    // A method that only the broker knows proves nobody here.
    const proof = await connecting.prove(isEnhanced ? { ...connect, properties: NO_PROPERTIES } : connect)
    if (this.#at !== 'connecting') return
    const admitted = admit(state, connect, this.#rules.grounds, {
      peer: conn.tls?.peer,
      proof,
      listener: conn.listener.name,
      address: conn.remote.host,
      connection: () => collectFacts(conn),
    })
    this.#admitted = admitted
    conn.cluster = proxy.cluster
    const quota = this.#rules.findQuota(admitted)
    this.#held.use(state.proxied.countConnection(state.quotas, { ...admitted, cluster: proxy.cluster }, quota))
    let upstream: UpstreamStream
    try {
      upstream = await proxying.connect(proxy, conn, {
        signal: this.#gone.signal,
        onEnding: (reason) => this.close(reason),
      })
    } catch (thrown) {
      if (this.#isAt('connecting')) proxying.unavailable.value++
      throw thrown
    }
    if (!this.#isAt('connecting')) {
      upstream.stream.destroy()
      upstream.release('ok')
      return
    }
    this.#broker = this.#listenTo(upstream)
    // The rules and the users may have changed meanwhile, too.
    const refused = this.#refusal(proof, admitted)
    if (refused) throw refused
    this.#sendConnect(this.#broker, admitted)
  }
  #isAt(at: 'connecting' | 'closed'): boolean {
    return this.#at === at
  }
  #refusal(proof: Proof, admitted: Admitted): MeshError | undefined {
    const ended = this.#p.state.authentication.findRefusal(proof, this.#rules.grounds.policy.listener)
    if (ended) return ended
    return this.#rules.findAuthorizer(admitted).mayConnect()
      ? undefined
      : mayNotConnect(admitted.clientId, this.#rules.grounds)
  }
  #sendConnect(broker: Broker, admitted: Admitted): void {
    const asked = this.#asked
    if (!asked) return
    const forwarded = rewriteConnect(asked.connect, this.#known(admitted))
    broker.way.add(forwarded === asked.connect ? asked.bytes : encode(forwarded, forwarded.version))
    broker.way.flush()
  }
  #known(admitted: Admitted): Known {
    const { policy, proxy } = this.#p
    return { limits: policy.limits, admitted, isProvedHere: this.#isProvedHere && !proxy.forwardCredentials }
  }

  #listenTo(upstream: UpstreamStream): Broker {
    const { state, policy } = this.#p
    const { stream } = upstream
    const side = new Side({
      stream,
      parser: new PacketParser({
        maxPacketBytes: policy.limits.maxPacketBytes,
        side: 'client',
        version: this.#version,
      }),
      clock: state.ctx.clock,
      budget: state.memory.budget,
      onBytes: () => undefined,
      take: (packet, bytes) => this.#takeFromBroker(packet, bytes),
      onTaken: () => this.#flush(side),
      onError: (err) => this.#brokerGone(asUpstream(err)),
      onEnd: (cause) => {
        upstream.release(cause ? 'failed' : 'ok')
        this.#brokerGone(
          findRefusal(stream) ?? new MeshError('MESH_UPSTREAM_RESET', 'the broker closed the connection', { cause }),
        )
      },
    })
    stream.resume()
    return { upstream, side, way: this.#wayTo(stream, () => undefined) }
  }
  #wayTo(stream: Duplex, onBytes: (bytes: number) => void): Way {
    const { conn, proxying } = this.#p
    return new Way({
      stream,
      maxBufferBytes: proxying.maxBufferBytes,
      waiting: proxying.waiting,
      holder: { client: conn.remote.host, giveUp: (error) => this.cutOff(error) },
      onBytes,
      onRoom: () => {
        const [own, other] =
          stream === this.#p.stream ? [this.#side, this.#broker?.side] : [this.#broker?.side, this.#side]
        own?.release('answers')
        other?.release('far')
      },
    })
  }
  /** What packets of `from` have become. A side whose words wait, there or as answers here, is not read from. */
  #flush(from: Side): void {
    const broker = this.#broker
    const isClients = from === this.#side
    if (this.#way.flush()) from.hold(isClients ? 'answers' : 'far')
    if (broker?.way.flush()) from.hold(isClients ? 'far' : 'answers')
  }

  #takeConnecting(packet: Packet, bytes: Buffer): void {
    this.#side.hold('connecting')
    const asked = this.#asked
    if (packet.type === 'disconnect') this.#end(ENDED)
    else if (!this.#broker || !asked?.isEnhanced) asked?.connecting.take(packet)
    else if (packet.type === 'auth') this.#broker.way.add(bytes)
    else
      throw createViolation(
        REASON.protocolError,
        `${packet.type.toUpperCase()} in the middle of authentication [MQTT-4.12.0-3]`,
      )
  }
  #takeFromBroker(packet: Packet, bytes: Buffer): void {
    if (this.#at === 'connected') this.#passage?.fromBroker.take(packet, bytes)
    else if (packet.type === 'connack') this.#onConnack(packet, bytes)
    else if (packet.type === 'auth' && this.#asked?.isEnhanced) {
      this.#way.add(bytes)
      this.#side.release('connecting')
    } else throw new MeshError('MESH_UPSTREAM_PROTOCOL', `${packet.type.toUpperCase()} before CONNACK [MQTT-3.2.0-1]`)
  }

  #onConnack(packet: Connack, bytes: Buffer): void {
    const [asked, admitted, broker] = [this.#asked, this.#admitted, this.#broker]
    if (!asked || !admitted || !broker) return
    const { state, conn } = this.#p
    if (packet.reason !== 0) {
      const code = `0x${packet.reason.toString(16).padStart(2, '0')}`
      const err = new MeshError('MESH_MQTT_UPSTREAM_REFUSED', `the broker answered CONNACK with code ${code}`)
      state.counters.refusedConnects.value++
      tellRefused(state, conn, asked.connect, err)
      this.#way.add(bytes)
      this.#end({ error: err })
      return
    }
    const ended = this.#refusal(admitted.proof, admitted)
    if (ended) return this.close(ended)
    const returned = rewriteConnack(packet, asked.connect, this.#known(admitted))
    this.#way.add(returned === packet ? bytes : encodeConnack(returned, asked.connect))
    this.#deadline?.cancel()
    this.#forgetAsked()
    this.#parser.allow(this.#p.policy.limits.maxPacketBytes, 'mqtt.limits.maxPacketBytes')
    this.#at = 'connected'
    this.#passage = this.#pass(asked.connect, returned, { admitted, broker })
    const { expiresAtMs } = admitted.proof
    if (expiresAtMs !== undefined)
      this.#held.use(callAtWallTime(state.ctx.clock, expiresAtMs, () => this.reauthorize()))
    // After CONNACK in the way to the client.
    this.#way.flush()
    this.#side.release('connecting')
  }
  #pass(
    connect: Connect,
    connack: Connack,
    { admitted, broker }: { readonly admitted: Admitted; readonly broker: Broker },
  ): Passage {
    const { proxying } = this.#p
    this.#held.use(takeLease(proxying.connections))
    return new Passage({
      ...this.#p,
      connect,
      connack,
      admitted,
      rules: this.#rules,
      isProvedHere: this.#isProvedHere,
      side: this.#side,
      brokerSide: broker.side,
      toClient: this.#way,
      toBroker: broker.way,
      close: (err) => this.close(err),
      onDisconnect: (said) => this.#end(ENDED, said),
      onBrokerDisconnect: (reason) =>
        this.#brokerGone(
          new MeshError('MESH_UPSTREAM_RESET', `the broker disconnected with reason code 0x${reason.toString(16)}`),
        ),
    })
  }

  /** The rules may have changed: what they do not allow any more ends now. */
  reauthorize(): void {
    const admitted = this.#admitted
    if (this.#at !== 'connected' || !admitted || !this.#passage) return
    const refused = this.#refusal(this.#passage.proof, admitted)
    if (refused) this.close(refused)
  }

  /** Ends the connection from our side, telling the client why as far as its version can be told. */
  close(err: MeshError): void {
    if (this.#at === 'closed') return
    if (this.#at !== 'connected') this.#refuse(err)
    else if (this.#version === 5) this.#way.add(encodeFarewell(err))
    this.#end({ error: err })
  }
  /** A connected client sees what the broker has done, and nothing of ours: it is the broker's word that is missing. */
  #brokerGone(err: MeshError): void {
    if (this.#at === 'connected') this.#end({ error: err })
    else this.close(err)
  }
  /** CONNACK with the reason; nothing to somebody who never sent a CONNECT (§4.13, [MQTT-3.1.4-1]). */
  #refuse(err: MeshError): void {
    const { state, conn } = this.#p
    state.counters.refusedConnects.value++
    tellRefused(state, conn, this.#asked?.connect, err)
    if (this.#at !== 'connecting' && toReason(err) !== REASON.unsupportedVersion) return
    const refusal = encodeRefusal(err, this.#version)
    if (refusal) this.#way.add(refusal)
  }

  // As the memory budget sees it (memory.ts).

  get isAwaitingConnect(): boolean {
    return this.#at === 'awaiting-connect'
  }
  get waitingBytes(): number {
    return 0
  }
  get heldBytes(): number {
    const asked = this.#asked?.bytes.length ?? 0
    return this.#side.heldBytes + (this.#broker?.side.heldBytes ?? 0) + (this.#passage?.heldBytes ?? 0) + asked
  }
  /** What waits in sockets is counted by Waiting. */
  recount(): void {
    /* nothing of it is counted here */
  }
  dropWaiting(): number {
    return 0
  }
  cutOff(err: MeshError): void {
    this.close(err)
    this.#p.stream.destroy()
    this.#broker?.upstream.stream.destroy()
  }

  #forgetAsked(): void {
    this.#asked?.connecting.end()
    this.#p.state.memory.budget.give(this.#asked?.bytes.length ?? 0)
    this.#asked = undefined
  }
  #end(outcome: Outcome, said: 'nothing' | 'normal' | 'with-will' = 'nothing'): void {
    if (this.#at === 'closed') return
    this.#at = 'closed'
    this.#deadline?.cancel()
    this.#forgetAsked()
    this.#gone.abort(outcome.error ?? new MeshError('MESH_CLIENT_GONE', 'the client left'))
    this.#passage?.end({ outcome, said })
    this.#held.dispose()
    this.#side.end()
    this.#way.flush()
    this.#endBroker()
    finish(this.#p.stream, this.#p.state.ctx.clock, () => this.#ended.resolve(outcome))
  }
  /**
   * What the client said before still goes to the broker. Without its DISCONNECT the broker publishes the will, as it
   * would without us [MQTT-3.1.2-8].
   */
  #endBroker(): void {
    if (!this.#broker) return
    const { upstream, side, way } = this.#broker
    side.end()
    way.flush()
    finish(upstream.stream, this.#p.state.ctx.clock, () => {
      upstream.stream.destroy()
      upstream.release('ok')
    })
  }
}
