/** One client's session (MQTT 5.0 §4.1): what outlives a connection when the client asked for it. */
import { detach } from '../../../core/defects/guard.ts'
import type { Timer } from '../../../core/os/clock.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import type { AuthzFacts } from '../../authz.ts'
import type { PolicyGrounds } from '../authorization/grounds.ts'
import type { Qos, Version } from '../codec/packet.ts'
import type { Counters } from '../counters.ts'
import type {
  Durability,
  DurableQueue,
  QueueShare,
  SessionHead,
  StoredMessage,
  StoredSubscription,
} from '../durability.ts'
import { DurableFlow, type Flow, MemoryFlow } from './flow.ts'
import type { Link } from '../connection/link.ts'
import type { ConnectionFacts } from './connection-facts.ts'
import { nameShare, type Owner } from './owner.ts'
import type { SharedMessage } from '../shared-message.ts'
import type { By } from '../topics/marks.ts'
import type { View } from '../topics/view.ts'

/** The expiry that means never (MQTT 5.0 §3.1.2.11.2). */
export const NEVER_SEC = 0xffff_ffff
const MAX_VIEWS = 256
const AS_IT_CAME: View = { qos: 2, retainAsPublished: false, ids: [] }
/** All subscriptions (topics/subscriptions.ts). */
type Matching = {
  findView(session: Session, topic: string, by: By): View | undefined
  forget(): void
}
type Membership = { noteConnection(session: Session): void }
/** Of filters that the disk refused to add, and that it may have all the same. What it had is bounded as subscriptions are. */
const MAX_ADDED_CHARS = 64 * 1024
const NOBODY: Owner = { kind: 'anonymous', name: '', listener: '' }

/**
 * `durableBefore`: what is on the disk of its filter while the subscription itself is not. A field and not a Map of the
 * session's: what comes to a Map and leaves it again lives until the next full collection (docs/performance.md).
 */
export type HeldSubscription = StoredSubscription & { durableBefore?: StoredSubscription | 'none' | undefined }

export class Session {
  readonly clientId: string
  /** Outlives its connection. False = everything is in memory and ends with it. */
  readonly stored: boolean
  version: Version
  expirySec: number
  /**
   * Undefined of a session that an older meshlet made: it is whose client connects first, as far as that may have what
   * is in it.
   */
  owner: Owner | undefined
  /** What it was last authorized by; undefined after a restart. */
  grounds: PolicyGrounds | undefined
  /** Its last one, where policies of the mesh ask for it; undefined after a restart. */
  connection: AuthzFacts | undefined
  /** Where it was last connected from. */
  address: string
  /** Whose sessions it counts among. */
  share: string
  readonly subscriptions = new Map<string, HeldSubscription>()
  /** Filters of which the disk may have something else, after a commit that failed; undefined: none. */
  #unsure: Set<string> | undefined
  #addedChars = 0
  /** The last change that took subscriptions away, until the disk has it or has refused it. */
  removing: Promise<void> | undefined
  /** The most that a subscription which is gone had; undefined: there was none in this run. */
  #formerQos: Qos | undefined
  /** Those of shared subscriptions that it is a member of. */
  #groups: Set<Membership> | undefined
  link: Link | undefined
  /** Undefined without a connection. */
  connectedAs: ConnectionFacts | undefined
  flow: Flow | undefined
  disconnectedAtMs: number | undefined
  pendingWill: { readonly message: StoredMessage; readonly dueAtMs: number } | undefined
  expiry: Pick<Timer, 'cancel'> | undefined
  willDelay: Pick<Timer, 'cancel'> | undefined
  #received: Set<number> | undefined
  readonly #counters: Counters
  #views: Map<string, View | 'refused'> | undefined
  #queue: DurableQueue | undefined
  #queueShare: QueueShare | undefined
  #shared: readonly SharedMessage[] = []
  #matching: ((topic: string, by: By) => View | undefined) | undefined
  /** What it may have of what is queued; undefined = everything. */
  #mayReceive: ((topic: string) => boolean) | undefined
  /**
   * The same for what goes from memory; only where its subscriptions have topics that it may not have, or after
   * something was taken away.
   */
  #mayStillReceive: ((topic: string) => boolean) | undefined
  /** Whether a client has connected that the rules were not asked about yet. */
  #isComing = false

  constructor(p: {
    clientId: string
    stored: boolean
    version: Version
    expirySec: number
    owner: Owner | undefined
    address: string
    counters: Counters
  }) {
    this.clientId = p.clientId
    this.stored = p.stored
    this.version = p.version
    this.expirySec = p.expirySec
    this.owner = p.owner
    this.address = p.address
    this.share = nameShare(p.owner ?? NOBODY, p.address)
    this.#counters = p.counters
  }

  /** QoS 2 packet ids of a session that is not stored [MQTT-4.3.3-10]. At most 65,535, as ids are. */
  get received(): Set<number> {
    return (this.#received ??= new Set())
  }

  get queue(): DurableQueue | undefined {
    return this.#queue
  }
  /** From now on QoS 1 and 2 go through it. */
  useQueue(queue: DurableQueue, all: Matching): void {
    this.#queue = queue
    queue.share = this.#queueShare
    all.forget()
    this.#matching = (topic, by) => all.findView(this, topic, by)
    const flow = new DurableFlow({ queue, findView: (topic, by) => this.#findView(topic, by) })
    this.flow = flow
    if (this.link) flow.attach(this.link)
  }

  /** What waits for it counts among what waits for others of the same user. */
  countAmong(share: QueueShare | undefined): void {
    this.#queueShare = share
    if (this.#queue) this.#queue.share = share
  }

  /** Before a connection takes it over; never rejects. */
  async prepare(): Promise<void> {
    if (this.flow instanceof DurableFlow) await this.flow.prepare()
  }
  attach(link: Link): void {
    this.link = link
    this.#isComing = true
    this.disconnectedAtMs = undefined
    this.#tellGroups()
  }
  /** Where nothing of QoS 1 and 2 goes through a queue, it is made when the first goes. */
  startFlow(): Flow | undefined {
    if (!this.stored && this.link) this.flow ??= new MemoryFlow(this.link, this.#counters, this.link.budget)
    return this.flow
  }
  join(group: Membership): void {
    ;(this.#groups ??= new Set()).add(group)
  }
  leave(group: Membership): void {
    this.#groups?.delete(group)
  }
  #tellGroups(): void {
    if (this.#groups) for (const group of this.#groups) group.noteConnection(this)
  }
  /** After CONNACK: resends what is not done. */
  resume(): void {
    if (this.flow instanceof DurableFlow && this.link) this.flow.attach(this.link)
  }
  detach(): void {
    this.link = undefined
    this.connectedAs = undefined
    if (this.flow instanceof DurableFlow) this.flow.detach()
    else if (this.flow instanceof MemoryFlow) {
      this.#shared = this.flow.end()
      this.flow = undefined
    }
    this.#tellGroups()
  }
  end(): void {
    this.detach()
    this.expiry?.cancel()
    this.willDelay?.cancel()
    if (this.#queue) this.#queue.onAppended = undefined
    this.#queue = undefined
  }

  /** What a shared subscription brought and was not acknowledged when the connection ended; only once. */
  takeShared(): readonly SharedMessage[] {
    const taken = this.#shared
    this.#shared = []
    return taken
  }

  subscribe(subscription: HeldSubscription): void {
    this.subscriptions.set(subscription.filter, subscription)
    this.#views = undefined
  }
  unsubscribe(filter: string): boolean {
    this.#views = undefined
    const gone = this.subscriptions.get(filter)
    if (gone && gone.qos >= (this.#formerQos ?? 0)) this.#formerQos = gone.qos
    return this.subscriptions.delete(filter)
  }

  /** Of one that is gone the removal is on its way, or was refused. */
  noteStored(filter: string, one: StoredSubscription | undefined): void {
    const now = this.subscriptions.get(filter)
    if (now) now.durableBefore = now === one ? undefined : (one ?? 'none')
  }
  get hasUnsure(): boolean {
    return this.#unsure !== undefined
  }
  isUnsure(filter: string): boolean {
    return this.#unsure?.has(filter) ?? false
  }
  /**
   * A commit has failed; perhaps after it was done.
   *
   * @param changed filters of which the disk had something
   * @param added one of which it had nothing
   */
  noteRefused(changed: Iterable<string>, added?: string): void {
    const unsure = (this.#unsure ??= new Set())
    for (const filter of changed) unsure.add(filter)
    if (added !== undefined && this.#addedChars + added.length <= MAX_ADDED_CHARS && !unsure.has(added)) {
      unsure.add(added)
      this.#addedChars += added.length
    }
  }
  /** With all of which the disk may have something else. Whoever is told of a failure says what was refused. */
  saveSubscriptions(
    durability: Durability,
    kept: readonly StoredSubscription[],
    gone: readonly string[],
  ): Promise<void> {
    const unsure = this.#unsure
    // The usual one: nothing is made for it.
    if (!unsure && gone.length === 0) return durability.saveSubscriptions(this, kept, gone)
    this.#unsure = undefined
    this.#addedChars = 0
    const now = [...(unsure ?? [])].map((filter) => this.subscriptions.get(filter) ?? filter)
    const absent = now.filter((one) => typeof one === 'string')
    const saved = durability.saveSubscriptions(
      this,
      [...now.filter((one) => typeof one !== 'string'), ...kept],
      [...absent, ...gone],
    )
    const isFirst = gone.length + absent.length > 0 && this.removing !== saved
    if (isFirst) this.removing = saved
    if (isFirst || unsure) this.#watch(saved, unsure)
    return saved
  }
  #watch(saved: Promise<void>, unsure: Iterable<string> | undefined): void {
    const settle = (): void => {
      if (this.removing === saved) this.removing = undefined
    }
    const refused = (): void => {
      if (unsure) this.noteRefused(unsure)
      settle()
    }
    detach('mqtt', saved.then(settle, refused))
  }

  /** From now on messages that these rules do not allow are not delivered, also those that wait already. */
  receiveOnly(may: Authorizer, revoked: number): void {
    this.#mayReceive = may.restrictsReceiving ? (topic) => may.mayReceive(topic) : undefined
    const isToAsk = revoked > 0 || may.filtersDelivery || (!this.#isComing && this.isFiltered)
    this.#mayStillReceive = isToAsk ? this.#mayReceive : undefined
    this.#isComing = false
    this.#views = undefined
    if (this.link) this.link.mayReceive = this.#mayStillReceive
  }

  /** Not all that its subscriptions match is for it. */
  get isFiltered(): boolean {
    return this.#mayStillReceive !== undefined
  }
  /** Whether a message is for it that its subscriptions match. */
  mayHave(topic: string): boolean {
    return this.#mayStillReceive?.(topic) ?? true
  }

  /** From memory: a message for which there is no queue, or QoS 0. Without a connection it is not for this session. */
  deliver(message: StoredMessage, qos: Qos, retain: boolean, ids: readonly number[], shared?: string): void {
    if (!this.link) return
    // Its receivers may have been chosen before the rules changed.
    if (!this.mayHave(message.topic)) {
      this.#counters.dropped['not-authorized'].value++
      return
    }
    if (qos === 0) this.link.deliverAtMostOnce(message, retain, ids)
    else {
      const flow = this.startFlow()
      if (flow instanceof MemoryFlow) flow.offer({ message, qos, retain, ids, shared })
    }
  }

  /** Its queue has something that its client was not sent, or would have it if it were there. */
  get isBehind(): boolean {
    return !this.link || !(this.flow instanceof DurableFlow) || this.flow.isBehind
  }
  /** Nothing waits for it. */
  get isIdle(): boolean {
    return (this.#queue?.isEmpty ?? true) && this.pendingWill === undefined
  }
  /** QoS 1 and 2 in memory. */
  get waitingBytes(): number {
    return this.flow instanceof MemoryFlow ? this.flow.waitingBytes : 0
  }

  toStored(): SessionHead {
    const { clientId, version, owner, address, expirySec, disconnectedAtMs, pendingWill } = this
    return { clientId, protocolVersion: version, owner, address, expirySec, disconnectedAtMs, pendingWill }
  }

  /**
   * What today's subscriptions say of a queued message. Without one (unsubscribed meanwhile) it is delivered as it came
   * [MQTT-3.10.4-4], with no more QoS than was granted [MQTT-3.8.4-8]. Undefined: it may not have it.
   */
  #findView(topic: string, by: By): View | undefined {
    const known = this.#views?.get(nameView(topic, by)) ?? this.#lookUp(topic, by)
    if (known !== 'refused') return known
    this.#counters.dropped['not-authorized'].value++
    return undefined
  }
  #lookUp(topic: string, by: By): View | 'refused' {
    const refused = this.#mayReceive?.(topic) === false
    const view = refused ? 'refused' : (this.#matching?.(topic, by) ?? { ...AS_IT_CAME, qos: this.#formerQos ?? 2 })
    this.#views ??= new Map()
    if (this.#views.size >= MAX_VIEWS) this.#views = new Map()
    this.#views.set(nameView(topic, by), view)
    return view
  }
}

/** Neither topics nor filters hold U+0000 [MQTT-1.5.4-2]. */
const nameView = (topic: string, by: By): string => (by === 'alone' ? topic : `${by}\0${topic}`)
