/**
 * One connection from its first byte to its last, in this order: wait for CONNECT, open the session, take packets, end.
 * All causes of an end go through one place. connected.ts says what packets do after CONNECT.
 */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach, guard } from '../../../core/defects/guard.ts'
import { SharedListeners } from '../../../core/defects/shared-listeners.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { type Connection, ENDED, type Outcome } from '../../connection.ts'
import { finish, INPUT_END_TIMEOUT_MS, listenToSignals, type SignalHandler } from '../ending.ts'
import { encode } from '../codec/encode.ts'
import { type Connect, MAX_VAR_INT, type Packet, type Version } from '../codec/packet.ts'
import { PacketParser } from '../codec/parser.ts'
import { createViolation, REASON, toReason } from '../codec/reason.ts'
import { encodeRefusal } from '../codec/refusal.ts'
import type { Holder } from '../memory.ts'
import { BITS, mayReadAhead, type PauseReason, type Reading, STOPPING } from '../pauses.ts'
import { tellConnected, tellRefused } from '../operations/connection-events.ts'
import { tellGap } from '../session/gap.ts'
import type { Session } from '../session/session.ts'
import type { Proof } from '../users/authentication.ts'
import { detachSession, saveLater, withClientLock } from '../session/sessions.ts'
import type { BrokerState } from '../state.ts'
import { addPrefixToWill } from '../topics/topic-prefix.ts'
import {
  admit,
  type Admitted,
  answerVersion,
  buildConnack,
  checkOffer,
  countConnection,
  collectFactsLater,
  mayNotConnect,
  openSession,
} from './connect.ts'
import { Connected } from './connected.ts'
import { Connecting } from './connecting.ts'
import type { Seat } from './doorstep.ts'
import { KeepAlive } from './keep-alive.ts'
import { Link } from './link.ts'
import { Rules } from './rules.ts'

/** The clock is asked once in so many. */
const PACKETS_PER_LOOK = 16

type At =
  | { readonly at: 'awaiting-connect'; readonly deadline: Timer | undefined }
  | { readonly at: 'connecting'; readonly deadline: Timer | undefined }
  | { readonly at: 'connected'; readonly connected: Connected; readonly keepAlive: KeepAlive }
  | { readonly at: 'closed' }

let LISTENERS: SharedListeners<Client, Duplex>

export class Client implements Reading, Holder, SignalHandler {
  readonly #state: BrokerState
  readonly #conn: Connection
  readonly #stream: Duplex
  readonly #policy: MqttPolicy
  readonly #rules: Rules
  readonly #parser: PacketParser
  readonly #seat: Seat
  /** BITS of what holds it. */
  #pauses = 0
  /** The client sends no more: what came before is taken, and then it ends. */
  #inputEnd: Timer | undefined
  #settle: ((outcome: Outcome) => void) | undefined
  #now: At = { at: 'awaiting-connect', deadline: undefined }
  #version: Version = 4
  #connecting: Connecting | undefined
  /** Has come and is not taken; against the memory budget. */
  #untakenBytes = 0
  /** CONNECT, until it is answered. */
  #asked: Connect | undefined
  #link: Link | undefined
  #signals: Disposable | undefined

  constructor(p: { state: BrokerState; conn: Connection; stream: Duplex; policy: MqttPolicy; seat: Seat }) {
    this.#state = p.state
    this.#conn = p.conn
    this.#stream = p.stream
    this.#policy = p.policy
    this.#rules = new Rules(p.conn, p.policy, p.state.grounds)
    this.#seat = p.seat
    const { maxPacketBytes, maxConnectBytes } = p.policy.limits
    this.#parser = new PacketParser({
      maxPacketBytes: Math.min(maxPacketBytes, maxConnectBytes),
      limit: 'mqtt.limits.maxConnectBytes',
      side: 'server',
    })
  }

  /** Resolves when the connection is over; never rejects. */
  run(): Promise<Outcome> {
    const deadline = this.#state.ctx.clock.after(this.#policy.limits.connectTimeoutMs, () =>
      this.close(new MeshError('MESH_REQUEST_TIMEOUT', 'no CONNECT within mqtt.limits.connectTimeoutMs')),
    )
    this.#now = { at: 'awaiting-connect', deadline }
    const ended = new Promise<Outcome>((resolve) => {
      this.#settle = resolve
    })
    LISTENERS.listen(this.#stream, this)
    this.#signals = listenToSignals(this.#conn, this)
    return ended
  }

  static {
    LISTENERS = new SharedListeners<Client, Duplex>('mqtt', (client, error) => client.onDefect(error), {
      data: (client, chunk: Buffer) => client.#onData(chunk),
      drain: (client) => client.#onDrain(),
      end: (client) => client.#onInputEnd(),
      close: (client) => client.#onClose(),
      error: (client, err: Error) => client.#onError(err),
    })
  }
  #onClose(): void {
    this.#end(ENDED, 'lost')
    this.#link?.outbox.end()
  }
  #onError(cause: Error): void {
    this.#end({ error: new MeshError('MESH_CLIENT_GONE', 'the connection broke', { cause }) }, 'lost')
  }
  onAborted(): void {
    this.#end(ENDED, 'lost')
    this.#stream.destroy()
  }
  onDraining(err: MeshError): void {
    this.close(err)
  }
  onDefect(error: MeshError): void {
    this.#end({ error }, 'lost')
    this.#stream.destroy()
  }
  /** DISCONNECT has come. */
  disconnected(how: 'normal' | 'lost'): void {
    this.#end(ENDED, how, how === 'normal' ? 'normal' : 'with-will')
  }

  hold(why: PauseReason): void {
    this.#pauses |= BITS[why]
    if (!mayReadAhead(this.#pauses, this.#parser.heldBytes)) this.#stream.pause()
  }
  release(why: PauseReason): boolean {
    if ((this.#pauses & BITS[why]) === 0) return false
    this.#pauses &= ~BITS[why]
    if (this.#pauses !== 0 || this.#now.at === 'closed') return true
    this.#stream.resume()
    // The silence was ours.
    if (this.#now.at === 'connected') this.#now.keepAlive.noteHeard()
    return true
  }

  #onData(chunk: Buffer): void {
    this.#conn.receivedBytes += chunk.length
    this.#state.counters.bytesReceived.all.value += chunk.length
    if (this.#now.at === 'closed') return // Its socket is read to its end, and nobody takes packets.
    if (this.#now.at === 'connected') this.#now.keepAlive.noteHeard()
    this.#state.memory.budget.garbage?.received(chunk.length)
    this.#parser.push(chunk)
    this.takePackets()
    if (this.#pauses !== 0 && !mayReadAhead(this.#pauses, this.#parser.heldBytes)) this.#stream.pause()
  }
  #onInputEnd(): void {
    if (this.#mayTake() || this.#now.at === 'closed') this.#end(ENDED, 'lost')
    else this.#inputEnd ??= this.#state.ctx.clock.after(INPUT_END_TIMEOUT_MS, () => this.#endInput())
  }
  /** What came before the end has no time to act any more. DISCONNECT says what becomes of session and will all the same. */
  #endInput(): void {
    try {
      for (let packet = this.#parser.next(); packet && this.#now.at === 'connected'; packet = this.#parser.next())
        if (packet.type === 'disconnect') this.#now.connected.take(packet)
    } catch {
      /* it has not left in order */
    }
    this.#end(ENDED, 'lost')
  }
  /** Those that have come and may be taken. */
  takePackets(): void {
    try {
      const { slices } = this.#state
      const slice = slices.begin()
      let isOver = false
      for (let taken = 1; this.#mayTake(); taken++) {
        const packet = this.#parser.next()
        if (packet === undefined) break
        if (this.#now.at === 'connected') this.#now.connected.take(packet)
        else if (this.#now.at === 'connecting') this.#takeConnecting(packet)
        else this.#takeFirst(packet)
        isOver = taken % PACKETS_PER_LOOK === 0 && slice.isOver()
        if (isOver) break
      }
      slices.end(slice)
      if (isOver && this.#mayTake()) this.#yield()
    } catch (err) {
      this.close(toMeshError(err))
    }
    this.#countUntaken()
    if (this.#inputEnd && this.#mayTake()) this.#end(ENDED, 'lost')
    else if (this.#now.at === 'connected' && this.#now.connected.link.isDeaf) this.hold('socket')
  }
  #mayTake(): boolean {
    if ((this.#pauses & STOPPING) !== 0 || this.#now.at === 'closed') return false
    return this.#now.at !== 'connecting' || (this.#connecting?.isWaiting ?? false)
  }
  /** Goes on when all sockets that have something to say were heard. */
  #yield(): void {
    this.hold('turn')
    this.#link?.outbox.noteInterrupted()
    setImmediate(
      guard(
        'mqtt',
        (error) => this.onDefect(error),
        () => {
          if (this.release('turn')) this.takePackets()
        },
      ),
    )
  }
  #onDrain(): void {
    if (this.#now.at !== 'connected') return
    this.release('socket')
    this.#now.connected.resume()
  }

  #takeFirst(packet: Packet): void {
    if (packet.type === 'unsupported-connect') {
      this.#version = answerVersion(packet.level)
      throw createViolation(REASON.unsupportedVersion, `[MQTT-3.1.2-2] protocol level ${packet.level} is not supported`)
    }
    if (packet.type !== 'connect')
      throw createViolation(REASON.protocolError, '[MQTT-3.1.0-1] the first packet is not CONNECT')
    if (this.#now.at !== 'awaiting-connect') return
    this.#version = packet.version
    this.#asked = packet
    this.#state.counters.controlsReceived.connect.value++
    this.#seat.noteConnect()
    this.#now = { at: 'connecting', deadline: this.#now.deadline }
    this.hold('connecting')
    checkOffer(packet, this.#policy.listener)
    detach(
      'mqtt',
      this.#connect(addPrefixToWill(packet, this.#policy.listener.topicPrefix)).catch((err: unknown) =>
        this.close(toMeshError(err)),
      ),
      () => {
        this.#stream.destroy()
      },
    )
  }

  async #connect(connect: Connect): Promise<void> {
    const state = this.#state
    const { limits } = this.#policy
    const proof = await this.#proveUser(connect)
    if (this.#now.at !== 'connecting') return
    const admitted = admit(state, connect, this.#rules.grounds, {
      peer: this.#conn.tls?.peer,
      proof,
      listener: this.#conn.listener.name,
      address: this.#conn.remote.host,
      connection: collectFactsLater(this.#conn),
    })
    await withClientLock(state, admitted.clientId, async () => {
      if (this.#now.at !== 'connecting') return
      const quota = this.#rules.findQuota(admitted)
      using unless = new DisposableStack()
      const held = unless.use(countConnection(state, admitted, quota))
      const { session, present } = await openSession(state, connect, admitted, { limits, quota })
      // The client left while the store was asked; its session stays as after a disconnect.
      if (this.#now.at !== 'connecting') {
        detachSession(state, session)
        return
      }
      // The rules and the users may have changed meanwhile, too.
      const ended = state.authentication.findRefusal(proof, this.#rules.grounds.policy.listener)
      if (ended || !this.#rules.findAuthorizer(admitted).mayConnect()) {
        detachSession(state, session)
        throw ended ?? mayNotConnect(admitted.clientId, this.#rules.grounds)
      }
      // From here on it is the connection's.
      unless.move()
      this.#start({ connect, session, isResumed: present, admitted, held })
    })
  }

  #proveUser(connect: Connect): Promise<Proof> {
    this.#connecting = new Connecting({
      state: this.#state,
      conn: this.#conn,
      rules: this.#rules,
      send: (packet) => {
        this.#stream.write(encode(packet, this.#version))
      },
      onWait: () => {
        if (this.release('connecting')) this.takePackets()
      },
    })
    return this.#connecting.prove(connect)
  }
  #takeConnecting(packet: Packet): void {
    this.hold('connecting')
    if (packet.type === 'disconnect') this.#end(ENDED, 'normal')
    else this.#connecting?.take(packet)
  }

  /** @param p.held given back when the connection is over */
  #start(p: {
    readonly connect: Connect
    readonly session: Session
    readonly isResumed: boolean
    readonly admitted: Admitted
    readonly held: Disposable
  }): void {
    const state = this.#state
    const { connect, session, isResumed: present, admitted } = p
    const { ctx, counters } = state
    const { limits } = this.#policy
    const link = (this.#link = this.#createLink(connect))
    const connected = new Connected({
      ...p,
      state,
      conn: this.#conn,
      link,
      rules: this.#rules,
      client: this,
    })
    const { keepAliveSec } = admitted
    const keepAlive = new KeepAlive(ctx.clock, keepAliveSec, this)
    this.#stopTimers()
    this.#connecting = undefined
    this.#parser.allow(limits.maxPacketBytes, 'mqtt.limits.maxPacketBytes')
    this.#now = { at: 'connected', connected, keepAlive }
    this.#asked = undefined
    session.attach(link)
    session.connectedAs = connected.facts
    connected.reauthorize()
    if (present) saveLater(state, session)
    counters.connects.value++
    tellConnected(state, session, present)
    link.outbox.writePacket(buildConnack(connect, present, admitted, link))
    if (link.isUnanswered) return
    session.resume()
    tellGap(state, session)
    this.release('connecting')
    this.takePackets()
  }

  #createLink({ version, properties, isBridge = false, is31 = false }: Connect): Link {
    const { ctx, counters, flusher, memory } = this.#state
    const { limits, listener } = this.#policy
    return new Link({
      stream: this.#stream,
      flusher,
      memory,
      clock: ctx.clock,
      counters,
      version,
      isBridge,
      is31,
      acknowledgesDenied: is31 || this.#policy.deniedPublishes === 'acknowledge',
      listener,
      limits,
      receiveMaximum: Math.min(limits.maxInflight, version === 5 ? (properties.receiveMaximum ?? 65_535) : 65_535),
      maxPacketBytes: properties.maximumPacketBytes ?? MAX_VAR_INT + 5,
      topicAliasMaximum: properties.topicAliasMaximum ?? 0,
      conn: this.#conn,
      client: this,
    })
  }

  /** It is not read from. */
  get isHeld(): boolean {
    return this.#pauses !== 0
  }
  /** The rules may have changed: what they do not allow any more ends now. */
  reauthorize(): void {
    if (this.#now.at === 'connected') this.#now.connected.reauthorize()
  }

  /** Ends the connection from our side, telling the client why as far as its version can be told. */
  close(err: MeshError): void {
    const now = this.#now
    if (now.at === 'closed') return
    if (now.at === 'connected') now.connected.sayGoodbye(err)
    else this.#refuse(err, now.at)
    this.#end({ error: err }, 'lost')
  }

  // As the memory budget sees it (memory.ts).
  get isAwaitingConnect(): boolean {
    return this.#now.at === 'awaiting-connect'
  }
  get waitingBytes(): number {
    return this.#now.at === 'connected' ? this.#now.connected.link.waitingBytes : 0
  }
  get heldBytes(): number {
    return this.#untakenBytes + (this.#now.at === 'connected' ? this.#now.connected.heldBytes : 0)
  }
  recount(): void {
    if (this.#now.at === 'connected') this.#now.connected.link.outbox.recount()
  }
  dropWaiting(): number {
    return this.#now.at === 'connected' ? this.#now.connected.link.dropWaiting() : 0
  }
  /** What waits in its socket would wait for a last word, too. */
  cutOff(err: MeshError): void {
    this.close(err)
    this.#stream.destroy()
  }
  #countUntaken(): void {
    const bytes = this.#now.at === 'closed' ? 0 : this.#parser.heldBytes
    if (bytes === this.#untakenBytes) return
    this.#state.memory.budget.take(bytes - this.#untakenBytes)
    this.#untakenBytes = bytes
  }

  /** CONNACK with the reason; nothing to somebody who never sent a CONNECT (§4.13, [MQTT-3.1.4-1]). */
  #refuse(err: MeshError, at: 'awaiting-connect' | 'connecting'): void {
    this.#state.counters.refusedConnects.value++
    tellRefused(this.#state, this.#conn, this.#asked, err)
    const spoke = at === 'connecting' || toReason(err) === REASON.unsupportedVersion
    if (!spoke || this.#stream.destroyed) return
    const refusal = encodeRefusal(err, this.#version)
    if (refusal) this.#stream.write(refusal)
  }

  #end(outcome: Outcome, how: 'normal' | 'lost', said: 'nothing' | 'normal' | 'with-will' = 'nothing'): void {
    const now = this.#now
    if (now.at === 'closed') return
    this.#stopTimers()
    this.#inputEnd?.cancel()
    this.#now = { at: 'closed' }
    this.#connecting?.end()
    this.#asked = undefined
    if (now.at === 'connected') now.connected.end(how, { outcome, said })
    this.#countUntaken()
    this.#stream.resume()
    finish(this.#stream, this.#state.ctx.clock, () => {
      this.#signals?.[Symbol.dispose]()
      this.#seat[Symbol.dispose]()
      this.#settle?.(outcome)
    })
  }
  #stopTimers(): void {
    const now = this.#now
    if (now.at === 'connected') now.keepAlive.stop()
    else if (now.at !== 'closed') now.deadline?.cancel()
  }
}
