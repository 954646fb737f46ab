/**
 * The contracts between the broker, the spool and the bridge. The spool implements what the broker needs of durable
 * storage, and the broker implements what the bridge needs of it. Neither depends on the other's implementation.
 */
import type { Owner } from './session/owner.ts'

/**
 * A message at rest. `properties`: the MQTT 5 PUBLISH properties that are to be forwarded, encoded (MQTT 5.0 §3.3.2.3),
 * empty for none.
 */
export type StoredMessage = {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly properties: Uint8Array
  /** Wall milliseconds after which it is not delivered any more; undefined = never. */
  readonly expiresAtMs: number | undefined
  /** How long it was given when it came; undefined = for ever, or nobody has written it down. */
  readonly expirySec?: number | undefined
}

/**
 * `seq` counts from 1 without gaps within its queue. The packet id towards the receiver is (seq - 1) % 65535 + 1, so it
 * is the same after a restart.
 */
export type QueueEntry = {
  readonly seq: number
  readonly message: StoredMessage
  /** QoS 2: PUBREC has come, PUBREL is what is to be sent next. */
  readonly released: boolean
}

/**
 * Messages that a full queue gave up, their bytes (of those in one segment, what each has on average), and the wall time
 * of the first and the last.
 */
export type Gap = { readonly messages: number; readonly bytes: number; readonly fromMs: number; readonly toMs: number }

/** Messages of one queue that were given up since the start, by the limit that was met or what else became of them. */
export type Drops = Partial<Record<'queue' | 'share' | 'spool' | 'disk' | 'expired' | 'refused', number>>

export type WhenFull = 'refuse' | 'drop-oldest' | 'drop-newest' | 'drop-lowest-priority'
export type QueueLimits = {
  readonly maxMessages: number
  readonly maxBytes: number
  /** Of the disk, besides that of the spool; undefined: that alone. */
  readonly minDiskFreeBytes?: number | undefined
}

/** Of several queues: what is in them, how much that may be, and how much of the disk they leave to others. */
export type QueueShare = { bytes: number; maxBytes: number; minDiskFreeBytes?: number | undefined }

/** One durable consumer: a persistent session, or an up route. Entries stay, in order, until done. */
export interface DurableQueue {
  readonly name: string
  readonly depth: number
  readonly bytes: number
  /** On their way to the disk, beside those. */
  readonly pendingMessages: number
  /** Nothing is in it or on its way. */
  readonly isEmpty: boolean
  /** Sequence number of the oldest entry that is not done; lastSeq + 1 when empty. */
  readonly firstSeq: number
  /** Sequence number of the newest durable entry; 0 = none ever. */
  readonly lastSeq: number
  /** What becomes of it when there is no room: of a route what that says; undefined: what the spool's policy says. */
  whenFull: WhenFull | undefined
  /** Bounds of its own; undefined: of a session those of the policy, of others none but the spool's. */
  limits: QueueLimits | undefined
  /** The queues of one route, to which its limits apply together; the first gives up messages before the others do. */
  group: readonly DurableQueue[] | undefined
  /** Of queues with `drop-lowest-priority` those with less give up messages first. */
  priority: number
  /** What it has in common with other queues of the same user, their sum and its bound. */
  share: QueueShare | undefined
  /** What it had no room for, since clearGap(); undefined: nothing. Kept over a restart. */
  readonly gap: Gap | undefined
  readonly drops: Drops
  /** The gap was told to the queue's owner. What it had no room for since then stays. */
  clearGap(told: Gap): void
  /**
   * At most `max` durable entries with seq > afterSeq that are not done, in order. Synchronous when they are in memory.
   */
  read(afterSeq: number, max: number): readonly QueueEntry[] | Promise<readonly QueueEntry[]>
  /** Up to here a message may have been sent before; one above it was not. Kept over a restart. */
  readonly sentSeq: number
  /**
   * A receiver is there: from now on everything may have been sent, whatever becomes of this process.
   * @returns what to wait for before anything is sent; undefined: nothing
   */
  startSending(): Promise<void> | undefined
  /** It is gone. @param sentSeq the highest that was sent */
  endSending(sentSeq: number): void
  /** Called after each commit that appended to this queue. */
  onAppended: (() => void) | undefined
  /**
   * Delivered (PUBACK, PUBCOMP), expired or refused for good; any order. Becomes durable with some later commit: a
   * crash before repeats it with DUP.
   */
  done(seq: number): void
  /** QoS 2: PUBREC came. PUBREL may be sent only after this has resolved, or a crash could deliver twice. */
  release(seq: number): Promise<void>
  /** The receiver has forgotten its session: what was released is a message again, and that is durable. */
  forgetReleases(): Promise<void>
}

export type StoredSession = {
  readonly clientId: string
  readonly protocolVersion: 4 | 5
  /** Undefined in files of older versions. */
  readonly owner: Owner | undefined
  /** Where it was last connected from; empty in files of older versions. */
  readonly address: string
  readonly subscriptions: readonly StoredSubscription[]
  /** Seconds; 0xffffffff = never (MQTT 5.0 §3.1.2.11.2). */
  readonly expirySec: number
  /** Wall milliseconds of the disconnect; undefined while connected (or when a crash hid it). */
  readonly disconnectedAtMs: number | undefined
  /** Will that waits for its delay, with its due time. */
  readonly pendingWill: { readonly message: StoredMessage; readonly dueAtMs: number } | undefined
}
/** The row of a session. Subscriptions have separate rows, so that one more does not write a thousand others. */
export type SessionHead = Omit<StoredSession, 'subscriptions'>
/** A session as the spool asks it for its row. */
export type Kept = {
  readonly clientId: string
  toStored(): SessionHead
  /** What the disk has of a filter from now on; before whoever waits for the commit is told. */
  noteStored?(filter: string, one: StoredSubscription | undefined): void
}
export type StoredSubscription = {
  readonly filter: string
  readonly qos: 0 | 1 | 2
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionId: number | undefined
}

/** A QoS 2 packet id that came from a client; bridges have no session. */
export type Inbound = { readonly clientId: string; readonly packetId: number; readonly session?: Kept }

/**
 * All promises resolve once as durable as the profile says (strict: after the fsync of their batch). A session is
 * written with the first thing that needs it: what has a `session` brings it along, in the same transaction, when it is
 * not there.
 */
export interface Durability {
  /** Known queues, also those of an earlier run. */
  queue(name: string): DurableQueue | undefined
  /** Of those whose name begins so. */
  queueNames(prefix: string): readonly string[]
  createQueue(name: string, session?: Kept): Promise<DurableQueue>
  deleteQueue(name: string): Promise<void>
  /**
   * Appends to every queue named that has room or makes it (`drop-oldest`); when one that refuses has none, to none.
   * For a message of QoS 0 a session's queue makes no room, nor does it refuse: it goes without.
   * `inbound`: the QoS 2 packet id of the sender, remembered in the same
   * transaction. Rejects with MESH_MQTT_QUOTA (a limit of the spool) or MESH_STORAGE_FULL; then the sender must not get
   * a PUBACK or PUBREC.
   */
  append(message: StoredMessage, to: readonly DurableQueue[], inbound?: Inbound): Promise<void>
  /** Once all that was asked for before is on the disk or refused; never rejects. */
  settle(): Promise<void>
  /**
   * Counts appends that were refused at once for lack of room. A caller that compares it before and after its append
   * knows of the refusal without waiting, and holds back what would overtake.
   */
  readonly refusals: number
  /** QoS 2 packet ids received of this client and not yet released by PUBREL (MQTT 5.0 §4.3.3). */
  inbound(clientId: string): ReadonlySet<number>
  /** Settles with the commit that one is on its way with, perhaps over an earlier connection; undefined: it is not. */
  arriving(inbound: Inbound): Promise<void> | undefined
  /** PUBREL came. PUBCOMP may be sent only after this, or a reused id could be taken for a repetition and lost. */
  releaseInbound(clientId: string, packetId: number): Promise<void>
  /** What an earlier run left. */
  readonly sessions: ReadonlyMap<string, StoredSession>
  /** Whether anything of a session with this client id is on the disk, or may be. Who begins one deletes that first. */
  holds(clientId: string): boolean
  /** Its subscriptions stay as they are. */
  saveSession(session: SessionHead): Promise<void>
  /** All or none; in the order of the calls. */
  saveSubscriptions(session: Kept, kept: readonly StoredSubscription[], gone: readonly string[]): Promise<void>
  /** The session with its queue, its subscriptions and its inbound ids. */
  deleteSession(clientId: string): Promise<void>
  /** Retained messages that an earlier run left, without those saved since. */
  readonly retained: ReadonlyMap<string, StoredMessage>
  /** Frees them after the broker has read them. */
  forgetRetained(): void
  /**
   * Undefined deletes (an empty retained payload, MQTT 5.0 §3.3.1.3). `applied` runs when it is durable, before the
   * promise resolves.
   */
  saveRetained(topic: string, message: StoredMessage | undefined, applied?: () => void): Promise<void>
}

/** The broker as the bridge sees it. */
export interface LocalBroker {
  /**
   * As if a client had published it. Resolves when the upstream may be acknowledged, with the message's bytes when its
   * publisher should wait for a receiver (back-pressure.ts), otherwise 0. Messages are not routed back to the same
   * `origin`.
   */
  publish(message: StoredMessage, origin: string): Promise<number>
  /**
   * Gives the retained messages of the filter, before anything that changes from now on is routed. Resolves once what
   * was on its way is decided; undefined when nothing was.
   */
  retained(filter: string, give: (message: StoredMessage) => void): Promise<void> | undefined
  /** Every local message whose topic matches the filter is appended to the queue as what `make` makes of it. */
  attach(route: {
    readonly filter: string
    /** Asked for each message. */
    readonly queue: DurableQueue
    readonly origin: string
    make(message: StoredMessage): StoredMessage
  }): Disposable
}
