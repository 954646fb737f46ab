/**
 * PUBLISH and PUBREL of one client. Messages are appended as they come, many at once, and answered strictly in order
 * [MQTT-4.6.0-2, -3]: each waits until its commit is durable. A message that was not stored is never acknowledged. When
 * the spool is full, an MQTT 5 client gets 0x97. MQTT 3.1.1 has no such answer, so that client is not read from until
 * there is room, and nothing overtakes its waiting message [MQTT-4.6.0-6].
 */
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import { BackPressure } from '../back-pressure.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import type { Publish, Qos } from '../codec/packet.ts'
import type { StoredMessage } from '../durability.ts'
import { readMessageMs } from '../expiry.ts'
import type { Link } from './link.ts'
import { type Commit, buildCommit, deliver, plan, retryMs, type Source } from '../publication.ts'
import { REASON, createViolation } from '../codec/reason.ts'
import type { Reading } from '../pauses.ts'
import type { Place } from '../topics/retained.ts'
import { Asked } from '../session/commit-waiters.ts'
import type { Session } from '../session/session.ts'
import { saveFirst } from '../session/sessions.ts'
import type { BrokerState } from '../state.ts'
import type { Plan } from '../topics/subscriptions.ts'
import { isReserved, isTooDeep } from '../topics/topics.ts'
import { type InLine, measureLineBytes, NO_MESSAGE, PublishLine } from './publish-line.ts'
import { TopicAliases } from './topic-aliases.ts'

/** Of the line: 62 messages, or 64 KiB. */
const READ_AHEAD_SHARE = 1 / 16

export class Inflow {
  readonly #state: BrokerState
  readonly #session: Session
  readonly #source: Source
  readonly #link: Link
  readonly #reading: Reading
  readonly #authorizer: () => Authorizer
  readonly #isResumed: boolean
  /** The session is on the disk, or on its way. */
  #isSaved = false
  readonly #line: PublishLine
  readonly #aliases: TopicAliases
  readonly #backPressure: BackPressure
  /** QoS 1 and 2 of this connection that are not answered: what Receive Maximum counts (§3.3.4). */
  readonly #unanswered = new Set<number>()
  /** QoS 2 ids that are in line and so not yet in the session. */
  readonly #arriving = new Set<number>()
  /** QoS 2 ids whose PUBREL waits for the disk; a repeated one is answered with it. */
  readonly #releasing = new Set<number>()
  /** The last that the store was asked for, and who waits for it. */
  #asked: Asked<InLine> | undefined
  /** Waiting for room, and what came behind it; in the order of the line. */
  readonly #waitingForRoom: InLine[] = []
  #isRetrying = false
  #hasRoom: PromiseWithResolvers<void> | undefined
  readonly #ended = new AbortController()
  /** @param isResumed the session was there before this connection */
  constructor(p: {
    state: BrokerState
    session: Session
    link: Link
    reading: Reading
    authorizer: () => Authorizer
    isResumed: boolean
  }) {
    this.#state = p.state
    this.#session = p.session
    this.#source = { from: p.session, origin: undefined }
    this.#link = p.link
    this.#reading = p.reading
    this.#authorizer = p.authorizer
    this.#isResumed = p.isResumed
    this.#line = new PublishLine(p.state.memory.budget)
    this.#aliases = new TopicAliases(p.link.limits.maxTopicAliases, p.state.memory.budget, p.link.listener.topicPrefix)
    this.#backPressure = new BackPressure(p.state, p.reading)
  }

  /**
   * @param tooMuch why it is not to be taken by the rate of its user
   * @throws MESH_MQTT_PROTOCOL, or why it is refused where no acknowledgement can say so; all end the connection
   */
  publish(p: Publish, tooMuch?: MeshError): void {
    this.#state.counters.received[p.qos].value++
    const topic = this.#aliases.resolveTopic(p)
    const { maxTopicLevels } = this.#link.limits
    if (isTooDeep(topic, maxTopicLevels))
      throw createViolation(
        REASON.topicNameInvalid,
        `the topic has more than ${maxTopicLevels} levels (mqtt.limits.maxTopicLevels)`,
      )
    if (p.qos > 0 && this.#isRepeated(p)) return
    if (tooMuch && (p.qos === 0 || this.#link.version === 4)) throw tooMuch
    if (isReserved(topic) || !this.#authorizer().mayPublish(topic)) {
      this.#deny(p, topic)
      return
    }
    if (tooMuch) return this.#answerInOrder(p.qos, p.packetId, REASON.quotaExceeded)
    const message: StoredMessage = {
      topic,
      payload: p.payload,
      qos: this.#state.upgradesQos ? 2 : p.qos,
      retain: p.retain,
      properties: p.properties,
      expiresAtMs:
        p.messageExpirySec === undefined ? undefined : readMessageMs(this.#state.ctx.clock) + p.messageExpirySec * 1000,
      expirySec: p.messageExpirySec,
    }
    const to = plan(this.#state, message, this.#source)
    if (p.qos === 1 && !this.#isSaved) {
      this.#isSaved = true
      saveFirst(this.#state, this.#session)
    }
    const inbound = p.qos === 2 && this.#session.stored
    if (!p.retain && !inbound && to.queues.length === 0 && to.routes.length === 0 && this.#line.size === 0) {
      this.#backPressure.note(deliver(message, to.direct))
      this.#answer(p.qos, p.packetId, 0)
      return
    }
    this.#enqueue(message, to, p)
  }

  /** Packets behind a message that waits for room act after it. Undefined when no message waits. */
  waitForRoom(): Promise<void> | undefined {
    if (this.#waitingForRoom.length === 0 || this.#ended.signal.aborted) return undefined
    this.#hasRoom ??= Promise.withResolvers<void>()
    return this.#hasRoom.promise
  }
  /** Nothing waits for its answer. */
  get isAnswered(): boolean {
    return this.#line.size === 0
  }
  /** Once all is answered that came before. */
  callWhenAnswered(onAnswered: () => void): void {
    if (this.isAnswered) onAnswered()
    else this.#line.push({ ...NO_MESSAGE, qos: 0, packetId: 0, state: 'taken', reason: 0, onAnswered })
  }

  get heldBytes(): number {
    return this.#line.bytes + this.#aliases.bytes
  }

  /** [MQTT-4.3.3-11]: the id is forgotten, durably, before PUBCOMP. A failing disk ends the connection. */
  pubrel(packetId: number): void {
    const { durability } = this.#state
    // Answered now, its packet id would be kept for ever, and the next message that has it be taken for a repetition.
    if (this.#arriving.has(packetId))
      throw createViolation(REASON.protocolError, '[MQTT-4.3.3-4] PUBREL has come before PUBREC was sent')
    const { clientId, stored, received } = this.#session
    if (!stored) {
      if (received.delete(packetId)) this.#complete(packetId)
      else this.#completeUnknown(packetId)
      return
    }
    if (!durability.inbound(clientId).has(packetId)) {
      this.#completeUnknown(packetId)
      return
    }
    if (this.#releasing.has(packetId)) return
    this.#releasing.add(packetId)
    const close = (err: unknown): void => this.#link.close(toMeshError(err))
    detach(
      'mqtt',
      durability.releaseInbound(clientId, packetId).then(() => this.#complete(packetId), close),
      close,
    )
  }
  #complete(packetId: number, reason: number = REASON.success): void {
    this.#unanswered.delete(packetId)
    this.#releasing.delete(packetId)
    this.#link.outbox.ack('pubcomp', packetId, reason)
  }
  /**
   * An unknown id is no error after a reconnect (MQTT 5.0 §3.7.2.1): PUBCOMP was lost. Clients tell their application
   * otherwise, so it is a success, as with mosquitto.
   */
  #completeUnknown(packetId: number): void {
    this.#complete(packetId, this.#isResumed ? REASON.success : REASON.packetIdNotFound)
  }

  /**
   * Messages that are being committed are still delivered. Those that wait for room are given up: the client has no
   * acknowledgement and will send them again.
   */
  end(): void {
    this.#ended.abort()
    this.#hasRoom?.resolve()
    for (const one of this.#waitingForRoom.splice(0)) one.state = 'over'
    this.#aliases.end()
    this.#backPressure.end()
    this.#settle()
  }

  /**
   * Counts against Receive Maximum, and answers a QoS 2 message that was received before without passing it on
   * [MQTT-4.3.3-10].
   */
  #isRepeated({ qos, packetId }: Publish): boolean {
    if (this.#link.version === 5) {
      this.#unanswered.add(packetId)
      if (this.#unanswered.size > this.#link.limits.receiveMaximum)
        throw createViolation(
          REASON.receiveMaximumExceeded,
          '[MQTT-3.3.4-7] more messages are unacknowledged than Receive Maximum allows',
        )
    }
    if (qos !== 2) return false
    if (this.#arriving.has(packetId)) return true
    const { stored, clientId, received } = this.#session
    const known = stored ? this.#state.durability.inbound(clientId).has(packetId) : received.has(packetId)
    if (known) this.#answerInOrder(qos, packetId, 0)
    return known
  }

  #deny({ qos, packetId }: Publish, topic: string): void {
    const { counters, ctx } = this.#state
    counters.refused('not-authorized').value++
    ctx.log.warn(
      { evt: 'mqtt.publish.denied', clientId: this.#session.clientId, topic, qos },
      'publish is not allowed by the mqtt policy',
    )
    if (qos === 0) return
    const { version, acknowledgesDenied } = this.#link
    if (version === 4 && !acknowledgesDenied)
      throw new MeshError('MESH_MQTT_NOT_AUTHORIZED', `client may not publish to ${topic}`)
    this.#answerInOrder(qos, packetId, version === 4 ? REASON.success : REASON.notAuthorized)
  }

  #enqueue(message: StoredMessage, to: Plan, { qos, packetId, retain }: Publish): void {
    const { retained, counters, ctx } = this.#state
    const place = retain ? retained.reserve(message, this.#link.limits) : undefined
    if (retain && !place) {
      counters.dropped['retained-limit'].value++
      ctx.log.warn(
        { evt: 'mqtt.retained.full', clientId: this.#session.clientId, topic: message.topic },
        'message is not retained: a limit of mqtt.limits is reached, or memory is short',
      )
      if (qos > 0 && this.#link.version === 5) {
        counters.refused('quota').value++
        this.#answerInOrder(qos, packetId, REASON.quotaExceeded)
        return
      }
    }
    const commit = this.#commitOf(message, to, place, { qos, packetId })
    if (qos === 2) this.#arriving.add(packetId)
    const one: InLine = {
      number: 0,
      bytes: measureLineBytes(message, to),
      message,
      plan: to,
      commit,
      place,
      qos,
      packetId,
      state: commit ? 'waiting' : 'taken',
      reason: 0,
      onAnswered: undefined,
    }
    this.#line.push(one)
    if (this.#line.isLong(1)) this.#reading.hold('commits')
    if (commit) this.#ask(one, commit)
    else this.#settle()
  }

  #commitOf(
    message: StoredMessage,
    to: Plan,
    place: Place | undefined,
    { qos, packetId }: Pick<Publish, 'qos' | 'packetId'>,
  ): Commit | undefined {
    const inbound =
      qos === 2 && this.#session.stored
        ? { clientId: this.#session.clientId, packetId, session: this.#session }
        : undefined
    return buildCommit(this.#state, message, to, place, inbound)
  }

  #ask(one: InLine, commit: Commit): void {
    if (this.#waitingForRoom.length > 0) {
      one.place?.suspend()
      this.#waitingForRoom.push(one)
      this.#holdWhenMany()
      return
    }
    const { durability } = this.#state
    const { refusals } = durability
    const promise = commit.run()
    if (this.#asked?.promise === promise) this.#asked.ones.push(one)
    else this.#await(promise, one)
    // The promise tells only after what stands behind this message in the same bytes has been asked for too.
    if (durability.refusals !== refusals && one.qos > 0 && this.#link.version === 4) this.#waitingForRoom.push(one)
  }

  /** All messages of one transaction have one promise, and so one answer. */
  #await(promise: Promise<void>, one: InLine): void {
    this.#asked = new Asked(this, promise, one, this.#state.ctx.clock.monotonicMs())
    this.#state.commits.add(promise, this.#asked)
  }
  committed(asked: Asked<InLine>): void {
    const { ctx, counters } = this.#state
    if (this.#asked === asked) this.#asked = undefined
    counters.commitWait.observe((ctx.clock.monotonicMs() - asked.sinceMs) / 1000)
    for (const taken of asked.ones) taken.state = 'taken'
    this.#settle()
  }
  refused(asked: Asked<InLine>, err: MeshError): void {
    if (this.#asked === asked) this.#asked = undefined
    for (const refused of asked.ones) this.#refused(refused, err)
  }
  close(err: MeshError): void {
    this.#link.close(err)
  }

  #refused(one: InLine, err: MeshError): void {
    const { counters, ctx } = this.#state
    counters.refused(isFull(err) ? 'quota' : 'storage').value++
    if (this.#mustWait(one)) {
      this.#hold(one)
      // Else a client would never be read from again; without its connection it sends again.
      if (!this.#isRetrying)
        detach(
          'mqtt',
          this.#retry(err).catch((thrown: unknown) => {
            if (!this.#ended.signal.aborted) throw thrown
          }),
          (error) => this.#link.close(error),
        )
      return
    }
    if (one.qos === 0) counters.dropped.spool.value++
    if (one.qos === 0 || !this.#ended.signal.aborted)
      ctx.log.warn(
        { evt: 'mqtt.publish.refused', clientId: this.#session.clientId, err },
        'message could not be made durable',
      )
    if (one.qos === 0 || this.#ended.signal.aborted) one.state = 'over'
    else {
      one.state = 'refused'
      one.reason = isFull(err) ? REASON.quotaExceeded : REASON.unspecified
    }
    this.#settle()
  }
  /** Messages that wait although they were refused: the version has no answer for it, or a part is stored already. */
  #mustWait({ qos, commit }: InLine): boolean {
    return qos > 0 && (this.#link.version === 4 || commit!.begun) && !this.#ended.signal.aborted
  }
  #hold(one: InLine): void {
    if (!one.commit?.begun) one.place?.suspend()
    if (this.#waitingForRoom.includes(one)) return
    const behind = this.#waitingForRoom.findIndex((other) => other.number > one.number)
    this.#waitingForRoom.splice(behind === -1 ? this.#waitingForRoom.length : behind, 0, one)
  }

  /**
   * A client that is not read from leaves without being noticed, and what it acknowledges may make room: a little is
   * read ahead.
   */
  #holdWhenMany(): void {
    if (this.#line.isLong(READ_AHEAD_SHARE)) this.#reading.hold('spool')
  }
  async #retry(err: MeshError): Promise<void> {
    const { counters, ctx } = this.#state
    counters.spoolWaits.value++
    ctx.log.warn(
      { evt: 'mqtt.client.held', clientId: this.#session.clientId, err },
      'messages of the client wait until the spool has room',
    )
    this.#holdWhenMany()
    this.#isRetrying = true
    for (let attempt = 0; this.#waitingForRoom.length > 0;) {
      await ctx.clock.sleep(retryMs(attempt, this.#state), this.#ended.signal)
      const [one] = this.#waitingForRoom
      // Or else something in front of it is still on its way to the disk.
      if (one === undefined || one !== this.#line.first()) continue
      this.#planAnew(one)
      try {
        await one.commit?.run()
      } catch (thrown) {
        attempt++
        if (this.#mustWait(one)) continue
        this.#waitingForRoom.shift()
        this.#refused(one, toMeshError(thrown))
        continue
      }
      attempt = 0
      one.state = 'taken'
      this.#askAgain(this.#waitingForRoom.splice(0).slice(1))
    }
    this.#isRetrying = false
    this.#reading.release('spool')
    this.#hasRoom?.resolve()
    this.#hasRoom = undefined
  }
  /** All at once, as far as there is room. */
  #askAgain(held: readonly InLine[]): void {
    for (const one of held) {
      this.#planAnew(one)
      if (one.commit) this.#ask(one, one.commit)
      else one.state = 'taken'
    }
    this.#settle()
  }

  /**
   * Finds the receivers again, because they may have changed while the message waited; a deleted queue would refuse for
   * ever. A plan that was begun stays.
   */
  #planAnew(one: InLine): void {
    if (!one.message || one.commit?.begun) return
    one.place?.resume()
    one.plan = plan(this.#state, one.message, this.#source)
    one.commit = this.#commitOf(one.message, one.plan, one.place, one)
  }

  #answerInOrder(qos: Qos, packetId: number, reason: number): void {
    if (this.#line.size === 0) {
      this.#answer(qos, packetId, reason)
      return
    }
    const state = reason === 0 ? 'taken' : 'refused'
    this.#line.push({ ...NO_MESSAGE, qos, packetId, state, reason, onAnswered: undefined })
    if (this.#line.isLong(1)) this.#reading.hold('commits')
  }

  /** Answers from the front of the line as far as it is decided. */
  #settle(): void {
    for (let one = this.#line.first(); one !== undefined && one.state !== 'waiting'; one = this.#line.first()) {
      this.#line.shift()
      one.place?.[Symbol.dispose]()
      if (one.qos === 2) this.#arriving.delete(one.packetId)
      if (one.state === 'over') continue
      if (one.onAnswered) {
        one.onAnswered()
        continue
      }
      if (one.state === 'taken' && one.message && one.plan && !one.commit?.isRepetition)
        this.#backPressure.note(deliver(one.message, one.plan.direct))
      this.#answer(one.qos, one.packetId, one.reason)
    }
    if (!this.#line.isLong(0.5)) this.#reading.release('commits')
  }

  #answer(qos: Qos, packetId: number, reason: number): void {
    if (qos === 0) return
    if (qos === 1 || reason >= 0x80) this.#unanswered.delete(packetId)
    if (qos === 2 && reason === 0 && !this.#session.stored) this.#session.received.add(packetId)
    this.#link.outbox.ack(qos === 1 ? 'puback' : 'pubrec', packetId, reason)
  }
}

const isFull = (err: MeshError): boolean => err.code === 'MESH_MQTT_QUOTA' || err.code === 'MESH_STORAGE_FULL'
