/**
 * One connection from its first byte to its last, read downward: wait for CONNECT, open the session, take packets, end.
 * Ending is one place for all causes: what the client is told, what becomes of its session and its will.
 */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detached, guarded, nothing } from '../../../core/defects/guard.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { type Connection, ENDED, type Outcome } from '../../connection.ts'
import type { Authorizer } from '../topics/authorization.ts'
import { encode } from '../codec/encode.ts'
import {
  type Connect,
  MAX_VAR_INT,
  type Disconnect,
  type Packet,
  type Subscribe,
  type Unsubscribe,
  type Version,
  type Will,
} from '../codec/packet.ts'
import { owned, PacketParser } from '../codec/parser.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { admit, type Admitted, answerVersion, connack, mayNotConnect, openSession } from './connect.ts'
import { Fifo } from '../fifo.ts'
import { type PauseReason, Inflow, type Reading } from './inflow.ts'
import { Link } from './link.ts'
import type { Holder } from '../memory.ts'
import { REASON, reasonOf, returnCodeOf, violation } from '../codec/reason.ts'
import type { Session } from '../session/session.ts'
import {
  denyWill,
  endSessionLater,
  withClientLock,
  leaveWill,
  leftAlone,
  saveLater,
  watchExpiry,
} from '../session/sessions.ts'
import { reauthorize } from '../session/reauthorize.ts'
import type { BrokerState } from '../state.ts'
import { type Answer, subscribe, unsubscribe } from '../session/subscribe.ts'

/** Filters of SUBSCRIBE and UNSUBSCRIBE that wait for the store before the client is not read from. */
const MAX_WAITING_FILTERS = 256
/** For the last bytes, DISCONNECT among them, to leave. */
const FLUSH_TIMEOUT_MS = 1_000

type At =
  | { readonly at: 'awaiting-connect' }
  | { readonly at: 'connecting' }
  | {
      readonly at: 'connected'
      readonly will: Will | undefined
      readonly session: Session
      readonly link: Link
      readonly inflow: Inflow
      readonly keepAliveMs: number
      readonly admitted: Admitted
    }
  | { readonly at: 'closed' }

export class Client implements Reading, Holder {
  readonly #state: BrokerState
  readonly #conn: Connection
  readonly #stream: Duplex
  readonly #policy: MqttPolicy
  readonly #parser: PacketParser
  readonly #onConnect: () => void
  readonly #holds = new Set<PauseReason>()
  readonly #over = Promise.withResolvers<Outcome>()
  #now: At = { at: 'awaiting-connect' }
  #version: Version = 4
  #timer: Timer | undefined
  #heardMs: number
  /** While a SUBSCRIBE waits for its queue: what comes behind it acts behind it. */
  #acting: Promise<void> | undefined
  readonly #answers = new Fifo<{ readonly answer: Answer; readonly filters: number }>()
  #isAnswering = false
  #waitingFilters = 0
  #authorizer: Authorizer | undefined
  #authorizedBy: MqttPolicy | undefined
  /** Of the packet that is half there, and of the will; against the memory budget. */
  #partBytes = 0
  #willBytes = 0

  /** @param p.onConnect CONNECT has come */
  constructor(p: { state: BrokerState; conn: Connection; stream: Duplex; policy: MqttPolicy; onConnect: () => void }) {
    this.#state = p.state
    this.#conn = p.conn
    this.#stream = p.stream
    this.#policy = p.policy
    this.#onConnect = p.onConnect
    const { maxPacketBytes, maxConnectBytes } = p.policy.limits
    this.#parser = new PacketParser({
      maxPacketBytes: Math.min(maxPacketBytes, maxConnectBytes),
      limit: 'mqtt.limits.maxConnectBytes',
      side: 'server',
    })
    this.#heardMs = p.state.ctx.clock.monotonicMs()
  }

  /** Resolves when the connection is over; never rejects. */
  async run(): Promise<Outcome> {
    const { clock } = this.#state.ctx
    const { draining, aborted } = this.#conn
    const defect = (error: MeshError): void => {
      this.#end({ error }, 'lost')
      this.#stream.destroy()
    }
    const ended = guarded('mqtt', defect, () => this.#end(ENDED, 'lost'))
    const onDrain = guarded('mqtt', defect, () =>
      this.close(
        draining.reason instanceof MeshError
          ? draining.reason
          : new MeshError('MESH_DRAINING', 'the listener is draining'),
      ),
    )
    const onAbort = guarded('mqtt', defect, () => {
      this.#end(ENDED, 'lost')
      this.#stream.destroy()
    })
    this.#timer = clock.after(this.#policy.limits.connectTimeoutMs, () =>
      this.close(new MeshError('MESH_REQUEST_TIMEOUT', 'no CONNECT within mqtt.limits.connectTimeoutMs')),
    )
    this.#stream.on(
      'data',
      guarded('mqtt', defect, (chunk: Buffer) => this.#onData(chunk)),
    )
    this.#stream.on('end', ended)
    this.#stream.on('close', ended)
    this.#stream.on(
      'error',
      guarded('mqtt', defect, (err: Error) =>
        this.#end({ error: new MeshError('MESH_CLIENT_GONE', 'the connection broke', { cause: err }) }, 'lost'),
      ),
    )
    this.#stream.on(
      'drain',
      guarded('mqtt', defect, () => this.#onDrain()),
    )
    draining.addEventListener('abort', onDrain, { once: true })
    aborted.addEventListener('abort', onAbort, { once: true })
    if (aborted.aborted) onAbort()
    else if (draining.aborted) onDrain()
    try {
      return await this.#over.promise
    } finally {
      draining.removeEventListener('abort', onDrain)
      aborted.removeEventListener('abort', onAbort)
    }
  }

  hold(why: PauseReason): void {
    this.#holds.add(why)
    this.#stream.pause()
  }
  release(why: PauseReason): void {
    if (!this.#holds.delete(why) || this.#holds.size > 0 || this.#now.at === 'closed') return
    this.#stream.resume()
    // The silence was ours.
    this.#heardMs = this.#state.ctx.clock.monotonicMs()
  }

  #onData(chunk: Buffer): void {
    this.#conn.receivedBytes += chunk.length
    this.#heardMs = this.#state.ctx.clock.monotonicMs()
    this.#state.memory.budget.garbage?.received(chunk.length)
    this.#parser.push(chunk)
    this.#takePackets()
  }
  #takePackets(): void {
    try {
      // What is in the chunk already waits, too: a filter on its way to the disk takes a hundred times its bytes.
      while (this.#now.at !== 'connecting' && this.#now.at !== 'closed' && !this.#holds.has('subscriptions')) {
        const packet = this.#parser.next()
        if (packet === undefined) break
        this.#take(packet)
      }
    } catch (err) {
      this.close(toMeshError(err))
    }
    this.#countPart()
    if (this.#now.at === 'connected' && this.#now.link.isDeaf) this.hold('socket')
  }
  #onDrain(): void {
    if (this.#now.at !== 'connected') return
    this.release('socket')
    this.#now.link.outbox.recount()
    this.#now.link.drained()
    this.#now.session.flow?.pump()
  }

  #take(packet: Packet): void {
    if (this.#now.at !== 'connected') {
      this.#takeFirst(packet)
      return
    }
    const { session, inflow, link } = this.#now
    switch (packet.type) {
      case 'publish':
        inflow.publish(packet)
        return
      case 'puback':
        session.flow?.puback(packet.packetId)
        return
      case 'pubrec':
        session.flow?.pubrec(packet.packetId, packet.reason)
        return
      case 'pubrel':
        inflow.pubrel(packet.packetId)
        return
      case 'pubcomp':
        session.flow?.pubcomp(packet.packetId)
        return
      case 'subscribe':
      case 'unsubscribe':
        this.#takeControl(packet)
        return
      case 'pingreq':
        link.outbox.packet({ type: 'pingresp' })
        return
      case 'disconnect':
        this.#takeDisconnect(packet)
        return
      case 'connect':
      case 'unsupported-connect':
        throw violation(REASON.protocolError, '[MQTT-3.1.0-2] a second CONNECT')
      case 'auth':
        throw violation(REASON.protocolError, '[MQTT-4.12.0-6] AUTH without an authentication method')
      case 'connack':
      case 'suback':
      case 'unsuback':
      case 'pingresp':
        throw violation(REASON.protocolError, `a client sent ${packet.type.toUpperCase()} (MQTT 5.0 §2.1.2)`)
      default:
        packet satisfies never
    }
  }

  #takeFirst(packet: Packet): void {
    if (packet.type === 'unsupported-connect') {
      this.#version = answerVersion(packet.level)
      throw violation(REASON.unsupportedVersion, `[MQTT-3.1.2-2] protocol level ${packet.level} is not supported`)
    }
    if (packet.type !== 'connect')
      throw violation(REASON.protocolError, '[MQTT-3.1.0-1] the first packet is not CONNECT')
    this.#version = packet.version
    this.#parser.allow(this.#policy.limits.maxPacketBytes, 'mqtt.limits.maxPacketBytes')
    this.#onConnect()
    this.#now = { at: 'connecting' }
    this.hold('connecting')
    detached(
      'mqtt',
      this.#connect(packet).catch((err: unknown) => this.close(toMeshError(err))),
      () => {
        this.#stream.destroy()
      },
    )
  }

  async #connect(connect: Connect): Promise<void> {
    const state = this.#state
    const { limits } = this.#policy
    const admitted = admit(state, connect, this.#policyNow(), {
      peer: this.#conn.tls?.peer,
      listener: this.#conn.listener.name,
      address: this.#conn.remote.host,
    })
    await withClientLock(state, admitted.clientId, async () => {
      if (this.#now.at !== 'connecting') return
      const { session, present } = await openSession(state, connect, admitted, limits)
      // Gone while the store was asked: what was opened stays as after a disconnect.
      if (this.#now.at !== 'connecting') {
        this.#detachSession(session)
        return
      }
      // The rules may have changed meanwhile, too.
      if (!this.#authorizerNow(admitted).mayConnect()) {
        this.#detachSession(session)
        throw mayNotConnect(admitted.clientId)
      }
      this.#start(connect, session, present, admitted)
    })
  }

  #start(connect: Connect, session: Session, present: boolean, admitted: Admitted): void {
    const { ctx, counters, flusher, memory } = this.#state
    const { limits } = this.#policy
    const { properties, version } = connect
    const link = new Link({
      stream: this.#stream,
      flusher,
      memory,
      clock: ctx.clock,
      counters,
      version,
      limits,
      receiveMaximum: Math.min(limits.maxInflight, version === 5 ? (properties.receiveMaximum ?? 65_535) : 65_535),
      maxPacketBytes: properties.maximumPacketBytes ?? MAX_VAR_INT + 5,
      onBytes: (bytes) => {
        this.#conn.sentBytes += bytes
      },
      close: (err) => this.close(err),
    })
    const inflow = new Inflow({
      state: this.#state,
      session,
      link,
      reading: this,
      authorizer: () => this.#authorizerNow(admitted),
      isResumed: present,
    })
    const keepAliveMs = admitted.keepAliveSec * 1500 // one and a half times [MQTT-3.1.2-22]
    const will = connect.will && compactWill(connect.will)
    this.#willBytes = will ? will.topic.length + will.payload.length + will.properties.length : 0
    memory.budget.take(this.#willBytes)
    this.#stream.once(
      'close',
      guarded('mqtt', nothing, () => {
        link.outbox.end()
      }),
    )
    this.#now = { at: 'connected', will, session, link, inflow, keepAliveMs, admitted }
    this.#timer?.cancel()
    if (keepAliveMs > 0) this.#watchKeepAlive(keepAliveMs, keepAliveMs)
    session.attach(link)
    this.reauthorize()
    if (present) saveLater(this.#state, session)
    counters.connects.value++
    ctx.log.debug(
      { evt: 'mqtt.connect', conn: this.#conn.id, clientId: session.clientId, version, sessionPresent: present },
      'client connected',
    )
    link.outbox.packet(connack(connect, present, admitted, limits))
    session.resume()
    this.release('connecting')
    this.#takePackets()
  }

  /** A changed policy that keeps the connection (recheck) counts from the next packet on. */
  #authorizerNow(admitted: Admitted): Authorizer {
    const policy = this.#policyNow()
    if (this.#authorizer && this.#authorizedBy === policy) return this.#authorizer
    this.#authorizedBy = policy
    this.#authorizer = admitted.authorizer(policy)
    return this.#authorizer
  }

  #policyNow(): MqttPolicy {
    const { codec } = this.#conn.chain
    return codec.kind === 'mqtt' ? codec.mqtt : this.#policy
  }

  /** The rules may have changed: what they do not allow any more ends now. */
  reauthorize(): void {
    if (this.#now.at !== 'connected') return
    const { session, admitted } = this.#now
    if (session.policy === this.#policyNow()) return
    const may = this.#authorizerNow(admitted)
    session.policy = this.#authorizedBy
    if (!may.mayConnect()) {
      this.close(mayNotConnect(session.clientId))
      return
    }
    reauthorize(this.#state, session, may)
  }

  #watchKeepAlive(keepAliveMs: number, afterMs: number): void {
    const { clock } = this.#state.ctx
    this.#timer = clock.after(afterMs, () => {
      const leftMs = this.#holds.size > 0 ? keepAliveMs : this.#heardMs + keepAliveMs - clock.monotonicMs()
      if (leftMs > 0) this.#watchKeepAlive(keepAliveMs, leftMs)
      else this.close(new MeshError('MESH_MQTT_KEEP_ALIVE', `nothing was heard for ${keepAliveMs} ms`))
    })
  }

  /** Each acts after the one before it, and they are answered in that order. */
  #takeControl(packet: Subscribe | Unsubscribe): void {
    if (this.#now.at !== 'connected') return
    const { session, link, admitted } = this.#now
    const asking = { session, link, authorizer: () => this.#authorizerNow(admitted), limits: this.#policy.limits }
    const filters = packet.type === 'subscribe' ? packet.subscriptions.length : packet.filters.length
    this.#waitingFilters += filters
    if (this.#waitingFilters >= MAX_WAITING_FILTERS) this.hold('subscriptions')
    const act = (): Answer | Promise<Answer> =>
      packet.type === 'subscribe' ? subscribe(this.#state, packet, asking) : unsubscribe(this.#state, packet, asking)
    const answer = this.#acting ? this.#acting.then(act) : act()
    if (!(answer instanceof Promise)) {
      this.#answerInOrder(answer, filters)
      return
    }
    const mine = answer
      .then((made) => this.#answerInOrder(made, filters))
      .catch((err: unknown) => this.close(toMeshError(err)))
      .finally(() => {
        if (this.#acting === mine) this.#acting = undefined
      })
    this.#acting = mine
  }
  #answerInOrder(answer: Answer, filters: number): void {
    this.#answers.push({ answer, filters })
    if (!this.#isAnswering) this.#answer()
  }
  #answer(): void {
    for (let next = this.#answers.first(); next !== undefined; next = this.#answers.first()) {
      const { durable } = next.answer
      this.#isAnswering = durable !== undefined
      if (durable) {
        detached(
          'mqtt',
          durable.then(
            () => this.#told(durable, undefined),
            (err: unknown) => this.#told(durable, toMeshError(err)),
          ),
          (err) => this.close(err),
        )
        return
      }
      this.#tell(undefined)
    }
  }
  /** What was asked for in one go waits for one commit. */
  #told(durable: Promise<void>, failed: MeshError | undefined): void {
    while (this.#answers.first()?.answer.durable === durable) this.#tell(failed)
    this.#isAnswering = false
    this.#answer()
  }
  #tell(failed: MeshError | undefined): void {
    const { answer, filters } = this.#answers.shift()!
    try {
      answer.tell(failed)
    } catch (thrown) {
      this.close(toMeshError(thrown))
    }
    this.#waitingFilters -= filters
    if (this.#waitingFilters >= MAX_WAITING_FILTERS / 2 || !this.#holds.has('subscriptions')) return
    this.release('subscriptions')
    this.#takePackets()
  }

  #takeDisconnect({ reason, properties }: Disconnect): void {
    if (this.#now.at !== 'connected') return
    const { session } = this.#now
    const { sessionExpirySec } = properties
    if (sessionExpirySec !== undefined) {
      if (sessionExpirySec > 0 && session.expirySec === 0)
        throw violation(
          REASON.protocolError,
          'a session without expiry cannot get one in DISCONNECT (MQTT 5.0 §3.14.2.2.2)',
        )
      session.expirySec = Math.min(sessionExpirySec, this.#policy.limits.maxSessionExpirySec)
    }
    this.#end(ENDED, reason === REASON.success ? 'normal' : 'lost')
  }

  /** Ends the connection from our side, telling the client why as far as its version can be told. */
  close(err: MeshError): void {
    const now = this.#now
    if (now.at === 'closed') return
    if (now.at === 'connected') {
      if (now.link.version === 5)
        now.link.outbox.packet({ type: 'disconnect', reason: reasonOf(err), properties: NO_PROPERTIES })
      now.link.outbox.flush()
    } else this.#refuse(err, now.at)
    this.#end({ error: err }, 'lost')
  }

  // As the memory budget sees it (memory.ts).

  get isAwaitingConnect(): boolean {
    return this.#now.at === 'awaiting-connect'
  }
  get waitingBytes(): number {
    return this.#now.at === 'connected' ? this.#now.link.waitingBytes : 0
  }
  get heldBytes(): number {
    const own = this.#partBytes + this.#willBytes
    if (this.#now.at !== 'connected') return own
    const { link, inflow, session } = this.#now
    return own + link.waitingBytes + link.outbox.countedBytes + inflow.heldBytes + session.waitingBytes
  }
  recount(): void {
    if (this.#now.at === 'connected') this.#now.link.outbox.recount()
  }
  dropWaiting(): number {
    return this.#now.at === 'connected' ? this.#now.link.dropWaiting() : 0
  }
  /** What waits in its socket would wait for a last word, too. */
  cutOff(err: MeshError): void {
    this.close(err)
    this.#stream.destroy()
  }
  #countPart(): void {
    const bytes = this.#now.at === 'closed' ? 0 : this.#parser.heldBytes
    if (bytes === this.#partBytes) return
    this.#state.memory.budget.take(bytes - this.#partBytes)
    this.#partBytes = bytes
  }

  /** CONNACK with the reason; nothing to somebody who never sent a CONNECT (§4.13, [MQTT-3.1.4-1]). */
  #refuse(err: MeshError, at: 'awaiting-connect' | 'connecting'): void {
    this.#state.counters.refusedConnects.value++
    const spoke = at === 'connecting' || reasonOf(err) === REASON.unsupportedVersion
    if (!spoke || this.#stream.destroyed) return
    const reason = this.#version === 5 ? reasonOf(err) : returnCodeOf(err)
    this.#stream.write(
      encode({ type: 'connack', sessionPresent: false, reason, properties: NO_PROPERTIES }, this.#version),
    )
  }

  #end(outcome: Outcome, how: 'normal' | 'lost'): void {
    const now = this.#now
    if (now.at === 'closed') return
    this.#now = { at: 'closed' }
    this.#timer?.cancel()
    if (now.at === 'connected') this.#leave(now, how)
    this.#countPart()
    this.#state.memory.budget.give(this.#willBytes)
    this.#willBytes = 0
    this.#farewell(outcome)
  }

  #leave({ session, link, inflow, will, admitted }: Extract<At, { at: 'connected' }>, how: 'normal' | 'lost'): void {
    link.outbox.flush()
    inflow.end()
    link.end()
    if (session.link !== link) return
    if (how === 'lost' && will) this.#leaveWill(session, will, this.#authorizerNow(admitted))
    this.#detachSession(session)
  }

  /** Of somebody whom the listener does not let in any more (downstream/revalidate.ts) nothing is published either. */
  #leaveWill(session: Session, will: Will, may: Authorizer): void {
    if (!isShutOut(this.#conn) && may.mayConnect() && may.mayPublish(will.topic)) leaveWill(this.#state, session, will)
    else denyWill(this.#state, session.clientId, will.topic)
  }

  /** The session without its connection: kept until it expires, or ended. */
  #detachSession(session: Session): void {
    session.detach()
    session.disconnectedAtMs = this.#state.ctx.clock.wallMs()
    if (session.stored && session.expirySec > 0) {
      saveLater(this.#state, session)
      leftAlone(this.#state, session)
      watchExpiry(this.#state, session)
    } else endSessionLater(this.#state, session)
  }

  /** serve.ts destroys the stream when an outcome has an error; what was just written should leave first. */
  #farewell(outcome: Outcome): void {
    const stream = this.#stream
    const done = (): void => this.#over.resolve(outcome)
    if (stream.destroyed || stream.writableFinished) {
      done()
      return
    }
    const late = this.#state.ctx.clock.after(FLUSH_TIMEOUT_MS, done)
    stream.resume()
    const left = guarded('mqtt', done, () => {
      late.cancel()
      done()
    })
    stream.once('close', left)
    stream.end(left)
  }
}

/** Without a hold on the chunk that it came in: it stays as long as the connection. */
function compactWill(will: Will): Will {
  return { ...will, payload: owned(will.payload), properties: owned(will.properties) }
}

function isShutOut({ draining, aborted }: Connection): boolean {
  const reason: unknown = aborted.aborted ? aborted.reason : draining.reason
  return (
    reason instanceof MeshError && (reason.code === 'MESH_PEER_NOT_ALLOWED' || reason.code === 'MESH_NO_FILTER_CHAIN')
  )
}
